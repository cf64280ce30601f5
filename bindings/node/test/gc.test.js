'use strict';

const { assert, sockref, isSocket, scenario, collect, gc, turn, exchange, until } = require('./harness.js');
const { Registry, startListener, startListenerSync } = sockref;

scenario('L09 a handle is dropped without close', async ({ file }) => {
  await (async () => { await startListener(file()); })();
  assert.equal(sockref.activeSocketCount(), 1);
  await collect(() => !isSocket(file()));
  assert.equal(sockref.isSocketActive(file()), false);
});

scenario('L10 close, then the finalizer', async ({ file }) => {
  const kept = await startListener(file());
  (() => {
    for (let i = 0; i < 100; i++) kept.clone().close();
  })();
  for (let i = 0; i < 20; i++) {
    gc();
    await turn();
  }
  assert.equal(kept.referenceCount, 1);
  assert.equal(kept.isActive, true);
  kept.close();
});

scenario('dropped registries and their pending starts', async ({ file }) => {
  const outcomes = [];
  (() => {
    for (let i = 0; i < 10; i++) {
      new Registry().startListener(file(`${i}.sock`)).then((reference) => {
        outcomes.push(reference.path);
      }, (error) => outcomes.push(error.code));
    }
  })();
  await collect(() => outcomes.length === 10);
  await collect(() => sockref.liveCounts().references === 0);
});

scenario('a reference that serves in JavaScript, or has ref(), is not collected', async ({ file }) => {
  await (async () => {
    (await startListener(file('served'))).serve({ data: (connection, data) => connection.write(data) });
    (await startListener(file('held'))).ref();
    (await startListener(file('echo'))).serveEcho();
  })();
  await collect(() => !isSocket(file('echo')));
  for (let i = 0; i < 10; i++) {
    gc();
    await turn();
  }
  assert.deepEqual(await exchange(file('served'), 'x'), Buffer.from('x'));
  assert.equal(isSocket(file('held')), true);
  sockref.cleanup(file('served'));
  const held = sockref.SocketReference.getExisting(file('held'));
  assert.equal(held.referenceCount, 2);
  held.close();
  sockref.cleanup(file('held'));
  await collect(() => sockref.liveCounts().references === 1); // ref() is for ever where nobody can unref()
  const { held: last } = require('./harness.js').inside('reference.js');
  for (const reference of last) reference.close();
});

scenario('free-running collection', async ({ file }) => {
  await (async () => { // a function that waits may keep what it has used last
    const end = Date.now() + 1500;
    let made = 0;
    const kept = [];
    while (Date.now() < end) {
      const reference = made % 2 ? await startListener(file(`${made % 5}`)) : startListenerSync(file(`${made % 5}`));
      const clone = reference.clone();
      if (made % 3 === 0) reference.close();
      if (made % 7 === 0) kept.push(clone);
      if (kept.length > 20) kept.shift();
      if (made % 50 === 0) gc();
      assert.equal(clone.isActive, true);
      made++;
    }
  })();
  await collect(() => sockref.liveCounts().references === 0);
  await until(() => sockref.activeSocketCount() === 0);
});
