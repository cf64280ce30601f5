'use strict';

// The scenarios of connections, by their numbers in tests/lifecycle.md.

const { assert, sockref, sockrefNet: net, nodeNet, scenario, once, within, closed, received, until, nowAndThen, isSocket,
  trace } = require('./harness.js');
const crypto = require('node:crypto');

/** Listens, and resolves to the server. */
async function serve(place, listener, options = {}) {
  const server = net.createServer(options, listener).listen(place);
  await within(once(server, 'listening'), 'listening');
  return server;
}

const end = (server) => within(new Promise((resolve) => { server.close(resolve); }), 'close');

async function dial(place, by = net, options = {}) {
  const socket = by.connect({ ...(typeof place === 'string' ? { path: place } : place), ...options });
  await within(once(socket, 'connect'), 'connect');
  return socket;
}

/** A server's socket and its client. */
async function pair(server, place, options) {
  const accepted = within(once(server, 'connection'), 'connection');
  const client = await dial(place, net, options);
  return [(await accepted)[0], client];
}

const every = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

scenario('L57 our server with their client, their server with ours', async ({ file }) => {
  for (const [theirs, ours] of [[net, nodeNet], [nodeNet, net]]) {
    const server = theirs.createServer((socket) => socket.pipe(socket)).listen(file());
    await within(once(server, 'listening'), 'listening');
    const socket = new ours.Socket();
    const events = trace(socket, ['connect', 'end', 'close']);
    const answer = received(socket.connect(file()));
    socket.end(every);
    assert.deepEqual(await answer, every);
    await closed(socket);
    assert.deepEqual(events, ['connect', 'end', 'close']);
    await end(server);
  }
});

/** One try to listen; gives what it fails with, or undefined. */
function listen(server, place) {
  return within(new Promise((resolve) => {
    const tell = (error) => {
      server.off('error', tell).off('listening', tell);
      resolve(error);
    };
    server.on('error', tell).on('listening', tell).listen(place);
  }), 'listen');
}

scenario('a fresh dead socket of another program is not waited for, an old one is replaced', async ({ t, file }) => {
  const dead = nodeNet.createServer().listen(file('dead'));
  await within(once(dead, 'listening'), 'listening');
  require('node:fs').linkSync(file('dead'), file('left'));
  await end(dead);
  const server = net.createServer();
  t.after(() => server.close());
  assert.equal((await listen(server, file('left')))?.code, 'EADDRINUSE');
  await until(async () => !(await listen(server, file('left'))), 'the socket is old enough');
  await end(server);
  assert.equal(isSocket(file('left')), false);
});

scenario('L58 nothing there, a dead socket, a port where nobody listens', async ({ file }) => {
  const dead = nodeNet.createServer().listen(file('dead'));
  await within(once(dead, 'listening'), 'listening');
  require('node:fs').linkSync(file('dead'), file('left'));
  await end(dead);
  const free = nodeNet.createServer().listen(0, '127.0.0.1');
  await within(once(free, 'listening'), 'listening');
  const { port } = free.address();
  await end(free);
  for (const [place, code, address] of [[{ path: file('none') }, 'ENOENT', file('none')],
    [{ path: file('left') }, 'ECONNREFUSED', file('left')], [{ port, host: '127.0.0.1' }, 'ECONNREFUSED', '127.0.0.1']]) {
    const socket = net.connect(place);
    const events = trace(socket, ['error', 'close'], (name, value) => value.code ?? value);
    const [error] = await within(new Promise((resolve) => { socket.once('error', (told) => resolve([told])); }), code);
    await closed(socket);
    assert.deepEqual(events, [`error ${code}`, 'close true']);
    assert.deepEqual([error.address, error.port], [address, place.port]);
  }
  require('node:fs').unlinkSync(file('left'));
});

scenario('L59 a peer that reads slowly', async ({ file }) => {
  const server = await serve(file());
  const [socket, client] = await pair(server, file());
  const parts = [];
  let drains = 0;
  client.on('drain', () => drains++);
  while (client.write(crypto.randomBytes(8192))) parts.push(0);
  assert.equal(client.writableLength < 2 * client.writableHighWaterMark + 8192, true, 'what is kept is bounded');
  const total = (parts.length + 1) * 8192;
  let got = 0;
  socket.on('data', (part) => { got += part.length; });
  await until(() => got === total && drains === 1);
  client.destroy();
  await closed(socket);
  await end(server);
});

scenario('L60 half-close', async ({ file }) => {
  const server = await serve(file(), (socket) => {
    socket.resume().on('end', () => setImmediate(() => socket.write('after ', () => socket.end('the end'))));
  }, { allowHalfOpen: true });
  const socket = await dial(file());
  const answer = received(socket);
  socket.end('x');
  assert.equal(String(await answer), 'after the end');
  await closed(socket);
  await end(server);
});

scenario('L61 pause and resume', async ({ file }) => {
  const server = await serve(file());
  const [socket, client] = await pair(server, file());
  const bytes = crypto.randomBytes(4 * 1024 * 1024);
  socket.pause();
  client.end(bytes);
  await until(() => socket.readableLength > 0);
  await until(() => client.bytesWritten === bytes.length && client.writableLength > 0);
  assert.equal(client.writableFinished, false, 'the full socket stops the peer');
  assert.equal(socket.bytesRead < bytes.length / 4, true);
  const answer = received(socket);
  socket.resume();
  assert.equal((await answer).equals(bytes), true);
  await closed(socket);
  await end(server);
});

scenario('L62 inactivity', async ({ file }) => {
  const server = await serve(file());
  const [socket, client] = await pair(server, file());
  let count = 0;
  socket.resume().setTimeout(300, () => count++);
  const longest = await nowAndThen(() => client.write('x'), 12, 50);
  if (longest < 150) assert.equal(count, 0);
  await until(() => count > 0);
  client.write('on');
  await within(once(socket, 'data'), 'data');
  client.destroy();
  await closed(socket);
  await end(server);
});

scenario('L63 abort with bytes queued, and a reset', async ({ file }) => {
  const server = await serve(file());
  const [socket, client] = await pair(server, file());
  client.write(Buffer.alloc(4 * 1024 * 1024));
  client.destroy();
  let closes = 0;
  client.on('close', () => closes++);
  await closed(socket.resume());
  await closed(client);
  assert.equal(closes, 1);
  const tcp = await serve({ port: 0, host: '127.0.0.1' });
  const [own, peer] = await pair(tcp, { port: tcp.address().port, host: '127.0.0.1' });
  const told = within(new Promise((resolve) => { peer.once('error', resolve); }), 'error');
  own.resetAndDestroy();
  assert.equal((await told).code, 'ECONNRESET');
  await Promise.all([closed(own), closed(peer)]);
  await end(tcp);
  await end(server);
});

scenario('L64 tcp:127.0.0.1:0', async () => {
  const reference = sockref.startListenerSync('tcp:127.0.0.1:0');
  const port = Number(/^tcp:127\.0\.0\.1:(\d+)$/.exec(reference.path)[1]);
  const second = sockref.startListenerSync(reference.path);
  assert.equal(reference.referenceCount, 2);
  const server = net.createServer((socket) => socket.end('answer')).listen(reference);
  await within(once(server, 'listening'), 'listening');
  assert.equal(server.address().port, port);
  assert.equal(String(await received(nodeNet.connect(port, '127.0.0.1'))), 'answer');
  await end(server);
  assert.equal(reference.isActive, true, "the reference is the caller's");
  second.close();
  reference.close();
  const late = nodeNet.connect(port, '127.0.0.1');
  const error = await within(new Promise((resolve) => { late.once('error', resolve); }), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
});

scenario('L65 counters and addresses', async () => {
  const server = await serve({ port: 0, host: '127.0.0.1' });
  const [socket, client] = await pair(server, { port: server.address().port, host: '127.0.0.1' });
  client.write(every);
  socket.write('abc');
  await until(() => socket.bytesRead === 256 && client.bytesRead === 3);
  assert.deepEqual([client.bytesWritten, socket.bytesWritten], [256, 3]);
  assert.deepEqual([client.localAddress, client.localPort], [socket.remoteAddress, socket.remotePort]);
  assert.deepEqual([client.remoteAddress, client.remotePort], [socket.localAddress, socket.localPort]);
  client.destroy();
  await closed(socket.resume());
  await end(server);
});

scenario('L66 the limit, and the graceful end', async ({ file }) => {
  const server = await serve(file());
  server.maxConnections = 1;
  const [socket, client] = await pair(server, file());
  const dropped = within(once(server, 'drop'), 'drop');
  const second = net.connect(file());
  await dropped;
  await closed(second.resume());
  let isOver = false;
  server.close(() => { isOver = true; });
  assert.equal(isSocket(file()), false, 'the file goes at once');
  socket.write('still open');
  assert.equal(String((await within(once(client, 'data'), 'data'))[0]), 'still open');
  assert.equal(isOver, false);
  client.end();
  await until(() => isOver);
});

scenario('L68 a name that is only bound', async ({ file }) => {
  const reference = sockref.startListenerSync('tcp:127.0.0.1:0', { bindOnly: true });
  const port = Number(reference.path.split(':').at(-1));
  const early = nodeNet.connect(port, '127.0.0.1');
  const error = await within(new Promise((resolve) => { early.once('error', resolve); }), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  const server = await serve(reference, (socket) => socket.end('answer'));
  assert.equal(String(await received(nodeNet.connect(port, '127.0.0.1'))), 'answer');
  await end(server);
  reference.close();

  const own = file('own'), other = await serve(file());
  const [, client] = await pair(other, file(), { handle: new net.BoundSocket({ path: own }) });
  assert.equal(client.localAddress, own);
  assert.equal(isSocket(own), true);
  client.destroy();
  await within(once(client, 'close'), 'close');
  assert.equal(isSocket(own), false);
  await end(other);
});
