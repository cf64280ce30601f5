'use strict';

// What references emit: lost, owner, displaced, shutdown.

const { assert, sockref, scenario, isSocket, within, until, collect, turn, run, program } = require('./harness.js');
const { Holder } = require('./holder.js');
const { AsyncLocalStorage } = require('node:async_hooks');
const { once } = require('node:events');
const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const { SocketReference, Registry, startListener } = sockref;

const hears = (reference, event) => within(once(reference, event), event);

/** Notes every event of a reference. */
function note(reference) {
  const told = [];
  for (const event of ['lost', 'owner', 'displaced', 'shutdown']) reference.on(event, () => told.push(event));
  return told;
}

scenario('a cleanup tells every reference that it is lost', async ({ file }) => {
  const first = await startListener(file());
  const second = first.clone();
  const named = SocketReference.getOrCreate(file('other'));
  const told = [note(first), note(second), note(named)];
  let seen;
  first.on('lost', function () { seen = [this, first.isActive, first.referenceCount]; });
  const lost = hears(second, 'lost');
  sockref.cleanup(file());
  assert.deepEqual(told, [[], [], []], 'never from inside a call');
  await lost;
  await until(() => told[0].length > 0);
  assert.deepEqual(told, [['lost'], ['lost'], []]);
  assert.deepEqual(seen, [first, false, 2]);
  const last = hears(named, 'lost');
  assert.equal(sockref.cleanupAll(), 1);
  await last;
  assert.deepEqual(told, [['lost'], ['lost'], ['lost']]);
  for (const reference of [first, second, named]) reference.close();
});

scenario('who begins to listen after the loss hears of it once', async ({ file }) => {
  const watched = await startListener(file());
  const unwatched = watched.clone();
  const lost = hears(watched, 'lost');
  sockref.cleanup(file());
  await lost;
  for (const reference of [watched, unwatched]) {
    const told = note(reference);
    assert.deepEqual(told, []);
    await hears(reference, 'lost');
    assert.deepEqual(told, ['lost']);
    reference.on('lost', () => told.push('removed')).removeAllListeners();
    await turn();
    assert.deepEqual(told, ['lost']);
    reference.on('lost', () => told.push('closed'));
    reference.close();
    await turn();
    assert.deepEqual(told, ['lost']);
  }
});

scenario('a holder hears that it owns the name, and that another one does', async ({ file }) => {
  const registries = [new Registry(), new Registry(), new Registry()];
  const [first, second, third] = await Promise.all(registries.map((registry) => registry.startListener(file())))
    .then((all) => all.sort((a, b) => b.isOwner - a.isOwner));
  const heard = [hears(second, 'owner'), hears(third, 'owner')];
  first.close();
  await Promise.all(heard);
  assert.deepEqual([second.isOwner, third.isOwner].sort(), [false, true]);
  assert.deepEqual([second.holderCount, third.holderCount], [2, 2]);
  second.close();
  third.close();
  for (const registry of registries) registry.close();
  assert.equal(isSocket(file()), false);
});

scenario('without handover a holder hears of the loss', async ({ file }) => {
  const [one, two] = [new Registry({ handover: false }), new Registry()];
  const first = await one.startListener(file());
  const second = await two.startListener(file());
  const lost = hears(second, 'lost');
  first.close();
  await lost;
  assert.equal(second.isActive, false);
  second.close();
  one.close();
  two.close();
});

scenario('an owner hears that its file is gone', async ({ file }) => {
  const reference = await startListener(file());
  const told = note(reference);
  const displaced = hears(reference, 'displaced');
  fs.unlinkSync(file());
  await displaced; // the library looks every few seconds
  assert.deepEqual(told, ['displaced']);
  assert.deepEqual([reference.isActive, reference.isOwner], [true, true]);
  sockref.cleanup(file());
  const again = await startListener(file());
  assert.equal(again.isOwner, true);
  assert.equal(isSocket(file()), true);
  reference.close();
  assert.equal(isSocket(file()), true);
  again.close();
});

scenario('a shutdown asks to release', async ({ file }) => {
  const registry = new Registry();
  const reference = await registry.startListener(file());
  const told = note(reference);
  reference.on('shutdown', () => {
    assert.equal(reference.isActive, true);
    reference.close();
  });
  await registry.shutdown(100_000); // it waits for that
  assert.deepEqual(told, ['shutdown']);
  registry.close();
});

scenario('nothing is told after close()', async ({ file }) => {
  const kept = await startListener(file());
  const closed = kept.clone();
  const told = note(closed);
  const lost = hears(kept, 'lost');
  sockref.cleanup(file()); // the event is on its way
  closed.close();
  await lost;
  await turn();
  assert.deepEqual(told, []);
  assert.throws(() => closed.on('lost', () => {}), { code: 'ESOCKREF_CLOSED' });
  assert.equal(closed.on('of the program', () => {}), closed);
  kept.close();
});

scenario('a new life of a name tells those of the old one nothing', async ({ file }) => {
  const old = await startListener(file());
  const told = note(old);
  sockref.cleanup(file());
  await until(() => told.length > 0);
  const fresh = await startListener(file());
  const lost = hears(fresh, 'lost');
  sockref.cleanup(file());
  await lost;
  await turn();
  assert.deepEqual(told, ['lost']);
  old.close();
  fresh.close();
});

scenario('listeners do not keep a reference from being collected', async ({ file }) => {
  await (async () => {
    const reference = await startListener(file());
    reference.on('lost', () => reference.close());
  })();
  await collect(() => !isSocket(file()));
});

scenario('listeners keep their asynchronous context', async ({ file }) => {
  const storage = new AsyncLocalStorage();
  const reference = await startListener(file());
  let seen;
  storage.run('of the listener', () => reference.on('lost', () => { seen = storage.getStore(); }));
  sockref.cleanup(file());
  await until(() => seen !== undefined);
  assert.equal(seen, 'of the listener');
  reference.close();
});

scenario('a listener that throws makes an uncaughtException, and the next event comes', async ({ file }) => {
  const ended = await run(['-e', `
    const sockref = require(process.env.SOCKREF_PACKAGE);
    const told = [];
    process.on('uncaughtException', ({ message }) => told.push(message));
    process.on('exit', () => console.log(JSON.stringify(told)));
    (async () => {
      const references = await Promise.all(['a', 'b'].map((leaf) => sockref.startListener(process.argv[1] + leaf)));
      references[0].ref().on('lost', () => { throw new Error('first'); });
      references[1].ref().on('lost', () => {
        references.forEach((reference) => reference.close());
        throw new Error('second');
      });
      sockref.cleanup(references[0].path);
      sockref.cleanup(references[1].path);
    })();
  `, file()]);
  assert.deepEqual([ended.err, ended.code, ended.out], ['', 0, '["first","second"]\n']);
});

scenario('threads are told each on its own, and may end at any moment', async ({ file }) => {
  const reference = await startListener(file());
  const told = note(reference);
  const [hearing, ended] = [0, 1].map(() => new Worker(program('hear-worker.js'), { workerData: file() }));
  const next = (worker) => within(once(worker, 'message'), 'a message of a worker').then(([message]) => message);
  assert.deepEqual(await Promise.all([next(hearing), next(ended)]), ['holding', 'holding']);
  await ended.terminate();
  const heard = next(hearing);
  sockref.cleanup(file());
  assert.equal(await heard, 'lost');
  await until(() => told.length > 0);
  assert.deepEqual(told, ['lost']);
  await hearing.terminate();
  reference.close();
});

scenario('a served name is served anew by who is handed it', async ({ file }) => {
  const holder = new Holder();
  await holder.start(file());
  const reference = await startListener(file());
  reference.on('owner', () => reference.serve({ data: (connection, data) => connection.write(data) }));
  const answer = new Holder().ask('dial', file(), 'queued before'); // nobody serves it yet
  await holder.ask('close');
  assert.equal(await answer, 'queued before');
  reference.close();
});
