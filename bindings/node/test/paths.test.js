'use strict';

const {
  assert, sockref, isSocket, scenario, run, program, canConnect, root, exchange, limit,
} = require('./harness.js');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { SocketReference, SockrefError, startListener, startListenerSync } = sockref;

const isRoot = process.getuid() === 0;
const nobody = 65534;

async function refused(place, code) {
  for (const attempt of [() => startListener(place), async () => startListenerSync(place)]) {
    await assert.rejects(attempt, (error) => {
      assert.equal(error instanceof SockrefError, true);
      assert.equal(error.code, code);
      assert.equal(error.errno < 0, true);
      return true;
    }, `${code} for ${place}`);
  }
}

scenario('L13 bad paths', async ({ file, directory }) => {
  const bad = ['', 'relative.sock', `${directory}/../x.sock`, file('a\nb'), file('a\x7f'), `${file()}/`, file('nul\0.sock')];
  for (const place of bad) {
    await refused(place, 'ESOCKREF_PATH');
    assert.throws(() => SocketReference.getOrCreate(place), { code: 'ESOCKREF_PATH', errno: -22 });
    assert.equal(sockref.isSocketActive(place), false);
  }
  const long = file('x'.repeat(300));
  await refused(long, 'ESOCKREF_PATHLEN');
  assert.equal(sockref.isSocketActive(long), false);
  await assert.rejects(startListener(file('a\0b')), { code: 'ESOCKREF_PATH', path: file('a\0b') });
  await assert.rejects(startListener(file('a\nb')), { code: 'ESOCKREF_PATH', path: file('a\nb') });
  assert.deepEqual(fs.readdirSync(directory), []);
  for (const wrong of [null, 1, {}, [], true, Symbol('x'), new Uint16Array(2)]) {
    await assert.rejects(startListener(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => SocketReference.getOrCreate(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => sockref.cleanup(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.equal(sockref.isSocketActive(wrong), false);
  }
  assert.throws(() => SocketReference.getExisting(), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.equal(sockref.isSocketActive(), false);
});

scenario('L14 two dots in a name, spaces, bytes that are no UTF-8', async ({ file, directory }) => {
  for (const leaf of ['a..b.sock', 'with spaces .sock', 'ü.sock']) {
    const reference = await startListener(file(leaf));
    assert.equal(reference.path, file(leaf));
    assert.equal(await canConnect(file(leaf)), true);
    reference.close();
  }
  const bytes = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xff, 0xfe, 0x41])]);
  const reference = await startListener(bytes);
  assert.deepEqual(reference.pathBytes, bytes);
  assert.equal(fs.lstatSync(bytes).isSocket(), true);
  assert.equal(sockref.isSocketActive(new Uint8Array(bytes)), true);
  const part = new Uint8Array([0, ...bytes, 0]).subarray(1, -1); // of more memory than the path
  const other = await startListener(part);
  assert.equal(other.referenceCount, 2);
  reference.pathBytes.fill(0);
  assert.deepEqual(reference.pathBytes, bytes);
  reference.close();
  other.close();
  assert.equal(fs.existsSync(bytes), false);
});

scenario('L15 a long directory', async ({ file, directory }) => {
  const long = path.join(directory, 'd'.repeat(120));
  fs.mkdirSync(long, { mode: 0o700 });
  const reference = await startListener(path.join(long, 'a.sock'));
  reference.serveEcho();
  assert.equal(reference.path, path.join(long, 'a.sock'));
  fs.symlinkSync(long, file('short'));
  assert.deepEqual(await exchange(file('short/a.sock'), 'long'), Buffer.from('long'));
  reference.close();
  assert.deepEqual(fs.readdirSync(long), []);
});

scenario('L16 an abstract name', async ({ directory }) => {
  const name = `@${path.basename(directory)}`;
  const first = await startListener(name);
  const second = await startListener(name);
  assert.equal(first.path, name);
  assert.equal(second.referenceCount, 2);
  assert.equal(first.isOwner, true);
  // Node 20 itself pads abstract names and so cannot dial this one; the kernel's list shows it.
  const listed = () => fs.readFileSync('/proc/net/unix', 'latin1').split('\n').some((line) => line.endsWith(` ${name}`));
  assert.equal(listed(), true);
  first.close();
  assert.equal(listed(), true);
  second.close();
  assert.equal(listed(), false);
  assert.deepEqual(fs.readdirSync(directory), []);
});

scenario('L17 something else in the way', async ({ file }) => {
  fs.writeFileSync(file('regular'), 'precious');
  fs.mkdirSync(file('directory'));
  execFileSync('mkfifo', [file('fifo')], { timeout: limit });
  fs.symlinkSync(file('regular'), file('link'));
  fs.symlinkSync(file('nowhere'), file('dangling'));
  for (const leaf of ['regular', 'directory', 'fifo', 'link', 'dangling']) {
    const before = fs.lstatSync(file(leaf));
    await refused(file(leaf), 'ESOCKREF_FOREIGN');
    assert.equal(fs.lstatSync(file(leaf)).ino, before.ino, leaf);
  }
  assert.equal(fs.readFileSync(file('regular'), 'utf8'), 'precious');
  assert.equal(fs.readlinkSync(file('link')), file('regular'));
});

scenario('L18 a foreign server in the way, and a dead socket', async ({ t, file }) => {
  const server = net.createServer().listen(file('live'));
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { ino } = fs.lstatSync(file('live'));
  await refused(file('live'), 'ESOCKREF_FOREIGN');
  assert.equal(fs.lstatSync(file('live')).ino, ino);
  assert.equal(await canConnect(file('live')), true);
  const ended = await run([program('leave-socket.js'), file('dead')]);
  assert.equal(ended.signal, 'SIGKILL');
  assert.equal(isSocket(file('dead')), true);
  assert.equal(await canConnect(file('dead')), false);
  const reference = await startListener(file('dead'));
  assert.equal(reference.isOwner, true);
  assert.equal(await canConnect(file('dead')), true);
  reference.close();
  await new Promise((resolve) => server.close(resolve));
});

scenario('L19 missing, unwritable and unsafe directories', async ({ t, file, directory }) => {
  await assert.rejects(startListener(file('missing/a.sock')), { code: 'ENOENT', errno: -2, path: /missing/ });
  fs.mkdirSync(file('open'));
  fs.chmodSync(file('open'), 0o777);
  await assert.rejects(startListener(file('open/a.sock')), { code: 'ESOCKREF_UNTRUSTED', errno: -1 });
  assert.deepEqual(fs.readdirSync(file('open')), []);
  fs.mkdirSync(file('closed'), { mode: 0o755 });
  if (!isRoot) {
    fs.chmodSync(file('closed'), 0o500);
    await assert.rejects(startListener(file('closed/a.sock')), { code: 'EACCES', errno: -13 });
    return;
  }
  fs.chmodSync(directory, 0o755);
  const readable = await run(['-e', `require(${JSON.stringify(root)})`], { uid: nobody, gid: nobody })
    .catch((error) => ({ code: error.code }));
  if (readable.code !== 0) {
    t.diagnostic('EACCES not tried: Node or the package cannot be read by another user');
    return;
  }
  const other = await run([program('start-error.js'), file('closed/a.sock')], { uid: nobody, gid: nobody });
  assert.deepEqual(JSON.parse(other.out), { code: 'EACCES', errno: -13, path: file('closed/a.sock'), syscall: true });
});
