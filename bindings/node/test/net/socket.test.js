'use strict';

// One socket: its properties, methods and events, as documented.

const { assert, both, once, within, closed, received, trace, tcp, until } = require('./harness.js');
const path = require('node:path');
const { Duplex } = require('node:stream');

const majorOf = ({ versions }) => Number.parseInt(versions.node, 10);

const lifeEvents = ['connectionAttempt', 'connectionAttemptFailed', 'connect', 'ready', 'data', 'end', 'drain', 'timeout',
  'error', 'close'];

both('J14 connect, ready, data, end and close come in this order, close last and once', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.end('hello'));
  const socket = new net.Socket();
  const events = trace(socket, lifeEvents, (name, value) => (name === 'data' || name === 'close' ? value : ''));
  socket.connect(placeOf(server));
  await closed(socket);
  assert.deepEqual(events, ['connectionAttempt', 'connect', 'ready', 'data hello', 'end', 'close false']);
});

both('J14 a refused connect: the error, then close', async ({ net, file }) => {
  const socket = new net.Socket();
  const events = trace(socket, lifeEvents, (name, value) => (name === 'error' ? value.code : name === 'close' ? value : ''));
  socket.connect(file('nothing'));
  await closed(socket);
  assert.deepEqual(events, ['connectionAttempt', 'connectionAttemptFailed', 'error ENOENT', 'close true']);
});

both('nothing but close comes after destroy', async ({ pair }) => {
  const [, socket, client] = await pair();
  client.write('much'.repeat(1000));
  await within(once(socket, 'readable'), 'readable');
  const events = trace(socket, lifeEvents.filter((name) => name !== 'data')); // which would have it read
  socket.destroy();
  socket.destroy();
  await closed(socket);
  assert.deepEqual(events, ['close']);
  assert.equal(socket.destroyed, true);
});

both('who asks for data before there is any is told, paused or not', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.write('hello'));
  const asks = {
    'as soon as it is connected': (socket) => socket.once('connect', () => { socket.on('readable', () => {}).read(); }),
    'before connect() is called': (socket) => { socket.on('readable', () => {}).read(); },
    'while it is connecting': (socket) => { process.nextTick(() => socket.on('readable', () => {}).read()); },
  };
  for (const [when, ask] of Object.entries(asks)) {
    const socket = new net.Socket();
    const told = once(socket, 'readable');
    ask(socket);
    socket.connect(placeOf(server));
    await within(told, when);
    assert.equal(String(socket.read()), 'hello', when);
    socket.destroy();
  }
});

both('destroy(error) tells the error and close(true)', async ({ pair }) => {
  const [, socket] = await pair();
  const error = new Error('mine');
  const events = trace(socket, ['error', 'close'], (name, given) => (given === error ? 'mine' : given));
  assert.equal(socket.destroy(error), socket);
  await closed(socket);
  assert.deepEqual(events, ['error mine', 'close true']);
});

both('J1 addresses and ports of both ends, over TCP', async ({ pair }) => {
  const [server, socket, client] = await pair({}, { place: tcp });
  const { port } = server.address();
  assert.deepEqual(client.address(), { address: '127.0.0.1', family: 'IPv4', port: client.localPort });
  assert.deepEqual([client.localAddress, client.localFamily], ['127.0.0.1', 'IPv4']);
  assert.deepEqual([client.remoteAddress, client.remoteFamily, client.remotePort], ['127.0.0.1', 'IPv4', port]);
  assert.deepEqual([socket.localAddress, socket.localFamily, socket.localPort], ['127.0.0.1', 'IPv4', port]);
  assert.deepEqual([socket.remoteAddress, socket.remoteFamily, socket.remotePort],
    ['127.0.0.1', 'IPv4', client.localPort]);
  client.destroy();
  assert.deepEqual([client.localAddress, client.localPort, client.localFamily], [undefined, undefined, undefined]);
  assert.equal(client.remotePort, port, 'what was asked for once stays');
});

both('a Unix socket has neither', async ({ pair }) => {
  const [, socket, client] = await pair();
  for (const one of [socket, client]) {
    assert.deepEqual(one.address(), {});
    assert.deepEqual([one.localAddress, one.localPort, one.localFamily, one.remoteAddress, one.remotePort, one.remoteFamily],
      Array(6).fill(undefined));
  }
});

both('pending, connecting and readyState through a life', async ({ net, serve, placeOf }) => {
  const server = await serve({ allowHalfOpen: true });
  const accepted = once(server, 'connection');
  const socket = new net.Socket({ allowHalfOpen: true });
  const state = () => [socket.pending, socket.connecting, socket.readyState, socket.destroyed];
  assert.deepEqual(state(), [true, false, 'open', false]);
  socket.connect(placeOf(server));
  assert.deepEqual(state(), [true, true, 'opening', false]);
  await within(once(socket, 'connect'), 'connect');
  assert.deepEqual(state(), [false, false, 'open', false]);
  const [other] = await within(accepted, 'connection');
  socket.end();
  assert.deepEqual(state(), [false, false, 'readOnly', false]);
  socket.resume();
  other.resume();
  other.end();
  await closed(socket);
  assert.deepEqual(state(), [true, false, 'closed', true]);
});

both('the peer has ended: writeOnly', async ({ pair }) => {
  const [, socket, client] = await pair({}, { clientOptions: { allowHalfOpen: true } });
  client.resume();
  socket.end();
  await within(once(client, 'end'), 'end');
  assert.equal(client.readyState, 'writeOnly');
});

both('bytesRead and bytesWritten are those that went', async ({ pair }) => {
  const [, socket, client] = await pair();
  client.write('häh'); // four bytes
  client.write(Buffer.alloc(100000));
  client.end('!');
  const bytes = await received(socket);
  assert.equal(bytes.length, 100005);
  assert.equal(client.bytesWritten, 100005);
  assert.equal(socket.bytesRead, 100005);
  assert.equal(socket.bytesWritten, 0);
  socket.end();
  await closed(client);
  assert.deepEqual([client.bytesWritten, client.bytesRead, socket.bytesRead], [100005, 0, 100005], 'also after the end');
});

both('bytesWritten counts what waits for the connection', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.resume());
  const socket = net.connect(placeOf(server));
  socket.write('abc');
  socket.write('äö');
  assert.equal(socket.bytesWritten, 7);
  socket.end();
  await closed(socket);
  assert.equal(socket.bytesWritten, 7);
});

both('D43 bytes of every value, strings of every encoding', async ({ pair }) => {
  const [, socket, client] = await pair();
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  client.write(all);
  client.write('00ff00', 'hex');
  client.write('YQ==', 'base64');
  client.write('\u00ff', 'latin1');
  client.write(new Uint8Array([0, 1]));
  client.end('ä');
  assert.deepEqual(await received(socket),
    Buffer.concat([all, Buffer.from([0, 255, 0, 0x61, 255, 0, 1]), Buffer.from('ä')]));
});

both('callbacks of write come in order, before finish', async ({ pair }) => {
  const [, socket, client] = await pair();
  const events = [];
  socket.resume();
  client.write('a', () => events.push('a'));
  client.write('b', 'utf8', () => events.push('b'));
  client.write(Buffer.alloc(3 * 1024 * 1024), (error) => events.push(`c ${error ?? 'written'}`));
  client.end('d', () => events.push('end'));
  client.on('finish', () => events.push('finish'));
  await within(once(client, 'finish'), 'finish');
  await until(() => events.length === 5);
  assert.deepEqual(events.slice(0, 3), ['a', 'b', 'c written']);
  assert.deepEqual(events.slice(3).sort(), ['end', 'finish']);
});

both('cork and uncork join writes', async ({ pair }) => {
  const [, socket, client] = await pair();
  client.cork();
  for (let i = 0; i < 100; i++) client.write(String(i % 10));
  assert.equal(client.writableLength, 100);
  client.uncork();
  client.end();
  assert.equal(String(await received(socket)), '0123456789'.repeat(10));
});

both('J32 D48 characters that are split between chunks are decoded whole', async ({ pair }) => {
  const [, socket, client] = await pair({}, { clientOptions: { noDelay: true } });
  const text = 'aä€😀'.repeat(20);
  let got = '';
  assert.equal(socket.setEncoding('utf8'), socket);
  socket.on('data', (part) => {
    assert.equal(typeof part, 'string');
    assert.equal(part.includes('\ufffd'), false);
    got += part;
  });
  for (const byte of Buffer.from(text)) await new Promise((resolve) => client.write(Buffer.from([byte]), resolve));
  client.end();
  await within(once(socket, 'end'), 'end');
  assert.equal(got, text);
});

both('J29 half open: what is written after the end of the peer arrives', async ({ pair }) => {
  const [, socket, client] = await pair({ allowHalfOpen: true });
  socket.resume().on('end', () => socket.write('still', () => socket.end(' here')));
  const answer = received(client);
  client.end('x');
  assert.equal(String(await answer), 'still here');
  await closed(socket);
});

both('without allowHalfOpen our side ends with the peer; a later write is EPIPE', async ({ pair }) => {
  const [, socket, client] = await pair();
  const told = [];
  socket.on('error', ({ code, stack }) => told.push(code, stack.split('\n')[0]));
  socket.resume().once('end', () => {
    socket.end();
    assert.equal(socket.write('late', (error) => told.push(error.code)), false);
  });
  client.resume().end();
  await closed(socket);
  assert.deepEqual(told.sort(), ['EPIPE', 'EPIPE', 'Error: This socket has been ended by the other party']);
});

both('write after end is an error', async ({ pair }) => {
  const [, socket] = await pair();
  socket.end();
  socket.write('x');
  const [error] = await within(once(socket, 'error'), 'error');
  assert.equal(error.code, 'ERR_STREAM_WRITE_AFTER_END');
});

both('without allowHalfOpen, a write after end of a socket that reads nothing blames nobody else', async ({ serve, dial }) => {
  const server = await serve({ allowHalfOpen: true });
  const socket = await dial(server, { readable: false });
  socket.end();
  socket.write('x');
  const [error] = await within(once(socket, 'error'), 'error');
  assert.equal(error.code, 'ERR_STREAM_WRITE_AFTER_END');
});

both('a socket without a connection cannot be written to', async ({ net }) => {
  const socket = new net.Socket();
  socket.write('x');
  const [error] = await within(once(socket, 'error'), 'error');
  assert.equal(error.code, 'ERR_SOCKET_CLOSED');
  await closed(socket);
});

both('destroy before the connection is made fails what was written', async ({ net, serve, placeOf }) => {
  const server = await serve();
  const socket = net.connect(placeOf(server));
  const written = new Promise((resolve) => { socket.write('x', resolve); });
  socket.destroy();
  const error = await within(written, 'callback');
  assert.match(error.code, /^ERR_SOCKET_CLOSED_BEFORE_CONNECTION|ERR_STREAM_DESTROYED$/);
  await closed(socket);
});

both('destroyed as soon as it is connected: what was written fails, and is not counted', async ({ net, serve, placeOf }) => {
  const server = await serve();
  const socket = net.connect(placeOf(server), () => socket.destroy());
  const written = new Promise((resolve) => { socket.write('x', resolve); });
  assert.equal((await within(written, 'callback')).code, 'ERR_SOCKET_CLOSED');
  await closed(socket);
  assert.equal(socket.bytesWritten, 0);
});

both('destroy fails a write that is under way', async ({ pair, isOurs }) => {
  if (!isOurs && majorOf(process) < 24) return; // which tells that it was written
  const [, socket] = await pair();
  const written = new Promise((resolve) => { socket.write(Buffer.alloc(5e6), resolve); });
  socket.destroy();
  const { code, syscall } = await within(written, 'callback');
  assert.deepEqual([code, syscall], ['ECANCELED', 'write']);
  await closed(socket);
});

both('the end of a socket that was never connected', async ({ net, isOurs }) => {
  if (!isOurs && majorOf(process) < 22) return; // which waits for the connection
  const socket = new net.Socket();
  await within(new Promise((resolve) => { socket.end(resolve); }), 'callback');
  const other = new net.Socket();
  other.destroySoon();
  await closed(other);
  socket.destroy();
});

both('paused before it is connected: what comes is told after resume', async ({ serve, placeOf, net }) => {
  for (const listens of [true, false]) {
    const server = await serve(undefined, (socket) => socket.end('abc'), tcp);
    const socket = net.connect(placeOf(server));
    if (listens) socket.on('data', () => {});
    socket.pause();
    await within(once(socket, 'connect'), 'connect');
    const got = received(socket);
    socket.resume();
    assert.equal(String(await got), 'abc');
    await closed(socket);
  }
});

both('a client that is not readable leaves what comes where it is', async ({ pair, serve, dial, peer, directory }) => {
  const [, socket, client] = await pair({}, { clientOptions: { readable: false } });
  const events = trace(client, ['data', 'end', 'error', 'close']);
  socket.write('abc');
  client.write('d');
  await within(once(socket, 'data'), 'data');
  const other = await serve(undefined, (one) => one.end('x'), { path: path.join(directory, 'other') }); // a whole life of another one comes after it
  const next = await dial(other, {}, peer);
  await closed(next.resume());
  assert.deepEqual([events, client.bytesRead, client.destroyed], [[], 0, false]);
});

both('J6 J7 nothing comes while it is paused, and all after resume', async ({ pair }) => {
  const [, socket, client] = await pair({ pauseOnConnect: true });
  const parts = [];
  assert.equal(socket.isPaused(), true);
  assert.equal(socket.readableFlowing, false);
  socket.on('data', (part) => parts.push(part));
  let written = 0;
  for (; written < 64 && client.write(Buffer.alloc(65536, written)); written++);
  await new Promise((resolve) => { setTimeout(resolve, 20); });
  assert.equal(parts.length, 0);
  socket.resume();
  client.end();
  await within(once(socket, 'end'), 'end');
  assert.equal(Buffer.concat(parts).length, client.bytesWritten);
});

both('what waits comes first, also where the handler of another socket resumes it', async ({ serve, dial, peer }) => {
  const accepted = [];
  const server = await serve({}, (socket) => accepted.push(socket));
  const clients = [await dial(server, {}, peer), await dial(server, {}, peer)];
  await until(() => accepted.length === 2, 'two connections');
  const [one, other] = accepted;
  const parts = [];
  other.on('data', (part) => parts.push(String(part))).pause();
  clients[1].write('first ');
  await until(() => other.readableLength > 0, 'something waits');
  one.on('data', () => other.resume());
  clients[0].write('resume');
  clients[1].write('second'); // is read in the same turn
  await until(() => parts.join('').length >= 12, 'both');
  assert.equal(parts.join(''), 'first second');
});

both('who does not read holds the peer back', async ({ serve, dial, peer }) => {
  const accepted = [];
  const server = await serve({}, (socket) => accepted.push(socket));
  const [client, other] = [await dial(server, {}, peer), await dial(server, {}, peer)];
  await until(() => accepted.length === 2, 'two connections');
  const [socket, echo] = accepted;
  let isWritten = false;
  client.end(Buffer.alloc(8 << 20, 'x'), () => { isWritten = true; });
  await until(() => socket.readableLength > 0, 'the first bytes');
  echo.pipe(echo);
  for (let i = 0; i < 100; i++) {
    other.write('x');
    await within(once(other, 'data'), 'echo');
  }
  assert.equal(isWritten, false);
  assert.equal(socket.bytesRead < 1 << 20, true, `${socket.bytesRead} bytes were read`);
  assert.equal((await received(socket)).length, 8 << 20);
});

both('destroySoon ends when all is written', async ({ pair }) => {
  const [, socket, client] = await pair();
  const bytes = Buffer.alloc(2 * 1024 * 1024, 'x');
  const got = received(client);
  socket.write(bytes);
  socket.destroySoon();
  assert.equal((await got).equals(bytes), true);
  await closed(socket);
});

both('resetAndDestroy: the peer sees ECONNRESET', async ({ pair, net, peer }) => {
  const [, socket, client] = await pair({}, { place: tcp, by: peer });
  assert.equal(socket.resetAndDestroy(), socket);
  const [error] = await within(once(client.resume(), 'error'), 'error');
  assert.deepEqual([error.code, error.syscall, error.errno, error.message], ['ECONNRESET', 'read', -104, 'read ECONNRESET']);
  await closed(socket);
  const idle = new net.Socket();
  idle.resetAndDestroy();
  await closed(idle);
  assert.equal(idle.errored.code, 'ERR_SOCKET_CLOSED');
});

both('what was written while it connected is sent before those who listened later are told', async ({ serve, placeOf, net }) => {
  const server = await serve({}, (client) => client.resume().on('error', () => {}), tcp);
  const socket = net.connect(placeOf(server));
  const order = [];
  socket.once('connect', () => order.push('listened before', socket.bytesWritten));
  socket.write('some', () => order.push('written'));
  socket.once('connect', () => order.push('listened later'));
  socket.resetAndDestroy();
  await closed(socket);
  assert.equal(socket.errored, null);
  assert.deepEqual(order, ['listened before', 4, 'written', 'listened later']);
});

both('resetAndDestroy of a Unix socket is refused', async ({ pair }) => {
  const [, socket, client] = await pair();
  for (const one of [socket, client]) {
    assert.throws(() => one.resetAndDestroy(), { name: 'TypeError', code: 'ERR_INVALID_HANDLE_TYPE' });
    assert.equal(one.destroyed, false);
  }
});

both('we see a reset of the peer', async ({ pair, peer }) => {
  const [, socket, client] = await pair({}, { place: tcp, by: peer });
  const events = trace(socket.resume(), ['end', 'error', 'close'], (name, value) => value?.message ?? value ?? '');
  client.resetAndDestroy();
  await closed(socket);
  assert.deepEqual(events, ['error read ECONNRESET', 'close true']);
});

both('D39 the setters give the socket', async ({ pair }) => {
  const [, socket] = await pair({}, { place: tcp });
  assert.equal(socket.setTimeout(0).setKeepAlive(true, 500).setNoDelay().pause().resume().ref().unref().ref()
    .setEncoding('utf8').cork(), undefined);
  socket.uncork();
});

both('it is a Duplex, and can be made without new', async ({ net }) => {
  const socket = net.Socket();
  assert.equal(socket instanceof net.Socket, true);
  assert.equal(socket instanceof Duplex, true);
  assert.equal(net.Stream, net.Socket);
  assert.equal(net.Server() instanceof net.Server, true);
  class Own extends net.Socket {}
  assert.equal(new Own() instanceof net.Socket, true);
  assert.deepEqual([socket.bytesRead, socket.bytesWritten, socket.bufferSize, socket.timeout], [0, 0, undefined, undefined]);
});

both('what for-in tells of a socket', async ({ net }) => {
  const told = [];
  for (const name in new net.Socket()) told.push(name);
  const asked = ['bufferSize', 'bytesRead', 'connecting', 'localPort', 'pending', 'readyState', 'remoteAddress', 'write'];
  assert.deepEqual(asked.filter((name) => told.includes(name)),
    ['bytesRead', 'connecting', 'localPort', 'remoteAddress', 'write']);
});

both('readableDidRead tells', async ({ pair }) => {
  const [, socket, client] = await pair();
  assert.equal(socket.readableDidRead, false);
  client.write('x');
  await within(once(socket, 'data'), 'data');
  assert.equal(socket.readableDidRead, true);
  socket.pause();
});

both('a destroyed socket can be connected anew', async ({ serve, dial, placeOf }) => {
  const server = await serve({}, (socket) => socket.end('again'));
  const socket = await dial(server);
  await received(socket);
  await closed(socket);
  socket.removeAllListeners('data');
  socket.connect(placeOf(server));
  assert.equal(String(await received(socket)), 'again');
  await closed(socket);
  assert.equal(socket.bytesRead, 5);
});

both('async iteration', async ({ pair }) => {
  const [, socket, client] = await pair();
  client.write('one ');
  client.end('two');
  let text = '';
  for await (const chunk of socket) text += chunk;
  assert.equal(text, 'one two');
  await closed(client.resume());
});

both('much data both ways by pipe', async ({ pair }) => {
  const [, socket, client] = await pair();
  socket.pipe(socket);
  const bytes = require('node:crypto').randomBytes(8 * 1024 * 1024);
  const answer = received(client);
  for (let at = 0; at < bytes.length;) {
    const size = 1 + (bytes[at] * 1009) % 300000;
    if (!client.write(bytes.subarray(at, at + size))) await once(client, 'drain');
    at += size;
  }
  client.end();
  assert.equal((await answer).equals(bytes), true);
});

both('D43 write tells false when it is full, and drain comes once when all is gone', async ({ pair }) => {
  const [, socket, client] = await pair();
  let drains = 0;
  client.on('drain', () => drains++);
  let wrote = 0;
  while (client.write(Buffer.alloc(10000))) wrote++;
  assert.equal(client.writableNeedDrain, true);
  assert.equal(drains, 0);
  socket.resume();
  await within(once(client, 'drain'), 'drain');
  assert.equal(client.writableLength, 0);
  assert.equal(drains, 1);
  assert.equal(client.bytesWritten, (wrote + 1) * 10000);
});

both('what TCP takes a part of arrives once', async ({ pair, peer }) => {
  const [, socket, client] = await pair({}, { place: tcp, by: peer });
  const sent = [];
  client.pause();
  for (let i = 0, isFree = true; isFree; i++) {
    sent.push(Buffer.alloc(10_007, `${i} `));
    isFree = socket.write(sent.at(-1));
  }
  socket.end();
  assert.equal((await received(client.resume())).equals(Buffer.concat(sent)), true);
});

both('onread: one buffer, and pausing by false', async ({ serve, dial }) => {
  const server = await serve({}, (socket) => socket.end('0123456789'.repeat(10)));
  const buffer = Buffer.alloc(7);
  let text = '';
  const socket = await dial(server, {
    onread: {
      buffer,
      callback(length, given) {
        assert.equal(given, buffer);
        assert.equal(this, socket);
        text += given.toString('latin1', 0, length);
        if (text.length < 20) return true;
        setImmediate(() => socket.resume());
        return false;
      },
    },
  });
  await within(once(socket, 'end'), 'end');
  assert.equal(text, '0123456789'.repeat(10));
  assert.equal(socket.bytesRead, 100);
});

both('onread: a new buffer for each read', async ({ serve, dial }) => {
  const server = await serve({}, (socket) => socket.end('x'.repeat(100)));
  const parts = [];
  const socket = await dial(server, {
    onread: {
      buffer: () => Buffer.alloc(30),
      callback(length, buffer) { parts.push(buffer.subarray(0, length)); },
    },
  });
  await within(once(socket, 'end'), 'end');
  assert.equal(String(Buffer.concat(parts)), 'x'.repeat(100));
});
