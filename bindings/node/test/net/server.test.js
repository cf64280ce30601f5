'use strict';

// Servers: the forms of listen, what they tell, and their end.

const { assert, both, once, within, closed, received, tcp, isSocket, nodeNet, until } = require('./harness.js');
const dns = require('node:dns');
const fs = require('node:fs');
const { isIP } = require('node:net');
const path = require('node:path');

const ended = (server) => within(new Promise((resolve) => { server.close(resolve); }), 'close');

both('J15 all forms of listen', async ({ net, file }) => {
  const forms = [
    ['listen()', (server, listening) => server.listen(listening), 'object'],
    ['port', (server, listening) => server.listen(0, listening), 'object'],
    ['port as text', (server, listening) => server.listen('0', listening), 'object'],
    ['port, backlog', (server, listening) => server.listen(0, 5, listening), 'object'],
    ['port, host', (server, listening) => server.listen(0, '127.0.0.1', listening), 'object'],
    ['port, host, backlog', (server, listening) => server.listen(0, 'localhost', 5, listening), 'object'],
    ['null', (server, listening) => server.listen(null, listening), 'object'],
    ['port undefined', (server, listening) => server.listen({ port: undefined }, listening), 'object'],
    ['options', (server, listening) => server.listen({ port: 0, host: '127.0.0.1', backlog: 5, exclusive: true }, listening),
      'object'],
    ['path', (server, listening) => server.listen(file('a'), listening), 'string'],
    ['path, backlog', (server, listening) => server.listen(file('a'), 5, listening), 'string'],
    ['path in options', (server, listening) => server.listen({ path: file('a') }, listening), 'string'],
  ];
  for (const [what, listen, type] of forms) {
    const server = net.createServer();
    assert.deepEqual([server.listening, server.address()], [false, null], what);
    const told = within(new Promise((resolve) => { assert.equal(listen(server, resolve), server); }), what);
    await told;
    assert.equal(server.listening, true, what);
    assert.equal(typeof server.address(), type, what);
    if (type === 'object') assert.equal(server.address().port > 0, true, what);
    await ended(server);
    assert.equal(server.listening, false, what);
  }
});

both('a backlog that is no number, or less than none', async ({ net }) => {
  for (const backlog of ['7', {}, -7, null]) {
    for (const listen of [(server) => server.listen({ port: 0, backlog }), (server) => server.listen(0, '127.0.0.1', backlog)]) {
      const server = listen(net.createServer());
      await within(once(server, 'listening'), 'listening');
      await ended(server);
    }
  }
});

both('J20 D50 it is bound when listen returns, and listening comes later', async ({ net, file }) => {
  const server = net.createServer();
  server.listen(file());
  assert.equal(isSocket(file()), true);
  assert.equal(server.listening, true);
  assert.equal(server.address(), file());
  await within(once(server, 'listening'), 'listening');
  await ended(server);
  assert.equal(fs.existsSync(file()), false);
});

both('J37 errors of listen are told by the event', async ({ net, serve, file }) => {
  const first = await serve();
  const unix = net.createServer().listen(file());
  const visible = ({ message, code, errno, syscall, address, port }) => ({ message, code, errno, syscall, address, port });
  assert.deepEqual(visible((await within(once(unix, 'error'), 'error'))[0]), {
    message: `listen EADDRINUSE: address already in use ${file()}`, code: 'EADDRINUSE', errno: -98, syscall: 'listen',
    address: file(), port: -1,
  });
  assert.equal(unix.listening, false);
  assert.equal(isSocket(file()), true, 'the first one is left alone');
  const tcpServer = await serve({}, undefined, tcp);
  const { port } = tcpServer.address();
  const second = net.createServer().listen(port, '127.0.0.1');
  const [error] = await within(once(second, 'error'), 'error');
  assert.deepEqual(Object.keys(error), ['code', 'errno', 'syscall', 'address', 'port'], 'in this order');
  assert.deepEqual(visible(error), {
    message: `listen EADDRINUSE: address already in use 127.0.0.1:${port}`, code: 'EADDRINUSE', errno: -98,
    syscall: 'listen', address: '127.0.0.1', port,
  });
  const missing = net.createServer().listen(file('none/a'));
  assert.equal((await within(once(missing, 'error'), 'error'))[0].code, 'EACCES');
  // And it can be tried again.
  await ended(first);
  unix.listen(file());
  await within(once(unix, 'listening'), 'listening');
  await ended(unix);
});

both('of the addresses of a host, one that is not of a link alone', async ({ t, net }) => {
  let found;
  t.mock.method(dns, 'lookup', (host, options, callback) => callback(null, found));
  for (const addresses of [['fe80::1', '127.0.0.1'], ['febf::1%lo', 'fe90::2', '127.0.0.1', '::1'], ['127.0.0.1', '127.0.0.2']]) {
    found = addresses.map((address) => ({ address, family: isIP(address) }));
    const server = net.createServer().listen(0, 'x.example');
    await within(once(server, 'listening'), 'listening');
    assert.equal(server.address().address, '127.0.0.1');
    await new Promise((resolve) => { server.close(resolve); });
  }
  found = [{ address: 'fe80::1', family: 6 }];
  const [error] = await within(once(net.createServer().listen(0, 'x.example'), 'error'), 'error');
  assert.equal(error.address, 'fe80::1');
}, { needs: () => Number.parseInt(process.versions.node, 10) >= 22 });

both('a port that is in use, where no address was given', async ({ net, serve }) => {
  const { port } = (await serve({}, undefined, { port: 0 })).address();
  const [{ message, address }] = await within(once(net.createServer().listen(port), 'error'), 'error');
  assert.deepEqual({ message, address },
    { message: `listen EADDRINUSE: address already in use :::${port}`, address: '::' });
});

both('a file in the way is left alone', async ({ net, file }) => {
  fs.writeFileSync(file(), 'precious');
  const server = net.createServer().listen(file());
  assert.equal((await within(once(server, 'error'), 'error'))[0].code, 'EADDRINUSE');
  assert.equal(fs.readFileSync(file(), 'utf8'), 'precious');
});

both('relative paths, "..", and names that begin with @', async ({ net, file, directory }) => {
  const cwd = process.cwd();
  fs.mkdirSync(file('sub'));
  process.chdir(directory);
  try {
    for (const place of ['a.sock', './b.sock', 'sub/../c.sock', 'sub/d.sock', '@e', `${directory}/sub/../f.sock`]) {
      const server = net.createServer((socket) => socket.end('x')).listen(place);
      await within(once(server, 'listening'), place);
      assert.equal(server.address(), place);
      assert.equal(isSocket(path.resolve(directory, place)), true, place);
      const socket = net.connect(place);
      assert.equal(String(await received(socket)), 'x');
      await closed(socket);
      await ended(server);
      assert.equal(fs.existsSync(path.resolve(directory, place)), false, place);
    }
  } finally {
    process.chdir(cwd);
  }
});

both('J33 abstract names', async ({ net }) => {
  const name = `\0sockref-test-${process.pid}-${Math.random()}`;
  const server = net.createServer((socket) => socket.end('abstract')).listen(name);
  await within(once(server, 'listening'), 'listening');
  assert.equal(server.address(), name);
  const socket = net.connect(name);
  assert.equal(String(await received(socket)), 'abstract');
  await closed(socket);
  await ended(server);
});

both('the mode of the file', async ({ net, isOurs, file }) => {
  const modes = [[{}, 0], [{ readableAll: true }, 0o444], [{ writableAll: true }, 0o222],
    [{ readableAll: true, writableAll: true }, 0o666]];
  const before = process.umask(0o077);
  try {
    for (const [options, bits] of modes) {
      const server = net.createServer().listen({ path: file(), ...options });
      const mode = fs.statSync(file()).mode & 0o777;
      // Node 24 sets the bits that are asked for, and no others.
      if (isOurs || bits === 0) assert.equal(mode, 0o700 | bits);
      else assert.equal(mode & ~0o700, bits & ~0o700);
      await within(once(server, 'listening'), 'listening');
      await ended(server);
    }
  } finally {
    process.umask(before);
  }
});

both('J16 J20 close: no more connections, and the event after the last one', async ({ serve, dial, net, file }) => {
  const server = await serve();
  const accepted = within(once(server, 'connection'), 'connection');
  const client = await dial(server);
  const [socket] = await accepted;
  const events = [];
  server.on('close', () => events.push('close'));
  assert.equal(server.close((error) => events.push(`callback ${error}`)), server);
  assert.equal(server.listening, false);
  assert.equal(fs.existsSync(file()), false);
  const late = net.connect(file());
  assert.equal((await within(once(late, 'error'), 'error'))[0].code, 'ENOENT');
  socket.write('still');
  assert.equal(String((await within(once(client, 'data'), 'data'))[0]), 'still');
  assert.deepEqual(events, []);
  client.end();
  await until(() => events.length === 2);
  assert.deepEqual(events, ['close', 'callback undefined']);
});

both('closed when its client hears that it is connected, it has the connection', async ({ net, serve, placeOf, file }) => {
  for (const place of [{ path: file() }, tcp]) {
    const server = await serve({}, (socket) => socket.end('served'), place);
    const socket = net.connect(placeOf(server), () => server.close());
    assert.equal(String(await received(socket)), 'served');
    await closed(socket);
  }
});

both('closed at the first of several connections it has no more, and tells its close once', async ({ net, serve, placeOf }) => {
  const told = [];
  const server = await serve({}, (socket) => {
    told.push('connection');
    socket.destroy();
    server.close();
  });
  server.on('close', () => told.push('close'));
  const sockets = Array.from({ length: 4 }, () => net.connect(placeOf(server)));
  await Promise.all(sockets.map((socket) => closed(socket.resume())));
  assert.deepEqual(told, ['connection', 'close']);
});

both('close of a server that does not listen', async ({ net }) => {
  const server = net.createServer();
  const error = await within(new Promise((resolve) => { server.close(resolve); }), 'callback');
  assert.equal(error.code, 'ERR_SERVER_NOT_RUNNING');
});

both('J39 Symbol.asyncDispose closes', async ({ t, serve, net }) => {
  if (!Symbol.asyncDispose) {
    t.skip('not in this Node');
    return;
  }
  const server = await serve();
  await within(server[Symbol.asyncDispose](), 'dispose');
  assert.equal(server.listening, false);
  await within(net.createServer()[Symbol.asyncDispose](), 'dispose of one that does not listen');
});

both('J18 D46 getConnections', async ({ serve, dial }) => {
  const server = await serve();
  const count = () => within(new Promise((resolve, reject) => {
    assert.equal(server.getConnections((error, number) => (error ? reject(error) : resolve(number))), server);
  }), 'count');
  const clients = [await dial(server), await dial(server), await dial(server)];
  await until(async () => await count() === 3);
  clients[0].destroy();
  server.on('connection', () => {});
  await until(async () => {
    await new Promise((resolve) => { setImmediate(resolve); });
    return await count() <= 3;
  });
  for (const client of clients) client.destroy();
});

both('T14 who is served is decided later', async ({ serve, dial, peer }) => {
  const waiting = [];
  const server = await serve({ pauseOnConnect: true }, (socket) => {
    socket.on('data', (data) => socket.end(data));
    waiting.push(socket);
  });
  const clients = [await dial(server, {}, peer), await dial(server, {}, peer), await dial(server, {}, peer)];
  clients.forEach((client, i) => client.write(`may I? ${i}`));
  await until(() => waiting.length === 3, 'three connections');
  const other = await serve(undefined, (one) => one.end('x'), { path: `${server.address()}.other` });
  await closed((await dial(other, {}, peer)).resume()); // a whole life of another one comes first
  assert.deepEqual(waiting.map((socket) => [socket.bytesRead, socket.isPaused(), socket.destroyed]), Array(3).fill([0, true, false]));
  const answers = [0, 2].map((i) => received(clients[i]));
  const refused = closed(clients[1]);
  waiting[1].destroy();
  await refused;
  assert.deepEqual(clients.map((client) => client.bytesRead), [0, 0, 0]);
  waiting[2].resume();
  assert.equal(String(await answers[1]), 'may I? 2');
  assert.equal(waiting[0].bytesRead, 0);
  waiting[0].resume();
  assert.equal(String(await answers[0]), 'may I? 0');
});

both('J39 maxConnections: what comes beyond is dropped, and told', async ({ serve, dial, net, placeOf }) => {
  const server = await serve({}, undefined, tcp);
  server.maxConnections = 1;
  const first = await dial(server);
  const drop = within(once(server, 'drop'), 'drop');
  const second = net.connect(placeOf(server));
  const [data] = await drop;
  assert.deepEqual(Object.keys(data).sort(),
    ['localAddress', 'localFamily', 'localPort', 'remoteAddress', 'remoteFamily', 'remotePort']);
  assert.deepEqual([data.localPort, data.remoteFamily], [server.address().port, 'IPv4']);
  second.on('error', () => {});
  await closed(second.resume());
  first.write('x');
});

both('a maxConnections of 0 is no limit before Node 21, and drops all from then on', async ({ serve, net, placeOf }) => {
  const server = await serve();
  server.maxConnections = 0;
  const told = Promise.race(['connection', 'drop'].map(async (event) => {
    await once(server, event);
    return event;
  }));
  const socket = net.connect(placeOf(server)).on('error', () => {});
  assert.equal(await within(told, 'told'), Number.parseInt(process.versions.node, 10) >= 21 ? 'drop' : 'connection');
  socket.destroy();
});

both('J31 a signal closes it', async ({ net, file }) => {
  const controller = new AbortController();
  const server = net.createServer().listen({ path: file(), signal: controller.signal });
  await within(once(server, 'listening'), 'listening');
  const told = within(once(server, 'close'), 'close');
  controller.abort();
  await told;
  assert.equal(server.listening, false);
  const aborted = net.createServer().listen({ path: file(), signal: AbortSignal.abort() });
  await within(once(aborted, 'close'), 'close');
});

both('J19 ref and unref give the server', async ({ serve, net }) => {
  const server = await serve();
  assert.equal(server.unref().ref(), server);
  assert.equal(net.createServer().unref().ref().listening, false);
});

both('a listener that rejects destroys its socket, with captureRejections', async ({ serve, net, file, placeOf }) => {
  const { EventEmitter } = require('node:events');
  const before = EventEmitter.captureRejections;
  EventEmitter.captureRejections = true;
  let server;
  try {
    server = await serve({}, async (socket) => {
      socket.on('error', () => {});
      throw new Error('no');
    }, file('r'));
  } finally {
    EventEmitter.captureRejections = before;
  }
  await closed(net.connect(placeOf(server)).resume());
});

both('J36 the wildcard takes both families; ipv6Only does not', async ({ t, net, peer }) => {
  const both6 = net.createServer((socket) => socket.end('x')).listen(0);
  await within(once(both6, 'listening'), 'listening');
  const { family, port } = both6.address();
  const socket = peer.connect(port, '127.0.0.1');
  assert.equal(String(await received(socket)), 'x');
  await ended(both6);
  if (family !== 'IPv6') {
    t.skip('there is no IPv6 here');
    return;
  }
  const only = net.createServer().listen({ port: 0, host: '::', ipv6Only: true });
  await within(once(only, 'listening'), 'listening');
  const refused = peer.connect(only.address().port, '127.0.0.1');
  assert.equal((await within(once(refused, 'error'), 'error'))[0].code, 'ECONNREFUSED');
  await ended(only);
});

both('several servers have one port where all of them say so', async ({ net, placeOf, peer }) => {
  const servers = [net.createServer((socket) => socket.end('x')).listen({ ...tcp, reusePort: true })];
  await within(once(servers[0], 'listening'), 'listening');
  const { port } = servers[0].address();
  for (let i = 0; i < 2; i++) {
    servers.push(net.createServer((socket) => socket.end('x')).listen({ ...tcp, port, reusePort: true }));
    await within(once(servers.at(-1), 'listening'), 'listening');
  }
  const other = net.createServer().listen({ ...tcp, port });
  assert.equal((await within(once(other, 'error'), 'error'))[0].code, 'EADDRINUSE');
  for (const server of servers) {
    assert.equal(server.address().port, port);
    assert.equal(String(await received(peer.connect(placeOf(server)))), 'x');
    await ended(server); // of the others each still answers
  }
}, { needs: () => Number.parseInt(process.versions.node, 10) >= 24 });

both('highWaterMark of its sockets', async ({ pair }) => {
  const [, socket] = await pair({ highWaterMark: 1234 });
  assert.deepEqual([socket.readableHighWaterMark, socket.writableHighWaterMark], [1234, 1234]);
});

both('a highWaterMark that is none is refused with each socket, not with the server', ({ net }) => {
  assert.deepEqual([NaN, 1.5, -1].map((highWaterMark) => net.createServer({ highWaterMark }).highWaterMark),
    [NaN, 1.5, net.createServer().highWaterMark]);
});

both('the server of a socket', async ({ pair }) => {
  const [server, socket, client] = await pair();
  assert.equal(socket.server, server);
  assert.equal(client.server, null);
});

both('fd: a descriptor that somebody has bound', async ({ isOurs, file, peer }) => {
  const holder = nodeNet.createServer().listen(file('held'));
  await within(once(holder, 'listening'), 'listening');
  const child = require('node:child_process').spawn(process.execPath, ['-e', `
    require(process.argv[1]).createServer((socket) => socket.end('by descriptor')).listen({ fd: 3 }, () => console.log('listening'));
    process.stdin.resume().on('end', () => process.exit(0));
  `, isOurs ? path.join(process.env.SOCKREF_PACKAGE, 'lib', 'net.js') : 'node:net'], { stdio: ['pipe', 'pipe', 'inherit', holder._handle.fd] });
  await within(once(child.stdout, 'data'), 'listening');
  holder.on('connection', (socket) => socket.end('by descriptor')); // either may accept
  const socket = peer.connect(file('held'));
  assert.equal(String(await received(socket)), 'by descriptor');
  child.stdin.end();
  await within(once(child, 'exit'), 'exit');
  assert.equal(isSocket(file('held')), true, 'the file is not theirs to remove');
  await new Promise((resolve) => { holder.close(resolve); });
});
