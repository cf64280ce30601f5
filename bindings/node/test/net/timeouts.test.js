'use strict';

// Inactivity: J8, D44.

const { assert, both, once, within, closed, until, nowAndThen } = require('./harness.js');

const sleep = (time) => new Promise((resolve) => { setTimeout(resolve, time); });

both('J8 it is told after silence, once, and the socket goes on', async ({ pair }) => {
  const [, socket, client] = await pair();
  let count = 0;
  assert.equal(socket.setTimeout(30), socket);
  socket.on('timeout', () => count++);
  assert.equal(socket.timeout, 30);
  await within(once(socket, 'timeout'), 'timeout');
  assert.equal(count, 1);
  await sleep(100);
  assert.equal(count, 1);
  client.write('x');
  assert.equal(String((await within(once(socket, 'data'), 'data'))[0]), 'x');
});

both('D44 traffic begins it anew, and it comes again after more silence', async ({ pair }) => {
  const [, socket, client] = await pair();
  let count = 0;
  socket.resume().setTimeout(400).on('timeout', () => count++);
  const longest = await nowAndThen(() => client.write('x'), 8, 75);
  if (longest < 200) assert.equal(count, 0, 'not while bytes came for longer than it');
  await until(() => count > 0);
  const told = count;
  client.write('x');
  await until(() => count > told);
});

both('our writes are traffic', async ({ pair }) => {
  const [, socket, client] = await pair();
  let count = 0;
  client.resume();
  socket.setTimeout(400).on('timeout', () => count++);
  const longest = await nowAndThen(() => socket.write('x'), 8, 75);
  if (longest < 200) assert.equal(count, 0);
});

both('0 ends it and takes the listener away', async ({ pair }) => {
  const [, socket] = await pair();
  let count = 0;
  const listener = () => count++;
  socket.setTimeout(20, listener);
  socket.setTimeout(0, listener);
  assert.equal(socket.listenerCount('timeout'), 0);
  await sleep(60);
  assert.equal(count, 0);
});

both('the option of connect', async ({ serve, dial }) => {
  const server = await serve();
  const socket = await dial(server, { timeout: 20 });
  assert.equal(socket.timeout, 20);
  await within(once(socket, 'timeout'), 'timeout');
});

both('while a host is looked up', async ({ net }) => {
  const socket = net.connect({ host: 'a.example', port: 1, timeout: 20, lookup: () => {} });
  await within(once(socket, 'timeout'), 'timeout');
  assert.equal(socket.connecting, true);
  socket.destroy();
  await closed(socket);
});

both('the usual use: destroy at the time-out', async ({ pair }) => {
  const [, socket, client] = await pair();
  socket.setTimeout(20).on('timeout', () => socket.destroy());
  await closed(client.resume());
});
