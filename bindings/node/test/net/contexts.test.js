'use strict';

// The async context in which the callbacks of a socket come: that of who asked for them.

const { assert, both, within } = require('./harness.js');
const { AsyncLocalStorage } = require('node:async_hooks');

const storage = new AsyncLocalStorage();

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
