'use strict';

const {
  assert, sockref, scenario, collect, exchange, gc, isSocket, program, sockets, turn, until, within,
} = require('./harness.js');
const { getEventListeners, once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { Registry, SockrefError, SocketPool, SocketReference, startListener, startListenerSync } = sockref;

function pathsOf(pool, times, policy) {
  return Array.from({ length: times }, () => {
    const reference = pool.pick(policy);
    reference.close();
    return reference.path;
  });
}

scenario('G42 a pool of names that are started together', async ({ directory, file }) => {
  const pool = await SocketPool.start(file(), 3);
  assert.equal(pool instanceof SocketPool, true);
  assert.equal(pool.size, 3);
  const names = ['a.sock.0', 'a.sock.1', 'a.sock.2'];
  assert.deepEqual(sockets(directory).sort(), names);
  assert.deepEqual(pathsOf(pool, 3).sort(), names.map((name) => file(name)));
  pool.close();
  assert.deepEqual(sockets(directory), []);
  assert.equal(pool.size, 0);
  pool.close();
  pool[Symbol.dispose]();
});

scenario('L72 a pool of two names, picked in turn and closed', async ({ directory, file }) => {
  const pool = await SocketPool.start(file(), 2);
  assert.deepEqual(pathsOf(pool, 2), [file('a.sock.0'), file('a.sock.1')]);
  const picked = pool.pick();
  assert.equal(picked.path, file('a.sock.0'));
  pool.close();
  assert.deepEqual(sockets(directory), ['a.sock.0']);
  picked.close();
  assert.deepEqual(fs.readdirSync(directory), []);
});

scenario('G42 names of a pool: bytes, ports, and none', async ({ directory }) => {
  const bytes = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xff, 0x61])]);
  const odd = await SocketPool.start(bytes, 2);
  assert.deepEqual([...Array(2)].map(() => {
    const reference = odd.pick();
    reference.close();
    return reference.pathBytes.subarray(bytes.length).toString();
  }).sort(), ['.0', '.1']);
  odd.close();

  const any = await SocketPool.start('tcp:127.0.0.1:0', 3);
  const ports = pathsOf(any, 3).map((name) => Number(/^tcp:127\.0\.0\.1:(\d+)$/.exec(name)[1]));
  assert.equal(new Set(ports).size, 3);
  assert.equal(ports.every((port) => port > 0), true);
  any.close();
  await assert.rejects(SocketPool.start('tcp:127.0.0.1:65535', 2), { code: 'ESOCKREF_PATH' });
  await assert.rejects(SocketPool.start('tcp:127.0.0.1:http', 2), { code: 'ESOCKREF_PATH' });

  const registry = new Registry({ directory });
  const fresh = await SocketPool.start(undefined, 3, { registry });
  assert.equal(fresh.size, 3);
  assert.equal(sockets(directory).length, 3);
  assert.equal(registry.activeSocketCount(), 3);
  assert.equal(new Set(pathsOf(fresh, 3)).size, 3);
  fresh.close();
  registry.close();
});

scenario('G42 what names are made of is a name', async ({ directory, file }) => {
  for (const wrong of ['', 'relative', '@', `${directory}/`, `${directory}/..`, 'tcp:127.0.0.1']) {
    await assert.rejects(SocketPool.start(wrong, 2), { code: 'ESOCKREF_PATH', path: wrong });
  }
  assert.deepEqual(fs.readdirSync(directory), []);
  const registry = new Registry({ maxReferences: 2 });
  const held = await registry.startListener(file());
  const used = held.clone();
  const pool = await SocketPool.start(file(), 2, { registry }); // it is one, though it may have no more references
  assert.deepEqual([pool.size, held.referenceCount], [2, 2]);
  for (const one of [pool, used, held, registry]) one.close();
});

scenario('G42 names of which one is too long are not begun', async ({ directory }) => {
  const name = `@${path.basename(directory)}`.padEnd(105, 'x'); // of eleven, ten have room in a socket's address
  const registry = new Registry();
  await assert.rejects(SocketPool.start(name, 11, { registry }), { code: 'ESOCKREF_PATHLEN', path: `${name}.10` });
  assert.equal(registry.stats().created, 0);
  const pool = await SocketPool.start(name, 10, { registry });
  assert.equal(pool.size, 10);
  pool.close();
  registry.close();
});

scenario('G42 ports from one on', async () => {
  for (let tries = 0; ; tries++) { // somebody else may have the next port
    const first = await startListener('tcp:127.0.0.1:0');
    const port = Number(first.path.split(':').pop());
    first.close();
    try {
      const pool = await SocketPool.start(`tcp:127.0.0.1:${port}`, 2);
      assert.deepEqual(pathsOf(pool, 2).sort(), [port, port + 1].map((one) => `tcp:127.0.0.1:${one}`).sort());
      pool.close();
      return;
    } catch (error) {
      if (tries > 20 || !['EADDRINUSE', 'ESOCKREF_FOREIGN', 'ESOCKREF_PATH'].includes(error.code)) throw error;
    }
  }
});

scenario('G42 all are started, or none', async ({ directory, file }) => {
  fs.writeFileSync(file('a.sock.2'), 'precious');
  await assert.rejects(SocketPool.start(file(), 4), (error) => error instanceof SockrefError &&
    error.code === 'ESOCKREF_FOREIGN' && error.path === file('a.sock.2'));
  assert.deepEqual(sockets(directory), []);
  assert.equal(fs.readFileSync(file('a.sock.2'), 'utf8'), 'precious');
  fs.unlinkSync(file('a.sock.2'));

  const held = await startListener(file('a.sock.1'));
  await assert.rejects(SocketPool.start(file(), 3, { exclusive: true }), { code: 'ESOCKREF_EXISTS' });
  assert.deepEqual(sockets(directory), ['a.sock.1']);
  const pool = await SocketPool.start(file(), 3);
  assert.equal(held.referenceCount, 2);
  pool.close();
  assert.equal(held.referenceCount, 1);
  held.close();
});

scenario('G42 a start that fails ends those that wait', async ({ directory, file }) => {
  class Waiting extends Registry {
    startListener(name, options) {
      if (String(name) !== file('a.sock.0')) return super.startListener(name, options);
      return new Promise((_, reject) => {
        options.signal.addEventListener('abort', () => reject(new Error('cancelled')));
      });
    }
  }
  const registry = new Waiting();
  fs.writeFileSync(file('a.sock.1'), 'precious');
  await assert.rejects(within(SocketPool.start(file(), 3, { registry }), 'the failure'), { code: 'ESOCKREF_FOREIGN' });
  assert.deepEqual(sockets(directory), []);
  registry.close();
});

scenario('G42 the start of a pool is cancelled', async ({ directory, file }) => {
  const reason = new Error('changed my mind');
  const aborted = { name: 'AbortError', code: 'ABORT_ERR', cause: reason };
  await assert.rejects(SocketPool.start(file(), 3, { signal: AbortSignal.abort(reason) }), aborted);
  for (let i = 0; i < 20; i++) {
    const controller = new AbortController();
    const started = SocketPool.start(file(), 20, { signal: controller.signal });
    if (i % 2) await turn();
    controller.abort(reason);
    await started.then((pool) => pool.close(), (error) => assert.equal(error.cause, reason));
    assert.deepEqual(sockets(directory), []);
  }
  const controller = new AbortController();
  const started = SocketPool.start(file(), 20, { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(started, aborted);
  const late = new AbortController();
  const pool = await SocketPool.start(file(), 20, { signal: late.signal });
  assert.deepEqual(getEventListeners(late.signal, 'abort'), []);
  late.abort();
  assert.equal(pool.pick().isActive, true);
  sockref.cleanupAll();
  pool.close();
});

scenario('G42 the start of a large pool warns of nothing', async ({ file }) => {
  const warnings = [];
  const warn = (warning) => warnings.push(warning);
  process.on('warning', warn);
  const pool = await SocketPool.start(file(), 200, { signal: new AbortController().signal, share: false });
  await turn(); // warnings come later
  process.off('warning', warn);
  assert.equal(pool.size, 200);
  assert.deepEqual(warnings, []);
  pool.close();
});

scenario('G42 members come and go', async ({ file }) => {
  const registry = new Registry();
  const pool = new SocketPool();
  const [a, b] = [startListenerSync(file('a')), registry.startListenerSync(file('b'))];
  assert.throws(() => pool.pick(), { code: 'ESOCKREF_NOTFOUND', errno: -2 });
  assert.equal(pool.add(a), undefined);
  assert.throws(() => pool.add(a.clone()), { code: 'ESOCKREF_EXISTS' });
  pool.add(b);
  assert.deepEqual([pool.size, a.referenceCount, b.referenceCount], [2, 3, 2]);
  b.close();
  assert.equal(isSocket(file('b')), true, 'the pool holds it');
  const picked = registry.getExisting(file('b'));
  pool.remove(picked);
  assert.throws(() => pool.remove(picked), { code: 'ESOCKREF_NOTFOUND' });
  picked.close();
  assert.equal(isSocket(file('b')), false);
  assert.throws(() => pool.add(b), { code: 'ESOCKREF_CLOSED', path: file('b') });
  assert.deepEqual(pathsOf(pool, 2), [file('a'), file('a')]);
  sockref.cleanup(file('a'));
  assert.throws(() => pool.pick(), { code: 'ESOCKREF_NOTFOUND' });
  assert.throws(() => new SocketPool().add(a), { code: 'ESOCKREF_CLOSED' });
  const next = startListenerSync(file('a'));
  pool.add(next); // in the place of the one that was revoked
  assert.equal(pool.size, 1);
  assert.equal(a.referenceCount, 2);
  assert.throws(() => pool.remove(a), { code: 'ESOCKREF_NOTFOUND' });
  assert.deepEqual(pathsOf(pool, 1), [file('a')]);
  pool.remove(next);
  assert.equal(pool.size, 0);
  a.close();
  next.close();
  pool.close();
  registry.close();
  await collect(() => sockref.liveCounts().references === 0); // the clone that was not added
});

scenario('the registry of a revoked member is kept until its place is taken', async ({ file }) => {
  const pool = new SocketPool();
  const join = (name, registry = new Registry()) => {
    const reference = registry.startListenerSync(file(name), { exclusive: true });
    pool.add(reference);
    reference.close();
    return registry;
  };
  const revoke = (name) => {
    const registry = join(name);
    registry.cleanup(file(name));
    return registry;
  };
  const takeOut = (registry, name) => {
    const reference = registry.getExisting(file(name));
    pool.remove(reference);
    reference.close();
    return registry;
  };
  const kept = new WeakRef(join('kept'));
  const past = new WeakRef(revoke('past'));
  const last = join('past');
  const again = new WeakRef(takeOut(join('again', revoke('again')), 'again'));
  assert.equal(pool.size, 2);
  await collect(() => past.deref() === undefined && again.deref() === undefined);
  assert.equal(kept.deref() instanceof Registry, true);
  assert.equal(last.isSocketActive(file('past')), true);
  assert.deepEqual(pathsOf(pool, 2).sort(), [file('kept'), file('past')]);
  pool.close();
});

scenario('G43 one after the other, and the least used', async ({ file }) => {
  const pool = await SocketPool.start(file(), 3);
  const round = pathsOf(pool, 6);
  assert.equal(new Set(round.slice(0, 3)).size, 3);
  assert.deepEqual(round.slice(3), round.slice(0, 3));
  const used = Array.from({ length: 3 }, () => pool.pick('least-references'));
  assert.equal(new Set(used.map((reference) => reference.path)).size, 3);
  assert.deepEqual(used.map((reference) => reference.referenceCount), [2, 2, 2]);
  used[1].close();
  const [least] = pathsOf(pool, 1, 'least-references');
  assert.equal(least, used[1].path);
  sockref.cleanup(least);
  assert.equal(pathsOf(pool, 6).includes(least), false);
  assert.equal(pathsOf(pool, 6, 'least-references').includes(least), false);
  pool.close();
  assert.deepEqual([used[0].isActive, used[0].referenceCount], [true, 1], 'what was picked stays');
  for (const reference of used) reference.close();
});

scenario('G43 every active member has as many references as it may', async ({ file }) => {
  const registry = new Registry({ maxReferences: 2 });
  const pool = await SocketPool.start(file(), 2, { registry });
  const picked = [pool.pick(), pool.pick()];
  assert.throws(() => pool.pick(), { code: 'ESOCKREF_LIMIT' });
  picked.pop().close();
  picked.push(pool.pick());
  for (const reference of picked) reference.close();
  pool.close();
  registry.close();
});

scenario('G42 G43 clients are shared out among the members', async ({ file }) => {
  const pool = await SocketPool.start(file(), 3);
  for (let i = 0; i < pool.size; i++) {
    const reference = pool.pick();
    const name = path.basename(reference.path);
    reference.serve({ data: (connection) => connection.end(name) });
    reference.close(); // the pool's own keeps it served
  }
  const answers = await within(Promise.all(Array.from({ length: 6 }, async () => {
    const reference = pool.pick('least-references');
    const answer = await exchange(reference.path, 'who?');
    reference.close();
    return answer.toString();
  })), 'answers');
  assert.deepEqual(answers.sort(), ['a.sock.0', 'a.sock.0', 'a.sock.1', 'a.sock.1', 'a.sock.2', 'a.sock.2']);
  pool.close();
});

scenario('G42 wrong arguments', async ({ file }) => {
  const pool = new SocketPool();
  for (const wrong of [null, undefined, {}, 'x', new Registry(), Object.create(SocketReference.prototype)]) {
    for (const method of ['add', 'remove']) {
      assert.throws(() => pool[method](wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    }
    for (const method of ['add', 'remove', 'pick', 'close']) {
      assert.throws(() => SocketPool.prototype[method].call(wrong), { name: 'TypeError', code: 'ERR_INVALID_THIS' });
    }
  }
  for (const [policy, code] of [['random', 'ERR_INVALID_ARG_VALUE'], ['toString', 'ERR_INVALID_ARG_VALUE'],
    [1, 'ERR_INVALID_ARG_TYPE'], [null, 'ERR_INVALID_ARG_TYPE']]) {
    assert.throws(() => pool.pick(policy), { name: 'TypeError', code });
  }
  const refused = [
    [[null, 1], 'ERR_INVALID_ARG_TYPE'], [[1, 1], 'ERR_INVALID_ARG_TYPE'],
    [[file()], 'ERR_INVALID_ARG_TYPE'], [[file(), '2'], 'ERR_INVALID_ARG_TYPE'],
    [[file(), 0], 'ERR_OUT_OF_RANGE'], [[file(), 1025], 'ERR_OUT_OF_RANGE'], [[file(), 1.5], 'ERR_OUT_OF_RANGE'],
    [[file(), 1, null], 'ERR_INVALID_ARG_TYPE'], [[file(), 1, 'x'], 'ERR_INVALID_ARG_TYPE'],
    [[file(), 1, { nonsense: 1 }], 'ERR_INVALID_ARG_VALUE'], [[file(), 1, { signal: {} }], 'ERR_INVALID_ARG_TYPE'],
    [[file(), 1, { registry: {} }], 'ERR_INVALID_ARG_TYPE'], [[file(), 1, { mode: 'x' }], 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [args, code] of refused) await assert.rejects(SocketPool.start(...args), { code });
  assert.deepEqual(fs.readdirSync(path.dirname(file())), []);
  const reference = startListenerSync(file());
  pool.close();
  for (const call of [() => pool.add(reference), () => pool.remove(reference), () => pool.pick()]) {
    assert.throws(call, (error) => error instanceof SockrefError && error.code === 'ESOCKREF_CLOSED');
  }
  reference.close();
  const registry = new Registry();
  registry.close();
  await assert.rejects(SocketPool.start(file(), 2, { registry }), { code: 'ESOCKREF_CLOSED' });
});

scenario('G42 a pool is not sent to another thread', async () => {
  const pool = new SocketPool();
  let copy;
  try {
    copy = structuredClone(pool);
  } catch (error) {
    assert.equal(error.name, 'DataCloneError');
  }
  assert.equal(copy instanceof SocketPool, false);
  pool.close();
});

scenario('G42 a pool that is dropped gives its members back', async ({ directory, file }) => {
  await (async () => { await SocketPool.start(file(), 3); })();
  assert.equal(sockets(directory).length, 3);
  await collect(() => sockets(directory).length === 0);
});

scenario('G42 a pool keeps the registries of its members, and so does what was picked', async ({ file }) => {
  const collected = new Set();
  const watch = new FinalizationRegistry((name) => collected.add(name));
  const make = (name) => {
    const registry = new Registry();
    watch.register(registry, name);
    return registry;
  };
  const pool = new SocketPool();
  let picked;
  (() => {
    for (const name of ['a', 'b']) {
      const reference = make(name).startListenerSync(file(name), { cleanupDelayMs: 200 });
      pool.add(reference);
      reference.close();
    }
    make('nobody holds it');
  })();
  await collect(() => collected.has('nobody holds it'));
  assert.equal(collected.size, 1);
  (() => { picked = pool.pick(); })();
  const left = path.basename(picked.path) === 'a' ? 'b' : 'a';
  pool.close();
  await collect(() => collected.has(left));
  for (let i = 0; i < 10; i++) { // what is collected is freed a little later
    gc();
    await turn();
  }
  assert.equal(picked.isActive, true);
  picked.close();
  assert.equal(isSocket(picked.path), true, 'a registry that was freed has no delay');
  await until(() => !isSocket(picked.path));
});

scenario('G42 a pool that cannot have all its members has none', async ({ directory, file }) => {
  const registry = new Registry({ maxReferences: 2 });
  const held = registry.startListenerSync(file('a.sock.1')); // start() is given the other one
  await assert.rejects(SocketPool.start(file(), 2, { registry }), { code: 'ESOCKREF_LIMIT' });
  assert.equal(held.referenceCount, 1);
  assert.deepEqual(sockets(directory), ['a.sock.1']);
  held.close();
  registry.close();
});

scenario('G42 pools of worker threads', async ({ directory, file }) => {
  const worker = new Worker(program('pool-worker.js'), { workerData: { place: file() } });
  const ended = once(worker, 'exit');
  const [picked] = await within(once(worker, 'message'), 'a pick');
  assert.equal(path.dirname(picked), directory);
  const pool = await SocketPool.start(file(), 3);
  const reference = SocketReference.getExisting(picked);
  assert.equal(reference.referenceCount, 4); // two pools, what the worker has picked, and this
  worker.postMessage('end');
  await within(ended, 'exit');
  assert.equal(reference.referenceCount, 2);
  reference.close();
  pool.close();
  await until(() => sockets(directory).length === 0);
});
