'use strict';

// Names that several processes hold.

const {
  assert, sockref, scenario, left, until, within, canConnect, exchange, isSocket, run,
} = require('./harness.js');
const { Holder } = require('./holder.js');
const { once } = require('node:events');
const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { startListener, startListenerSync, Registry } = sockref;

const inode = (place) => fs.lstatSync(place).ino;
const isEmpty = (directory) => until(() => fs.readdirSync(directory).length === 0, 'an empty directory');
const hears = (reference, event) => within(once(reference, event), event);
const busy = (...parts) => (error) => {
  assert.equal(error.code, 'ESOCKREF_BUSY');
  for (const part of parts) assert.equal(error.message.includes(part), true, `${part} in: ${error.message}`);
  return true;
};

/** Another process dials from before the body to after it. */
async function neverRefused(place, body) {
  const dialler = new Holder();
  await dialler.ask('dialOn', place);
  const goesOn = async () => {
    const { dialled: before } = await dialler.ask('dialled');
    await until(async () => {
      const { dialled, refused } = await dialler.ask('dialled');
      return dialled > before + 5 || refused.length > 0;
    }, 'dialling');
  };
  await goesOn();
  await body();
  await goesOn();
  assert.deepEqual((await dialler.ask('dialled')).refused, []);
  await dialler.kill();
}

scenario('L46 two processes start one path: the other one owns', async ({ file, directory }) => {
  const holder = new Holder();
  assert.deepEqual(await holder.start(file()), { active: true, owner: true, holders: 1, count: 1 });
  const reference = await startListener(file());
  assert.deepEqual([reference.isActive, reference.isOwner], [true, false]);
  assert.deepEqual([reference.referenceCount, reference.holderCount], [1, 2]);
  assert.deepEqual(await holder.ask('status'), { active: true, owner: true, holders: 2, count: 1 });
  await holder.ask('serve');
  assert.deepEqual(await exchange(file(), 'from here'), Buffer.from('from here'));
  assert.equal(await holder.ask('dial', file(), 'from there'), 'from there');
  assert.throws(() => reference.fd(), { code: 'ESOCKREF_CLOSED' });
  assert.throws(() => reference.serve({}), { code: 'ESOCKREF_CLOSED' });
  reference.close();
  assert.equal((await holder.ask('status')).holders, 1);
  await holder.ask('close');
  assert.deepEqual(fs.readdirSync(directory), []);
});

scenario('L46 two processes start one path: this one owns', async ({ file }) => {
  const reference = startListenerSync(file());
  reference.serve({ data: (connection, data) => connection.write(data) });
  const holder = new Holder();
  assert.deepEqual(await holder.start(file()), { active: true, owner: false, holders: 2, count: 1 });
  assert.deepEqual([reference.isOwner, reference.holderCount], [true, 2]);
  assert.equal(await holder.ask('dial', file(), 'to JavaScript'), 'to JavaScript');
  assert.equal(await holder.end(), 0);
  assert.equal(reference.holderCount, 1);
  assert.equal(isSocket(file()), true);
  reference.close();
});

scenario('L47 the owner is killed', async ({ file, directory }) => {
  const holder = new Holder();
  await holder.start(file());
  const reference = await startListener(file());
  const lost = hears(reference, 'lost');
  await holder.kill();
  await lost;
  assert.deepEqual([reference.isActive, reference.isOwner, reference.referenceCount], [false, false, 1]);
  const again = await startListener(file());
  assert.deepEqual([again.isOwner, again.holderCount], [true, 1]);
  again.serveEcho();
  assert.deepEqual(await exchange(file(), 'anew'), Buffer.from('anew'));
  reference.close();
  assert.equal(again.isActive, true);
  again.close();
  await isEmpty(directory);
});

scenario('L48 the only holder is killed', async ({ file, directory }) => {
  const holder = new Holder();
  await holder.start(file());
  await holder.ask('serveEcho');
  assert.deepEqual(left(directory).sort(), ['.a.sock.srctl', '.a.sock.srlock', 'a.sock']);
  assert.equal(await holder.kill(), 'SIGKILL');
  await isEmpty(directory);
});

scenario('L49 the owner ends: handed over to this process', async ({ file, directory }) => {
  const holder = new Holder();
  await holder.start(file());
  const reference = await startListener(file());
  const before = inode(file());
  await neverRefused(file(), async () => {
    const owns = hears(reference, 'owner');
    await holder.ask('close');
    await owns;
    assert.deepEqual([reference.isOwner, reference.isActive, reference.holderCount], [true, true, 1]);
    assert.equal(inode(file()), before);
  });
  reference.serve({ data: (connection, data) => connection.write(data) });
  assert.equal(await holder.ask('dial', file(), 'the new owner'), 'the new owner');
  reference.close();
  await isEmpty(directory);
});

scenario('L49 the owner ends: handed over from this process', async ({ file, directory }) => {
  const holder = new Holder();
  const reference = await startListener(file());
  await holder.start(file());
  const before = inode(file());
  await neverRefused(file(), async () => {
    reference.close();
    await holder.hear('owner');
  });
  assert.deepEqual(await holder.ask('status'), { active: true, owner: true, holders: 1, count: 1 });
  assert.equal(inode(file()), before);
  await holder.ask('serve');
  assert.deepEqual(await exchange(file(), 'x'), Buffer.from('x'));
  await holder.ask('close');
  await isEmpty(directory);
});

// At its exit a process waits for the heir's answer, but not for long: then it is a loss.
scenario('the process of an owner ends in order: the name is handed over, or lost', async ({ file, directory }) => {
  const holder = new Holder();
  await holder.start(file());
  const reference = await startListener(file());
  const before = inode(file());
  const told = within(Promise.race([once(reference, 'owner'), once(reference, 'lost')]), 'owner or lost');
  assert.equal(await holder.end(), 0);
  await told;
  assert.equal(reference.isOwner, reference.isActive);
  if (reference.isOwner) assert.equal(inode(file()), before);
  const again = await startListener(file());
  assert.equal(again.isOwner, true);
  again.serveEcho();
  assert.deepEqual(await exchange(file(), 'x'), Buffer.from('x'));
  reference.close();
  again.close();
  await isEmpty(directory);
});

scenario('L50 an owner that serves ends its last reference: by the library', async ({ file, directory }) => {
  const holder = new Holder();
  await holder.start(file());
  await holder.ask('serveEcho');
  const reference = await startListener(file());
  await holder.ask('close');
  assert.deepEqual([reference.isActive, reference.isOwner, reference.holderCount], [true, false, 1]);
  assert.deepEqual(await exchange(file(), 'served on'), Buffer.from('served on'));
  reference.close();
  await isEmpty(directory);
  assert.equal((await holder.start(file())).owner, true);
  await holder.ask('close');
});

scenario('L50 an owner that serves ends its last reference: by JavaScript', async ({ file, directory }) => {
  const holder = new Holder();
  const reference = await startListener(file());
  let isStopped = false;
  reference.serve({
    data: (connection, data) => connection.write(data),
    stop() { isStopped = true; },
  });
  await holder.start(file());
  reference.close();
  assert.equal(sockref.isSocketActive(file()), false);
  assert.equal(await holder.ask('dial', file(), 'served on'), 'served on');
  assert.equal(isStopped, false);
  await holder.ask('close');
  await until(() => isStopped);
  await isEmpty(directory);
});

scenario('a worker that serves on without a reference ends: handed over', async ({ file, directory }) => {
  const worker = new Worker(`
    const { parentPort, workerData } = require('node:worker_threads');
    const reference = require(process.env.SOCKREF_PACKAGE).startListenerSync(workerData);
    reference.serve({ data: (connection, data) => connection.write(data) });
    parentPort.on('message', () => reference.close());
    parentPort.postMessage('serving');
  `, { eval: true, workerData: file() });
  await within(once(worker, 'message'), 'the worker');
  const holder = new Holder();
  assert.equal((await holder.start(file())).owner, false);
  worker.postMessage('close');
  await until(() => !sockref.isSocketActive(file()));
  assert.equal(await holder.ask('dial', file(), 'served on'), 'served on');
  await worker.terminate();
  await holder.hear('owner');
  await holder.ask('serveEcho');
  assert.deepEqual(await exchange(file(), 'handed over'), Buffer.from('handed over'));
  await holder.ask('close');
  await isEmpty(directory);
});

scenario('L51 exclusive, and another process owns the path', async ({ file }) => {
  const holder = new Holder();
  await holder.start(file());
  const before = inode(file());
  const told = busy(`process ${holder.pid} `);
  assert.throws(() => startListenerSync(file(), { exclusive: true }), told);
  await assert.rejects(startListener(file(), { exclusive: true }), told);
  await assert.rejects(startListener(file(), { exclusive: true }), { errno: -16, path: file() });
  assert.equal(inode(file()), before);
  assert.deepEqual(await holder.ask('status'), { active: true, owner: true, holders: 1, count: 1 });
  await holder.ask('close');
});

scenario('L52 not shared: nothing beside the socket, and nobody joins', async ({ file, directory }) => {
  const reference = await startListener(file(), { share: false });
  assert.deepEqual(fs.readdirSync(directory), ['a.sock']);
  assert.equal(reference.holderCount, 1);
  const holder = new Holder();
  await assert.rejects(holder.start(file(), { share: false }), { code: 'ESOCKREF_BUSY', errno: -16 });
  // Nothing tells one that would share whose socket it is.
  await assert.rejects(holder.start(file()), { code: /^ESOCKREF_(BUSY|FOREIGN)$/ });
  assert.deepEqual(fs.readdirSync(directory), ['a.sock']);
  assert.deepEqual([reference.isOwner, await canConnect(file())], [true, true]);
  reference.close();
  assert.deepEqual(fs.readdirSync(directory), []);
});

scenario('L52 not shared: but the name is, by another process', async ({ file }) => {
  const holder = new Holder();
  await holder.start(file());
  await assert.rejects(startListener(file(), { share: false }), busy(`process ${holder.pid} `));
  assert.equal((await holder.ask('status')).holders, 1);
  await holder.ask('close');
});

scenario('L53 many processes start one path at one moment', async ({ file, directory }) => {
  const holders = Array.from({ length: 6 }, () => new Holder());
  await Promise.all(holders.map((holder) => holder.ask('guard'))); // they are there
  const started = await Promise.all(holders.map((holder) => holder.start(file())));
  assert.equal(started.filter(({ owner }) => owner).length, 1);
  const told = await Promise.all(holders.map((holder) => holder.ask('status')));
  assert.deepEqual(told.map(({ holders: count }) => count), holders.map(() => holders.length));
  assert.deepEqual(told.map(({ owner }) => owner), started.map(({ owner }) => owner));
  assert.equal(await canConnect(file()), true);
  await Promise.all(holders.map((holder, i) => (i % 2 ? holder.kill() : holder.end())));
  await isEmpty(directory);
});

scenario('L54 a narrower mode than the shared socket has', async ({ file }) => {
  const holder = new Holder();
  await holder.start(file(), { mode: 0o660 });
  await assert.rejects(startListener(file(), { mode: 0o600 }), busy('0660', '0600'));
  const wider = await startListener(file(), { mode: 0o666 });
  const any = await startListener(file());
  assert.deepEqual([wider.holderCount, any.referenceCount], [2, 2]);
  assert.equal(fs.lstatSync(file()).mode & 0o777, 0o660);
  wider.close();
  any.close();
  await holder.ask('close');
});

function parentOf(pid) {
  const [state, parent] = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /, '').split(' ');
  return { isRunning: state !== 'Z', parent: Number(parent) };
}

scenario("L55 the guard's status", async ({ file }) => {
  const holder = new Holder();
  assert.equal(await holder.ask('guard'), 0);
  await holder.start(file('unguarded'), { guard: false });
  await holder.ask('close');
  assert.equal(await holder.ask('guard'), 0);
  await holder.start(file(), { guard: 'required' });
  const guard = await holder.ask('guard');
  assert.notEqual(guard, holder.pid);
  const { isRunning, parent } = parentOf(guard);
  assert.equal(isRunning, true);
  assert.notEqual(parent, holder.pid);
  await holder.ask('close');
  assert.equal(await holder.ask('guard'), guard);

  const held = await startListener(file('here'));
  const registry = new Registry();
  assert.equal(parentOf(sockref.guardStatus()).isRunning, true);
  assert.equal(registry.guardStatus(), sockref.guardStatus());
  held.close();
  registry.close();
  assert.throws(() => registry.guardStatus(), { code: 'ESOCKREF_CLOSED' });
});

scenario('a guard that is not there', async ({ file }) => {
  const holder = new Holder({ SOCKREF_GUARD: '/nonexistent/guard' });
  assert.equal((await holder.start(file())).owner, true);
  await assert.rejects(holder.ask('guard'), { code: 'ESOCKREF_UNSUPPORTED', path: '/nonexistent/guard' });
  await assert.rejects(holder.start(file('required'), { guard: 'required' }), { code: 'ESOCKREF_UNSUPPORTED' });
  assert.equal(isSocket(file('required')), false);
  await holder.ask('close');
});

scenario('a killed holder is counted no more, and the owner stays', async ({ file }) => {
  const reference = await startListener(file());
  const holder = new Holder();
  await holder.start(file());
  assert.equal(reference.holderCount, 2);
  await holder.kill();
  await until(() => reference.holderCount === 1, 'one holder');
  assert.deepEqual([reference.isOwner, await canConnect(file())], [true, true]);
  reference.close();
});

scenario('a joiner does not keep its process alive', async ({ file }) => {
  const reference = await startListener(file());
  const ended = await run(['-e', `require(process.env.SOCKREF_PACKAGE).startListener(${JSON.stringify(file())})
    .then((joined) => console.log(joined.on('lost', () => {}).holderCount))`]);
  assert.deepEqual([ended.err, ended.code, ended.out], ['', 0, '2\n']);
  await until(() => reference.holderCount === 1, 'one holder');
  assert.equal(isSocket(file()), true);
  reference.close();
});
