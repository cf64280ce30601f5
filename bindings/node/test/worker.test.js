'use strict';

const { assert, sockref, scenario, collect, until, isSocket, canConnect, program } = require('./harness.js');
const { Worker } = require('node:worker_threads');
const { startListener } = sockref;

function start(name, data) {
  const worker = new Worker(program(name), { workerData: data });
  const ended = new Promise((resolve, reject) => {
    worker.once('error', reject);
    worker.once('exit', resolve);
  });
  return { worker, ended };
}

scenario('L41 many threads clone, query and close one name', async ({ file }) => {
  const held = await startListener(file());
  const workers = Array.from({ length: 4 }, () => start('clone-worker.js', { place: file(), rounds: 3000 }));
  let alive = workers.length;
  for (const { ended } of workers) ended.then(() => alive--);
  await until(() => {
    assert.equal(isSocket(file()), true);
    assert.equal(held.isActive, true);
    assert.equal(held.referenceCount >= 1, true);
    return alive === 0;
  }, 'workers end', 60000);
  for (const { ended } of workers) assert.equal(await ended, 0);
  assert.equal(held.referenceCount, 1);
  assert.equal(await canConnect(file()), true);
  held.close();
});

scenario('all threads have one registry, and each its own handles', async ({ file }) => {
  const { worker, ended } = start('hold-worker.js', { place: file() });
  await new Promise((resolve) => worker.once('message', resolve));
  assert.equal(sockref.isSocketActive(file()), true);
  const reference = await startListener(file());
  assert.equal(reference.referenceCount, 2);
  worker.postMessage('end');
  assert.equal(await ended, 0);
  assert.equal(reference.referenceCount, 1);
  assert.equal(isSocket(file()), true);
  reference.close();
});

scenario('a name served by a worker is served anew when that has ended', async ({ file }) => {
  const { worker, ended } = start('hold-worker.js', { place: file(), serve: true });
  await new Promise((resolve) => worker.once('message', resolve));
  const reference = await startListener(file());
  assert.throws(() => reference.serve({}), { code: 'ESOCKREF_BUSY' });
  await worker.terminate();
  await ended;
  reference.serve({ data: (connection, data) => connection.end(data) });
  const { exchange } = require('./harness.js');
  assert.deepEqual(await exchange(file(), 'again'), Buffer.from('again'));
  reference.close();
});

scenario('200 workers, 3 at a time, ended at any moment', async ({ file }) => {
  const held = await startListener(file('shared.sock'));
  const before = sockref.liveCounts();
  let next = 0;
  const codes = new Map();
  async function lane() {
    while (next < 200) {
      const number = next++;
      const { worker, ended } = start('busy-worker.js', { place: file('shared.sock'), own: file(`${number}.sock`), number });
      if (number % 4 !== 0) {
        // After a number of messages that differs: in the midst of starts, holding, dispatch or close.
        let left = (number * 7) % 23;
        if (left === 0) worker.terminate();
        worker.on('message', () => {
          if (--left === 0) worker.terminate();
        });
      }
      const code = await ended;
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
  }
  await Promise.all([lane(), lane(), lane()]);
  assert.equal([...codes.values()].reduce((a, b) => a + b), 200);
  assert.equal([...codes.keys()].every((code) => code === 0 || code === 1 || code === 7), true, JSON.stringify([...codes]));
  await collect(() => JSON.stringify(sockref.liveCounts()) === JSON.stringify(before));
  assert.equal(held.referenceCount, 1);
  assert.equal(sockref.activeSocketCount(), 1);
  held.close();
}, { timeout: 240000 });
