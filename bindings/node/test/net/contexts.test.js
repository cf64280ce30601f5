'use strict';

// The async context in which the callbacks of a socket come: that of who asked for them.

const { assert, both, closed, once, within } = require('./harness.js');
const { AsyncLocalStorage } = require('node:async_hooks');

const storage = new AsyncLocalStorage();

// The first of this file: nothing has needed the loop before.
both('what comes of an accepted socket is in no context, whatever there was where it listens or is accepted', async ({ serve, dial }) => {
  const seen = [];
  const server = await storage.run('listen', () => serve({}, (socket) => {
    storage.enterWith('accepted');
    socket.on('data', () => seen.push(storage.getStore())).on('end', () => seen.push(storage.getStore()));
    socket.on('close', () => seen.push(storage.getStore()));
  }));
  for (let i = 0; i < 2; i++) {
    const client = await dial(server);
    client.resume().end('x');
    await closed(client);
  }
  const over = within(once(server, 'close'), 'close');
  server.close();
  await over;
  assert.deepEqual(seen, Array(6).fill(undefined));
});

both('the callback of a write that has to wait', async ({ pair }) => {
  const [, socket, client] = await storage.run('pair', () => pair());
  const written = new Promise((resolve) => {
    storage.run('writer', () => client.write(Buffer.alloc(2 ** 23), () => resolve(storage.getStore())));
  });
  socket.resume();
  assert.equal(await within(written, 'the callback'), 'writer');
});

both('the time-out', async ({ pair }) => {
  const [, , client] = await storage.run('pair', () => pair());
  const told = new Promise((resolve) => {
    storage.run('patient', () => client.setTimeout(20, () => resolve(storage.getStore())));
  });
  assert.equal(await within(told, 'timeout'), 'patient');
});
