'use strict';

// Where the package runs as test runners, bundles and other runtimes run it.

const { assert, root, inside, scenario, exchange, run, until, within } = require('./harness.js');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

/** Another copy of the package's files above the same addon, as a test runner makes one for each of its files. */
function again(...files) {
  const own = Object.keys(require.cache).filter((file) => file.startsWith(path.join(root, 'lib') + path.sep));
  const kept = own.map((file) => [file, require.cache[file]]);
  for (const file of own) delete require.cache[file];
  try {
    return files.map((file) => inside(file));
  } finally {
    for (const [file, module] of kept) require.cache[file] = module;
  }
}

const get = (net, place) => new Promise((resolve, reject) => {
  const parts = [];
  net.connect(place).on('data', (part) => parts.push(part)).once('error', reject)
    .once('close', () => resolve(Buffer.concat(parts).toString()));
});

scenario('copies of the package above one addon each hear of what is theirs', async ({ file }) => {
  const names = ['index.js', 'net.js'];
  const copies = [names.map((name) => inside(name)), again(...names), again(...names)];
  assert.notEqual(copies[0][0], copies[1][0]);
  const stopped = [];
  const served = copies.map(([sockref, net], i) => {
    const reference = sockref.startListenerSync(file(`${i}`));
    reference.serve({ connection: (connection) => connection.end(`served ${i}`), stop: () => stopped.push(i) });
    const server = net.createServer((socket) => socket.end(`server ${i}`)).listen(file(`net${i}`));
    return { reference, server, isLost: once(reference, 'lost') };
  });
  const opened = copies.map(([, net], i) => net.connect(file(`${i}`)));
  await within(Promise.all(opened.map((socket) => once(socket.resume(), 'close'))), 'close');
  for (const [, net] of copies) {
    for (const i of copies.keys()) {
      assert.equal(await within(get(net, file(`${i}`)), 'what is served'), `served ${i}`);
      assert.equal(await within(get(net, file(`net${i}`)), 'what a server sends'), `server ${i}`);
    }
  }
  for (const i of copies.keys()) copies[0][0].cleanup(file(`${i}`));
  await within(Promise.all(served.map(({ isLost }) => isLost)), 'lost');
  for (const { reference } of served) reference.close();
  await within(Promise.all(served.map(({ server }) => once(server.close(), 'close'))), 'close');
  await until(() => stopped.length === 3, 'stop');
});

scenario('a copy whose errors another one makes knows them', async () => {
  const [sockref] = again('index.js');
  for (const copy of [inside('index.js'), sockref]) assert.equal(copy.isSocketActive('/a\0b'), false);
});

scenario('bytes of another realm are bytes', async ({ file }) => {
  const sockref = inside('index.js');
  const net = inside('net.js');
  const foreign = (text) => vm.runInNewContext('Uint8Array').from(Buffer.from(text));
  const reference = sockref.startListenerSync(foreign(file()));
  reference.serve({ connection: (connection) => { connection.write(foreign('hello')); connection.end(foreign(' you')); } });
  assert.equal((await exchange(file(), 'x')).toString(), 'hello you');
  const read = [];
  const onread = { buffer: foreign('0123456789'), callback: (length, buffer) => read.push(Buffer.from(buffer.subarray(0, length))) };
  await within(once(net.connect({ path: file(), onread }).end(foreign('x')), 'close'), 'close');
  assert.equal(Buffer.concat(read).toString(), 'hello you');
  reference.close();
});

// As those of jest and sinon, with which nothing comes until a test says so.
scenario('timers that a test has replaced are not ours', async ({ file }) => {
  const net = inside('net.js');
  const replaced = Object.fromEntries(['setImmediate', 'clearImmediate', 'setTimeout', 'clearTimeout']
    .map((name) => [name, globalThis[name]]));
  const restore = () => Object.assign(globalThis, replaced);
  const server = net.createServer((socket) => socket.resume().end('bye'));
  await within(new Promise((resolve) => {
    server.listen(file(), () => {
      for (const name of Object.keys(replaced)) globalThis[name] = () => { throw new Error(`${name} was called`); };
      const client = net.connect(file()).setTimeout(1000).end('x');
      client.resume().on('close', () => new net.Socket().setTimeout(1, () => {
        restore();
        server.close(resolve);
      }));
    });
  }).finally(restore), 'close');
});

const lookAtResources = `
  const made = new Map();
  require('node:async_hooks').createHook({ init: (id, type, trigger, resource) => made.set(type, resource) }).enable();
  const sockref = require(process.env.SOCKREF_PACKAGE);
  require(process.env.SOCKREF_PACKAGE + '/lib/net.js');
  const told = () => [...made].filter(([type]) => type.startsWith('SOCKREF')).map(([, resource]) => resource.hasRef());
  const reference = sockref.startListenerSync(process.argv[1]);
  console.log(told().includes(true), reference.ref() && told().includes(true), reference.unref() && told().includes(true));
`;

// A test runner that looks for what was left open asks every resource that there is.
scenario('what is there for good does not say that it keeps the process alive', async ({ file }) => {
  const { out, err } = await run(['-e', lookAtResources, file()]);
  assert.equal(err, '');
  assert.equal(out, 'false true false\n');
});

const watchElsewhere = `
  const versions = { ...process.versions, [process.argv[1]]: '1.0.0' };
  Object.defineProperty(process, 'versions', { value: versions });
  const low = require(process.env.SOCKREF_PACKAGE + '/lib/low.js');
  const sockref = require(process.env.SOCKREF_PACKAGE);
  sockref.startListener(process.argv[2]).then((reference) => {
    console.log(low.build_info().driver);
    reference.close();
  }, ({ code }) => console.log(code));
`;

scenario('other runtimes are not asked for libuv, of which they have little but the names', async ({ file }) => {
  for (const runtime of ['bun', 'deno']) {
    for (const [driver, expected] of [['', 'thread'], ['thread', 'thread'], ['uv', 'ESOCKREF_UNSUPPORTED']]) {
      const { SOCKREF_NODE_DRIVER: _, ...env } = process.env;
      const { out, err } = await run(['-e', watchElsewhere, runtime, file()], { env: { ...env, SOCKREF_NODE_DRIVER: driver } });
      assert.equal(err, '');
      assert.equal(out, `${expected}\n`, `${runtime} ${driver}`);
    }
  }
});

scenario('a startup snapshot is refused in words', async ({ file }) => {
  const entry = file('entry.js');
  fs.writeFileSync(entry, `const { createRequire } = require('node:module');
    try {
      createRequire(${JSON.stringify(root + path.sep)})('./lib/index.js');
    } catch ({ code, message }) {
      console.log(code, message);
    }`);
  const { code, out, err } = await run(['--snapshot-blob', file('blob'), '--build-snapshot', entry]);
  assert.equal(code, 0, err);
  assert.match(out, /^ERR_SOCKREF_LIBRARY sockref: no addon can be in a startup snapshot/);
});
