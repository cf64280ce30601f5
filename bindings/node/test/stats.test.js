'use strict';

const { assert, sockref, inside, scenario, connect, exchange, program, run, until, within } = require('./harness.js');
const fs = require('node:fs');
const { Registry, SockrefError, SocketReference, startListener } = sockref;
const net = inside('net.js');

// What it tells, all of it frozen, and the histogram in it, if it has one.
function checkTold(told, names, histogram) {
  assert.deepEqual(Object.keys(told).sort(), [...names, ...(histogram ? [histogram] : [])].sort());
  assert.equal(Object.isFrozen(told), true);
  if (!histogram) return;
  const { count, sumNs, buckets } = told[histogram];
  assert.deepEqual(Object.keys(told[histogram]).sort(), ['buckets', 'count', 'sumNs']);
  assert.deepEqual(buckets.map(({ le }) => le), Array.from({ length: 14 }, (_, i) => 1000 * 4 ** i));
  assert.equal(buckets.reduce((sum, bucket) => sum + bucket.count, 0), count);
  assert.equal(sumNs > 0, count > 0);
  for (const part of [told[histogram], buckets, ...buckets]) assert.equal(Object.isFrozen(part), true);
}

const ofRegistry = ['created', 'joined', 'reused', 'failed', 'closed', 'revoked', 'removed', 'removeFailed', 'deferred',
  'lastRemoveError'];

scenario('G39 a registry counts what is started and what ends', async ({ file }) => {
  const registry = new Registry(), other = new Registry();
  const fresh = registry.stats();
  checkTold(fresh, ofRegistry, 'removal');
  assert.deepEqual({ ...fresh, removal: fresh.removal.count }, {
    created: 0, joined: 0, reused: 0, failed: 0, closed: 0, revoked: 0, removed: 0, removeFailed: 0, deferred: 0,
    lastRemoveError: null, removal: 0,
  });
  const first = await registry.startListener(file());
  const again = registry.startListenerSync(file());
  const joined = await other.startListener(file());
  const second = registry.startListenerSync(file('b.sock'));
  await assert.rejects(registry.startListener(file('missing/a.sock')), { code: 'ENOENT' });
  first.clone().close();
  assert.deepEqual([other.stats().created, other.stats().joined], [0, 1]);
  joined.close();
  first.close();
  again.close();
  registry.cleanup(file('b.sock'));
  second.close();
  await registry.drain();
  const told = registry.stats();
  checkTold(told, ofRegistry, 'removal');
  assert.deepEqual({ ...told, deferred: 0, removal: told.removal.count }, {
    created: 2, joined: 0, reused: 1, failed: 1, closed: 1, revoked: 1, removed: 2, removeFailed: 0, deferred: 0,
    lastRemoveError: null, removal: 2,
  });
  assert.deepEqual(fresh.created, 0, 'a reading stays as it is');
  registry.close();
  other.close();
});

scenario('G39 the default registry has counts of its own', async ({ file }) => {
  const before = sockref.stats();
  checkTold(before, ofRegistry, 'removal');
  (await startListener(file())).close();
  const { created, closed } = sockref.stats();
  assert.deepEqual([created, closed], [before.created + 1, before.closed + 1]);
});

scenario('L69 counters of a name that is shared and released', async ({ file }) => {
  const registry = new Registry();
  const reference = await registry.startListener(file());
  const again = await registry.startListener(file());
  const { created, reused, closed } = registry.stats();
  assert.deepEqual([created, reused, closed], [1, 1, 0]);
  assert.equal(reference.stats().references, 2);
  again.close();
  reference.close();
  const told = registry.stats();
  assert.deepEqual([told.created, told.closed, told.removed, told.removal.count], [1, 1, 1, 1]);
  registry.close();
});

scenario('L70 counters of a name that is served', async ({ file }) => {
  const reference = await startListener(file());
  reference.serveEcho();
  assert.equal((await exchange(file(), 'hello')).toString(), 'hello');
  await until(() => reference.stats().connections === 0);
  const { accepted, refused, bytesRead, bytesWritten } = reference.stats();
  assert.deepEqual([accepted, refused, bytesRead, bytesWritten], [1, 0, 5, 5]);
  reference.close();
});

scenario('L71 health before and after somebody removed the file', async ({ file }) => {
  const reference = await startListener(file());
  const look = () => [reference.checkHealth().isFileOurs, reference.checkHealth().isReachable];
  assert.deepEqual(look(), [true, true]);
  fs.unlinkSync(file());
  assert.deepEqual(look(), [false, false]);
  reference.close();
});

scenario('G39 an end that waits for another holder is left to the worker', async ({ file }) => {
  const registry = new Registry(), other = new Registry();
  const owner = await registry.startListener(file());
  const joined = await other.startListener(file());
  owner.close();
  await registry.drain();
  const { closed, deferred } = registry.stats();
  assert.deepEqual([closed, deferred], [1, 1]);
  await until(() => joined.isOwner);
  joined.close();
  assert.equal(other.stats().deferred, 0);
  registry.close();
  other.close();
});

scenario('G39 a removal that the system refuses is counted', async ({ file }) => {
  const ended = await run([program('refuse-removal.js'), file()]);
  assert.equal(ended.err, '');
  assert.deepEqual(JSON.parse(ended.out), { removed: 0, removeFailed: 1, lastRemoveError: 'EACCES' });
});

scenario('G39 G41 a reference tells of its connections', async ({ file }) => {
  const reference = await startListener(file(), { maxConnections: 1 });
  const names = ['references', 'connections', 'accepted', 'refused', 'bytesRead', 'bytesWritten', 'servedNs'];
  checkTold(reference.stats(), names);
  assert.deepEqual(Object.values(reference.stats()), [1, 0, 0, 0, 0, 0, 0]);
  reference.serve({ data: (connection, data) => connection.write(data + data) });
  const socket = await connect(file());
  socket.write('hello');
  await within(new Promise((resolve) => { socket.once('data', resolve); }), 'data');
  const clone = reference.clone();
  const { servedNs, ...counts } = clone.stats();
  assert.deepEqual(counts, { references: 2, connections: 1, accepted: 1, refused: 0, bytesRead: 5, bytesWritten: 10 });
  assert.equal(servedNs > 0, true);
  clone.close();
  const next = await connect(file()); // waits, for there is one already
  assert.equal(reference.stats().accepted, 1);
  socket.destroy();
  await until(() => reference.stats().accepted === 2);
  assert.equal(reference.stats().connections, 1);
  next.destroy();
  await until(() => reference.stats().connections === 0);
  assert.equal(reference.stats().servedNs > servedNs, true);
  reference.close();
});

scenario('G39 the metrics are OpenMetrics text of the registry, its names and the loops', async ({ file }) => {
  const registry = new Registry();
  const references = [];
  const text = registry.metrics();
  assert.equal(text.endsWith('# EOF\n'), true);
  assert.equal(text.includes(file()), false);
  for (let i = 0; i < 100; i++) references.push(registry.startListenerSync(file(`${i}.sock`), { share: false }));
  const long = registry.metrics();
  assert.equal(long.length > 8192, true, 'it is longer than the first try has room for');
  assert.equal(long.endsWith('# EOF\n'), true);
  for (const reference of references) {
    assert.equal(long.includes(`"${reference.path}"`), true);
    reference.close();
  }
  for (const line of long.trimEnd().split('\n')) {
    assert.match(line, /^(# (TYPE|HELP|UNIT) |# EOF$|[a-z_]+(\{.*\})? [\d.e+-]+$)/);
  }
  assert.equal(sockref.metrics().endsWith('# EOF\n'), true);
  registry.close();
});

scenario('G40 a name that is served is well', async ({ file }) => {
  const reference = await startListener(file());
  checkTold(reference.checkHealth(), ['isFileOurs', 'isReachable', 'isAccepting']);
  assert.deepEqual({ ...reference.checkHealth() }, { isFileOurs: true, isReachable: true, isAccepting: false });
  reference.serve({});
  await until(() => reference.checkHealth().isAccepting); // from the loop's first turn with it on
  assert.deepEqual({ ...reference.checkHealth() }, { isFileOurs: true, isReachable: true, isAccepting: true });
  assert.equal(reference.stats().accepted, 0, 'it made no connection');
  const other = new Registry();
  const joined = await other.startListener(file());
  assert.deepEqual({ ...joined.checkHealth() }, { isFileOurs: true, isReachable: true, isAccepting: null });
  joined.close();
  other.close();
  fs.renameSync(file(), file('moved'));
  fs.writeFileSync(file(), 'not ours');
  assert.deepEqual([reference.checkHealth().isFileOurs, reference.checkHealth().isReachable], [false, false]);
  fs.renameSync(file('moved'), file());
  assert.equal(reference.checkHealth().isFileOurs, true);
  reference.close();
});

scenario('G40 a name without a file, and one at its limit', async ({ file }) => {
  const tcp = await startListener('tcp:127.0.0.1:0');
  tcp.serveEcho();
  await until(() => tcp.checkHealth().isAccepting);
  assert.deepEqual({ ...tcp.checkHealth() }, { isFileOurs: null, isReachable: true, isAccepting: true });
  tcp.close();
  const full = await startListener(file(), { maxConnections: 1 });
  full.serve({});
  const socket = await connect(file());
  await until(() => full.stats().connections === 1);
  assert.equal(full.checkHealth().isAccepting, false);
  socket.destroy();
  await until(() => full.stats().connections === 0);
  assert.equal(full.checkHealth().isAccepting, true);
  full.close();
});

scenario('G40 what is closed, revoked or never started has no health', async ({ file }) => {
  const reference = await startListener(file());
  const named = SocketReference.getOrCreate(file('b.sock'));
  assert.throws(() => named.checkHealth(), { code: 'ESOCKREF_CLOSED' });
  named.close();
  sockref.cleanup(file());
  assert.throws(() => reference.checkHealth(), { code: 'ESOCKREF_CLOSED' });
  assert.equal(reference.stats().references, 1);
  reference.close();
  for (const method of ['stats', 'checkHealth']) {
    assert.throws(() => reference[method](), (error) => error instanceof SockrefError &&
      error.code === 'ESOCKREF_CLOSED' && error.path === file(), method);
    for (const wrong of [null, undefined, {}, 1, new Registry(), Object.create(SocketReference.prototype)]) {
      assert.throws(() => SocketReference.prototype[method].call(wrong), { name: 'TypeError', code: 'ERR_INVALID_THIS' });
    }
  }
  const registry = new Registry();
  registry.close();
  for (const method of ['stats', 'metrics']) {
    assert.throws(() => registry[method](), { code: 'ESOCKREF_CLOSED' }, method);
    assert.throws(() => Registry.prototype[method].call({}), { code: 'ERR_INVALID_THIS' }, method);
  }
});

const ofLoops = ['callbacks', 'pending', 'oldestNs', 'newestNs', 'starved', 'isStarving', 'accepted', 'refused', 'connected',
  'connectFailed', 'bytesRead', 'bytesWritten'];

scenario('G41 the loops tell of connections and how long it took to make them', async ({ file }) => {
  const before = sockref.loopStats();
  checkTold(before, ofLoops, 'connect');
  const reference = await startListener(file());
  reference.serve({ data: (connection, data) => connection.end(data + data) });
  const socket = net.connect(file(), () => socket.write('hello'));
  await within(new Promise((resolve) => { socket.on('close', resolve).resume(); }), 'close');
  assert.equal((await exchange(file(), 'abc')).toString(), 'abcabc'); // by node:net
  for (let i = 0; i < 3; i++) {
    await within(new Promise((resolve) => { net.connect(file('missing')).on('error', resolve); }), 'error');
  }
  const told = sockref.loopStats();
  checkTold(told, ofLoops, 'connect');
  const more = (name) => told[name] - before[name];
  assert.deepEqual(['accepted', 'refused', 'connected', 'connectFailed'].map(more), [2, 0, 1, 3]);
  assert.deepEqual(['bytesRead', 'bytesWritten'].map(more), [18, 21]);
  assert.equal(told.connect.count, before.connect.count + 1);
  assert.equal(more('callbacks') > 0, true);
  reference.close();
});

scenario('T15 what waits while JavaScript is busy, and that a turn came late', async ({ file }) => {
  const before = sockref.loopStats();
  assert.equal(before.isStarving, false);
  const started = [startListener(file()), startListener(file('b.sock'))];
  const end = Date.now() + 30_000;
  while (sockref.loopStats().oldestNs < 1_100_000_000 && Date.now() < end); // no turn meanwhile
  const late = sockref.loopStats();
  assert.equal(late.pending > 0, true);
  assert.equal(late.isStarving, true);
  assert.equal(late.oldestNs >= late.newestNs && late.newestNs > 0, true);
  for (const reference of await Promise.all(started)) reference.close();
  await until(() => sockref.loopStats().pending === 0);
  const { oldestNs, newestNs, starved, isStarving } = sockref.loopStats();
  assert.deepEqual([oldestNs, newestNs, isStarving], [0, 0, false]);
  assert.equal(starved > before.starved, true);
});
