'use strict';

// A socket that is connected once more, and one that is given up before it is connected.

const { assert, both, once, within, closed, received, trace, tcp, until } = require('./harness.js');

const host = '127.0.0.1';
const places = ({ file }) => [tcp, { path: file('again') }];
const turn = () => new Promise((resolve) => { setImmediate(resolve); });

both('given up and connected anew at once, it has one connection', async ({ net, serve, placeOf, isOurs }) => {
  if (!isOurs) return; // of two attempts Node takes the first one's for the second's
  const connections = [];
  const server = await serve({}, (socket) => connections.push(socket.end('x')), tcp);
  const place = placeOf(server);
  const answers = [];
  const lookup = (name, { all }, callback) => answers.push(() => callback(null, all ? [{ address: host, family: 4 }] : host, 4));
  for (const options of [place, { ...place, host: 'x.example', lookup }, { ...place, host: 'x.example', family: 4, lookup }]) {
    const socket = new net.Socket();
    const events = trace(socket, ['connect', 'data', 'error', 'close'], (name, value) => (name === 'data' ? value : ''));
    socket.connect(options);
    socket.destroy();
    socket.connect(options);
    for (const answer of answers.splice(0)) answer();
    await until(() => events.length === 3, 'the close of the first, and data');
    assert.deepEqual(events.filter((name) => name !== 'close'), ['connect', 'data x']);
    assert.equal(socket.bytesRead, 1);
    socket.destroy();
    await closed(socket);
  }
  assert.equal(connections.length, 3);
});

both('given up while it connects: close comes a turn later, then its writes fail', async ({ net, serve, placeOf, ...given }) => {
  for (const place of places(given)) {
    const server = await serve({}, undefined, place);
    for (const ticks of [0, 2]) {
      const socket = net.connect(placeOf(server));
      const events = trace(socket, ['connect', 'finish', 'error', 'close'], (name, value) => `${value} ${socket.errored}`);
      for (let i = 0; i < ticks; i++) await new Promise((resolve) => { process.nextTick(resolve); });
      socket.write('abc', ({ code }) => events.push(code));
      socket.write('d', ({ code }) => events.push(code));
      socket.destroy();
      await new Promise((resolve) => { process.nextTick(resolve); });
      assert.deepEqual(events, [], 'who listens from the next tick on hears of it');
      await until(() => events.length === 3, 'callbacks');
      const code = 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION';
      assert.deepEqual(events, ['close false null', code, code]);
      assert.equal(socket.bytesWritten, 3, 'the write that waited for the connection');
    }
  }
});

both('refused: the error, close, then its writes fail', async ({ net, file }) => {
  const socket = net.connect(file('none'));
  const events = trace(socket, ['connect', 'error', 'close'], (name, value) => value.code ?? value);
  socket.write('abc', ({ code }) => events.push(code));
  socket.write('d', ({ code }) => events.push(code));
  await until(() => events.length === 4, 'callbacks');
  assert.deepEqual(events, ['error ENOENT', 'close true', 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION', 'ENOENT']);
  assert.equal(socket.bytesWritten, 3);
});

both('connected anew it has read already, and no time-out', async ({ net, serve, placeOf, dial }) => {
  const server = await serve({ allowHalfOpen: true }, (socket) => socket.write('x'));
  const socket = await dial(server);
  let count = 0;
  socket.setTimeout(1, () => {
    count++;
    socket.setTimeout(10);
  });
  await within(once(socket, 'data'), 'data');
  await until(() => count > 0, 'time-out');
  socket.destroy();
  await closed(socket);
  const before = count;
  socket.connect(placeOf(server));
  assert.equal(socket.readableDidRead, true);
  await within(once(socket, 'connect'), 'connect');
  const other = await dial(server, { timeout: 30 });
  await within(once(other, 'timeout'), 'a time-out that would come later');
  assert.equal(count, before);
});

both('socket.connect takes no signal', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.end('x'));
  const socket = new net.Socket();
  socket.connect({ ...placeOf(server), signal: AbortSignal.abort() });
  assert.equal(String(await received(socket)), 'x');
  await closed(socket);
});

both('a signal that is aborted already: the error, and no connection', async ({ net, serve, placeOf, isOurs, ...given }) => {
  for (const place of places(given)) {
    let connections = 0;
    const server = await serve({}, () => { connections++; }, place);
    const socket = net.connect({ ...placeOf(server), signal: AbortSignal.abort() });
    const events = trace(socket, ['connect', 'error', 'close'], (name, value) => value?.name ?? '');
    await closed(socket);
    assert.deepEqual(events, ['error AbortError', 'close']);
    if (!isOurs) continue; // Node goes on to connect
    for (let i = 0; i < 5; i++) await turn();
    assert.deepEqual([events.length, connections, socket.readyState], [2, 0, 'closed']);
  }
});
