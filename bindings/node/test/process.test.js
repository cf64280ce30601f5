'use strict';

const { assert, sockref, scenario, sockets, run, program, isSocket, canConnect, limit } = require('./harness.js');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');

const ways = {
  end: { code: 0 },
  exit: { code: 3 },
  'exit-in-handler': { code: 4 },
  'exit-while-starting': { code: 5 },
  uncaught: { code: 1 },
  rejection: { code: 1 },
  sigint: { code: 130 },
  sigterm: { code: 143 },
  'exit-with-workers': { code: 6 },
};

for (const [way, { code }] of Object.entries(ways)) {
  scenario(`L37 exit with handles held: ${way}`, async ({ file, directory }) => {
    const ended = await run([program('exit.js'), way, file()], {
      onLine(child) {
        if (way === 'sigint') child.kill('SIGINT');
        if (way === 'sigterm') child.kill('SIGTERM');
      },
    });
    assert.equal(ended.signal, null, ended.err);
    assert.equal(ended.code, code, ended.err);
    assert.match(ended.out, /holding 3/);
    assert.deepEqual(sockets(directory), []);
  });
}

scenario('L38 an open reference does not keep the process alive', async ({ file, directory }) => {
  const ended = await run([program('idle.js'), file()]);
  assert.equal(ended.code, 0, ended.err);
  assert.equal(ended.out, 'held true\n');
  assert.deepEqual(sockets(directory), []);
});

scenario('ref() keeps the process alive, until unref() or close()', async ({ file, directory }) => {
  for (const how of ['unref', 'close']) {
    const ended = await run([program('ref.js'), file(), how]);
    assert.equal(ended.code, 0, ended.err);
    assert.equal(ended.out, 'answered\nended\n');
    assert.deepEqual(sockets(directory), []);
  }
});

scenario('a pending start keeps the process alive', async ({ file }) => {
  const ended = await run(['-e', `require(process.env.SOCKREF_PACKAGE).startListener(${JSON.stringify(file())})` +
    '.then((reference) => console.log(reference.referenceCount))']);
  assert.equal(ended.out, '1\n');
  assert.equal(ended.code, 0);
});

// Node has no fork(); a program that it starts has nothing of its parent.
scenario('L40 a child process has nothing of a handle that is held', async ({ file }) => {
  const reference = sockref.startListenerSync(file());
  const fd = reference.fd();
  const child = spawnSync(process.execPath, ['-e', `
    const fs = require('node:fs');
    const sockref = require(process.env.SOCKREF_PACKAGE);
    const place = ${JSON.stringify(file())};
    const inherited = fs.readdirSync('/proc/self/fd').filter((fd) => {
      try { return fs.fstatSync(Number(fd)).ino === ${fs.fstatSync(fd).ino}; } catch { return false; }
    });
    const own = sockref.startListenerSync(place + '.child');
    const known = sockref.isSocketActive(place);
    const joined = sockref.startListenerSync(place);
    console.log(JSON.stringify({ inherited, known, own: own.isOwner, joined: [joined.isOwner, joined.holderCount] }));
  `], { encoding: 'utf8', timeout: limit });
  fs.closeSync(fd);
  assert.equal(child.status, 0, child.stderr);
  assert.deepEqual(JSON.parse(child.stdout), { inherited: [], known: false, own: true, joined: [false, 2] });
  assert.equal(isSocket(file()), true);
  assert.equal(await canConnect(file()), true);
  assert.equal(reference.isActive, true);
  reference.close();
});
