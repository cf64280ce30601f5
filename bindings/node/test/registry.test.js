'use strict';

const { assert, sockref, isSocket, sockets, scenario, run, program, canConnect, until } = require('./harness.js');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { SocketReference, Registry, startListener } = sockref;

scenario('L22 registerNew of a socket that the program bound', async ({ file }) => {
  // In a program of its own: node:net keeps the descriptor that it gives away.
  const ended = await run([program('register.js'), file('bound.sock'), file('other.sock')]);
  assert.equal(ended.err, '');
  assert.deepEqual(JSON.parse(ended.out), {
    owner: true, count: 1, again: 'ESOCKREF_EXISTS', foreign: ['ESOCKREF_FOREIGN', 'ESOCKREF_FOREIGN'],
    itself: [true, 'ESOCKREF_FOREIGN', 'ERR_INVALID_ARG_TYPE'],
    bad: ['EINVAL', 'ERR_INVALID_ARG_TYPE', 'ERR_OUT_OF_RANGE'], left: false, kept: true,
    live: { references: 0, entries: 0, buffers: 0 },
  });
});

scenario('L23 cleanup of a held name', async ({ file }) => {
  const old = await startListener(file());
  const other = old.clone();
  sockref.cleanup(file());
  assert.equal(isSocket(file()), false);
  assert.equal(old.isActive, false);
  assert.equal(old.referenceCount, 2);
  assert.equal(old.path, file());
  assert.equal(sockref.isSocketActive(file()), false);
  const fresh = await startListener(file());
  assert.equal(fresh.referenceCount, 1);
  old.close();
  other.close();
  assert.equal(fresh.isActive, true);
  assert.equal(isSocket(file()), true);
  assert.equal(await canConnect(file()), true);
  fresh.close();
});

scenario('L24 cleanup of an unknown name, of a path with a regular file', async ({ file }) => {
  fs.writeFileSync(file('regular'), 'precious');
  assert.throws(() => sockref.cleanup(file()), { code: 'ESOCKREF_NOTFOUND', errno: -2, path: file() });
  assert.throws(() => sockref.cleanup(file('regular')), { code: 'ESOCKREF_NOTFOUND' });
  assert.equal(fs.readFileSync(file('regular'), 'utf8'), 'precious');
});

scenario('L25 cleanupAll', async ({ file }) => {
  const references = await Promise.all(['a', 'b', 'c'].map((leaf) => startListener(file(leaf))));
  assert.equal(sockref.cleanupAll(), 3);
  assert.equal(sockref.activeSocketCount(), 0);
  for (const reference of references) {
    assert.equal(reference.isActive, false);
    assert.equal(isSocket(reference.path), false);
    reference.close();
  }
  assert.equal(sockref.cleanupAll(), 0);
});

scenario('L26 limits', async ({ file }) => {
  const registry = new Registry({ maxSockets: 2, maxReferences: 2 });
  const a = await registry.startListener(file('a'));
  const b = await registry.startListener(file('b'));
  await assert.rejects(registry.startListener(file('c')), { code: 'ESOCKREF_LIMIT', errno: -24 });
  assert.throws(() => registry.getOrCreate(file('c')), { code: 'ESOCKREF_LIMIT' });
  assert.equal(fs.existsSync(file('c')), false);
  b.close();
  const c = await registry.startListener(file('c'));
  c.close();
  const more = a.clone();
  assert.throws(() => a.clone(), { code: 'ESOCKREF_LIMIT' });
  await assert.rejects(registry.startListener(file('a')), { code: 'ESOCKREF_LIMIT' });
  assert.equal(a.referenceCount, 2);
  more.close();
  a.clone().close();
  a.close();
  registry.close();
});

scenario('L28 cleanup delay', async ({ file }) => {
  const delayed = await startListener(file(), { cleanupDelayMs: 300 });
  const { ino } = fs.lstatSync(file());
  delayed.close();
  assert.equal(isSocket(file()), true);
  assert.equal(sockref.isSocketActive(file()), false);
  const again = await startListener(file());
  assert.equal(fs.lstatSync(file()).ino, ino);
  assert.equal(again.referenceCount, 1);
  const closed = Date.now();
  again.close();
  assert.equal(isSocket(file()), true);
  await until(() => !isSocket(file()));
  assert.equal(Date.now() - closed >= 250, true, 'it stayed for the delay');
});

scenario('L31 the default name, and unique', async ({ directory }) => {
  const registry = new Registry({ directory });
  const first = await registry.startListener();
  const second = await registry.startListener(undefined);
  assert.equal(first.path, second.path);
  assert.equal(first.referenceCount, 2);
  const one = await registry.startListener(undefined, { unique: true });
  const two = await registry.startListener(undefined, { unique: true });
  assert.equal(new Set([first.path, one.path, two.path]).size, 3);
  assert.equal(sockets(directory).length, 3);
  const named = registry.getOrCreate();
  assert.equal(named.path, first.path);
  for (const reference of [first, second, one, two, named]) reference.close();
  registry.close();
});

scenario('L33 exclusive on a live name', async ({ file }) => {
  const live = await startListener(file());
  await assert.rejects(startListener(file(), { exclusive: true }), { code: 'ESOCKREF_EXISTS', errno: -17 });
  assert.equal(live.referenceCount, 1);
  assert.equal(await canConnect(file()), true);
  live.close();
  (await startListener(file(), { exclusive: true })).close();
});

scenario('L34 two registries', async ({ file }) => {
  const [one, two] = [new Registry(), new Registry()];
  const a = await one.startListener(file('a'));
  const b = await two.startListener(file('b'));
  assert.equal(one.activeSocketCount(), 1);
  assert.equal(two.activeSocketCount(), 1);
  assert.equal(one.isSocketActive(file('b')), false);
  assert.equal(two.getExisting(file('a')), null);
  const joined = await two.startListener(file('a'));
  assert.deepEqual([a.isOwner, joined.isOwner], [true, false]);
  assert.deepEqual([a.referenceCount, joined.referenceCount], [1, 1]);
  assert.deepEqual([a.holderCount, joined.holderCount], [2, 2]);
  assert.deepEqual([one.activeSocketCount(), two.activeSocketCount()], [1, 2]);
  const named = two.getOrCreate(file('named'));
  assert.throws(() => named.serveEcho(), { code: 'ESOCKREF_CLOSED', path: file('named') });
  named.close();
  assert.throws(() => joined.fd(), { code: 'ESOCKREF_CLOSED', path: file('a'), message: /another registry owns/ });
  assert.throws(() => joined.serve({}), { code: 'ESOCKREF_CLOSED' });
  joined.close();
  assert.equal(a.holderCount, 1);
  assert.equal(isSocket(file('a')), true);
  assert.equal(a.isActive, true);
  a.close();
  assert.equal(isSocket(file('a')), false);
  const taken = await two.startListener(file('a'));
  assert.equal(taken.isOwner, true);
  taken.close();
  b.close();
  one.close();
  two.close();
  two.close();
  assert.throws(() => one.getOrCreate(file('a')), { code: 'ESOCKREF_CLOSED' });
  await assert.rejects(one.startListener(file('a')), { code: 'ESOCKREF_CLOSED' });
  assert.equal(one.isSocketActive(file('a')), false);
  assert.equal(one.activeSocketCount(), 0);
});

scenario('L35 shutdown', async ({ file }) => {
  const registry = new Registry();
  const held = await registry.startListener(file('held'));
  const down = registry.shutdown(100000);
  held.close(); // it waits for its holders, so this lets it end
  await down;
  await assert.rejects(registry.startListener(file('late')), { code: 'ESOCKREF_SHUTDOWN', errno: -108 });
  assert.throws(() => registry.getOrCreate(file('late')), { code: 'ESOCKREF_SHUTDOWN' });
  registry.close();

  const other = new Registry();
  const kept = await other.startListener(file('kept'));
  await assert.rejects(other.shutdown(0), { code: 'ESOCKREF_TIMEOUT', errno: -110 });
  assert.equal(kept.isActive, false);
  assert.equal(isSocket(file('kept')), false);
  kept.close();
  other.close();

  const last = await startListener(file('default'));
  await assert.rejects(sockref.shutdown(0), { code: 'ESOCKREF_TIMEOUT' });
  assert.equal(last.isActive, false);
  const fresh = await startListener(file('default'));
  assert.equal(fresh.isActive, true);
  fresh.close();
  last.close();
});

scenario('L36 drain', async ({ file }) => {
  const reference = await startListener(file());
  reference.serveEcho();
  const peer = net.connect(file()).on('error', () => {});
  await new Promise((resolve) => peer.once('connect', resolve));
  reference.close();
  await sockref.drain();
  assert.equal(isSocket(file()), false);
  peer.destroy();
  await sockref.drain(Infinity);
  await assert.rejects(sockref.drain('x'), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  await assert.rejects(sockref.shutdown(1.5), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  await assert.rejects(sockref.drain(-2), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
});

scenario('L39 sweep', async ({ file, directory }) => {
  const registry = new Registry({ directory });
  const live = await registry.startListener(); // the first default name: it sweeps, and finds nothing
  const leave = async () => {
    const dead = await run([program('leave-default.js'), directory]);
    assert.equal(dead.signal, 'SIGKILL', dead.err);
  };
  await leave();
  const named = await registry.startListener(file('named.sock'));
  fs.writeFileSync(file('sockref-5194301-0123456789abcdef.sock'), 'a file');
  const left = sockets(directory).filter((leaf) => file(leaf) !== live.path && leaf !== 'named.sock');
  assert.equal(left.length, 1);
  assert.equal(await sockref.sweep(directory), 1);
  assert.equal(isSocket(file(left[0])), false);
  assert.equal(isSocket(live.path), true);
  assert.equal(isSocket(named.path), true);
  assert.equal(fs.readFileSync(file('sockref-5194301-0123456789abcdef.sock'), 'utf8'), 'a file');
  assert.equal(await registry.sweep(), 0);
  await assert.rejects(sockref.sweep(null), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  await assert.rejects(sockref.sweep(file('missing')), { code: 'ENOENT', count: 0 });

  await leave();
  assert.equal(sockets(directory).length, 3);
  const other = new Registry({ directory });
  const swept = await other.startListener();
  const names = [live, named, swept].map((reference) => path.basename(reference.path));
  assert.deepEqual(sockets(directory).sort(), names.sort());
  for (const reference of [live, named, swept]) reference.close();
  other.close();
  registry.close();
});

scenario('a registry lives as long as its references', async ({ file }) => {
  const reference = await new Registry().startListener(file());
  const clone = reference.clone();
  reference.close();
  assert.equal(clone.isActive, true);
  clone.close();
  assert.equal(SocketReference.getExisting(file()), null);
});
