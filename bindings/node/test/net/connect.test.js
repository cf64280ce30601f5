'use strict';

// Connecting: the forms, hosts and their addresses, errors, and what cancels it.

const { assert, both, once, within, closed, received, trace, tcp, until, nodeNet } = require('./harness.js');

const host = '127.0.0.1';
const major = Number.parseInt(process.versions.node, 10);

/** A port at which nobody listens: one that somebody did. */
async function freePort() {
  const server = nodeNet.createServer().listen(0, host);
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => { server.close(resolve); });
  return port;
}

const visible = ({ message, code, errno, syscall, address, port }) => ({ message, code, errno, syscall, address, port });

both('J2 all forms', async ({ net, serve, file }) => {
  const server = await serve({}, (socket) => socket.end('x'), tcp);
  const unix = await serve({}, (socket) => socket.end('x'), file('u.sock'));
  const { port } = server.address();
  const forms = [
    (connected) => net.connect(port, host, connected),
    (connected) => net.createConnection(String(port), host, connected),
    (connected) => net.connect({ port, host }, connected),
    (connected) => net.connect({ port: String(port) }, connected),
    (connected) => net.connect(port, connected),
    (connected) => net.connect(unix.address(), connected),
    (connected) => net.connect({ path: unix.address() }, connected),
    (connected) => new net.Socket().connect(port, host, connected),
    (connected) => new net.Socket().connect(unix.address(), connected),
    (connected) => new net.Socket().connect({ path: unix.address() }).on('connect', connected),
  ];
  for (const form of forms) {
    let isConnected = false;
    const socket = form(() => { isConnected = true; });
    assert.equal(String(await received(socket)), 'x', String(form));
    assert.equal(isConnected, true);
    await closed(socket);
  }
});

both('L58 J37 refused by TCP, with address and port', async ({ net }) => {
  const port = await freePort();
  const socket = net.connect(port, host);
  const [error] = await within(once(socket, 'error'), 'error');
  assert.deepEqual(visible(error), {
    message: `connect ECONNREFUSED ${host}:${port}`, code: 'ECONNREFUSED', errno: -111, syscall: 'connect', address: host, port,
  });
  await closed(socket);
});

both('no such path, and one that nobody listens on', async ({ net, file }) => {
  const missing = net.connect(file('none'));
  assert.deepEqual(visible((await within(once(missing, 'error'), 'error'))[0]), {
    message: `connect ENOENT ${file('none')}`, code: 'ENOENT', errno: -2, syscall: 'connect', address: file('none'),
    port: undefined,
  });
  await closed(missing);
  require('node:fs').writeFileSync(file('plain'), '');
  const plain = net.connect(file('plain'));
  assert.equal((await within(once(plain, 'error'), 'error'))[0].code, 'ECONNREFUSED');
  await closed(plain);
});

both('a host is looked up, and told', async ({ net, serve }) => {
  const server = await serve({}, (socket) => socket.end(), tcp);
  const socket = net.connect(server.address().port, 'localhost');
  const events = trace(socket, ['lookup', 'connectionAttempt', 'connect'],
    (name, ...args) => (name === 'lookup' ? `${args[0]} ${args[3]}` : ''));
  await closed(socket.resume());
  assert.equal(events[0], 'lookup null localhost');
  assert.equal(events.at(-1), 'connect');
});

both('the option lookup gets what dns.lookup gets', async ({ net, serve }) => {
  const server = await serve({}, (socket) => socket.end(), tcp);
  const asked = [];
  const socket = net.connect({
    port: server.address().port, host: 'somewhere.example', family: 4, hints: 1,
    lookup: (name, options, callback) => {
      asked.push(name, options);
      process.nextTick(callback, null, host, 4);
    },
  });
  await closed(socket.resume());
  assert.deepEqual(asked, ['somewhere.example', { family: 4, hints: 1 }]);
});

both('connect while it connects, or is connected, is an error', async ({ net, serve, placeOf, isOurs, file }) => {
  const path = file('u.sock');
  const asked = [[path, true, `connectionAttempt ${path}`, `connectionAttemptFailed ${path}`, 'error EISCONN'],
    [path, false, `connectionAttempt ${path}`, `connectionAttempt ${path}`, `connectionAttemptFailed ${path}`, 'error EISCONN'],
    [tcp, false, `connectionAttempt ${host}`, `connectionAttempt ${host}`, 'error EALREADY'],
    [tcp, true, `connectionAttempt ${host}`, 'error EISCONN']];
  for (const [place, isConnected, ...expected] of asked) {
    // Of two attempts Node leaves one open; and the system tells it once that its second one over TCP is made.
    if (!isOurs && (place === path) !== isConnected) continue;
    const server = await serve(undefined, (socket) => socket.resume(), place);
    const socket = new net.Socket();
    if (isConnected) await within(once(socket.connect(placeOf(server)), 'ready'), 'ready');
    const events = trace(socket, ['connectionAttempt', 'connectionAttemptFailed', 'connect', 'error', 'close'],
      (name, value) => value?.code ?? value ?? '');
    if (!isConnected) socket.connect(placeOf(server));
    socket.connect(placeOf(server));
    await closed(socket);
    assert.deepEqual(events, [...expected, 'close true']);
    await new Promise((resolve) => { server.close(resolve); });
  }
});

both('a local end that cannot be: the error of its bind, and no attempt', async ({ net, serve, placeOf, peer }) => {
  const server = await serve({}, undefined, tcp);
  const { port } = server.address();
  const lookup = all({ address: host, family: 4 }, { address: '127.0.0.2', family: 4 });
  const several = { host: 'x.example', port, autoSelectFamily: true, lookup };
  const cases = [
    [{ localPort: 65536 }, 'bind EADDRINUSE 0.0.0.0:65536', { code: 'EADDRINUSE', port: 65536, address: '0.0.0.0' }],
    [{ localPort: 1.5, localAddress: host }, `bind EADDRINUSE ${host}:1.5`, { code: 'EADDRINUSE', port: 1.5, address: host }],
    [{ localAddress: '::1' }, 'bind EINVAL ::1', { code: 'EINVAL', port: undefined, address: '::1' }],
    [{ ...several, localPort: 65536 }, '', { code: 'EADDRINUSE', port: undefined, address: undefined }],
  ];
  for (const [options, message, visible] of cases) {
    const socket = net.connect({ ...placeOf(server), ...options });
    const events = trace(socket, ['connectionAttempt', 'connectionAttemptFailed', 'connect', 'error', 'close'],
      (name, value) => value.message ?? value);
    await closed(socket);
    assert.deepEqual(events, [`error ${message}`.trim(), 'close true']);
    const { code, port: told, address } = socket.errored;
    assert.deepEqual({ code, port: told, address }, visible);
  }
  await closed(peer.connect(placeOf(server), function () { this.destroy(); }));
});

both('a lookup that answers twice makes one connection', async ({ net, serve, isOurs }) => {
  let connections = 0;
  const server = await serve(undefined, () => { connections++; }, tcp);
  const { port } = server.address();
  for (const family of [4, 0]) {
    const lookup = (name, { all }, callback) => {
      for (let i = 0; i < 2; i++) callback(null, all ? [{ address: host, family: 4 }] : host, 4);
    };
    const socket = net.connect({ port, host: 'x.example', family, lookup });
    if (isOurs) await within(once(socket, 'connect'), 'connect');
    else assert.equal((await within(once(socket, 'error'), 'error'))[0].code, 'EALREADY');
    socket.destroy();
    await closed(socket);
  }
  if (isOurs) await until(() => connections === 2, 'connections');
});

both('lookup fails, or finds nonsense', async ({ net, isOurs }) => {
  const list = (name, options, callback) => callback(null, [host], 4);
  const cases = [
    ...(isOurs || major >= 24 ? [[list, 'ERR_INVALID_IP_ADDRESS']] : []), // earlier it ends Node
    [(name, options, callback) => callback(Object.assign(new Error('nobody'), { code: 'ENOTFOUND' })), 'ENOTFOUND'],
    [(name, options, callback) => callback(null, 'nonsense', 4), 'ERR_INVALID_IP_ADDRESS'],
    [(name, options, callback) => callback(null, host, 5), 'ERR_INVALID_ADDRESS_FAMILY'],
  ];
  for (const [lookup, code] of cases) {
    const socket = net.connect({ port: 1, host: 'x.example', family: 4, lookup });
    assert.equal((await within(once(socket, 'error'), 'error'))[0].code, code);
    await closed(socket);
  }
  const knowsNoAll = (name, options, callback) => process.nextTick(callback, null, host, 4);
  const socket = net.connect({ port: 1, host: 'x.example', lookup: knowsNoAll });
  assert.equal((await within(once(socket, 'error'), 'error'))[0].code, 'ERR_INVALID_IP_ADDRESS');
  await closed(socket);
});

const all = (...found) => (name, options, callback) => process.nextTick(callback, null, found);

both('D47 several addresses: the next one where the first refuses', async ({ net, serve }) => {
  const server = await serve({}, (socket) => socket.end('x'), tcp);
  const { port } = server.address();
  const socket = net.connect({
    port, host: 'x.example', autoSelectFamily: true,
    lookup: all({ address: '::1', family: 6 }, { address: '::2', family: 6 }, { address: '127.0.0.2', family: 4 },
      { address: '127.0.0.2', family: 4 }, { address: host, family: 4 }),
  });
  const tried = [];
  socket.on('connectionAttempt', (address) => tried.push(address));
  socket.on('connectionAttemptFailed', (address, failedPort, family, error) => {
    tried.push(`${address} ${family} ${failedPort === port} ${error.code}`);
  });
  assert.equal(String(await received(socket)), 'x');
  assert.equal(tried.at(-1), host);
  assert.deepEqual(socket.autoSelectFamilyAttemptedAddresses.at(-1), `${host}:${port}`);
  assert.deepEqual(tried.filter((what) => !what.includes(' ')), ['::1', '127.0.0.2', '::2', host], 'families alternate');
  assert.equal(tried.filter((what) => what.includes(' 4 true ECONNREFUSED')).length, 1);
});

both('of several addresses some are blocked: each fails in its turn', async ({ net, serve }) => {
  const server = await serve({}, (socket) => socket.end(), tcp);
  const { port } = server.address();
  const blockList = new net.BlockList();
  blockList.addAddress('127.0.0.2');
  blockList.addAddress('127.0.0.4');
  const [blocked, other, more, refused] = ['127.0.0.2', '127.0.0.4', host, '127.0.0.3'];
  const cases = [
    [[blocked, refused], `failed ${blocked}`, `attempt ${refused}`, `failed ${refused}`, 'error ERR_IP_BLOCKED'],
    [[refused, blocked, other], `attempt ${refused}`, `failed ${refused}`, `failed ${blocked}`, `failed ${other}`,
      'error ECONNREFUSED'],
    [[refused, blocked, more, other], `attempt ${refused}`, `failed ${refused}`, `failed ${blocked}`, `attempt ${more}`,
      'connect'],
    [[blocked, other], `failed ${blocked}`, `failed ${other}`, 'error ERR_IP_BLOCKED'],
  ];
  for (const [addresses, ...expected] of cases) {
    const lookup = all(...addresses.map((address) => ({ address, family: 4 })));
    const socket = net.connect({ port, host: 'x.example', autoSelectFamily: true, lookup, blockList });
    const events = [];
    socket.on('connectionAttempt', (address) => events.push(`attempt ${address}`));
    socket.on('connectionAttemptFailed', (address) => events.push(`failed ${address}`));
    socket.on('connect', () => events.push('connect'));
    socket.on('error', ({ code, errors }) => {
      events.push(`error ${code}`);
      assert.equal(errors.length, addresses.length);
    });
    await closed(socket.resume());
    assert.deepEqual(events, expected);
    assert.deepEqual(socket.autoSelectFamilyAttemptedAddresses,
      expected.filter((line) => line.startsWith('attempt')).map((line) => `${line.slice('attempt '.length)}:${port}`));
  }
}, { needs: () => major >= 24 });

both('all of several addresses fail: the errors as one', async ({ net }) => {
  const port = await freePort();
  const socket = net.connect({
    port, host: 'x.example', autoSelectFamily: true,
    lookup: all({ address: host, family: 4 }, { address: '127.0.0.2', family: 4 }),
  });
  const [error] = await within(once(socket, 'error'), 'error');
  assert.equal(error.constructor, AggregateError);
  assert.equal(error.code, 'ECONNREFUSED');
  assert.match(error.stack, /^AggregateError \[ECONNREFUSED\]/);
  assert.deepEqual(error.errors.map(({ message }) => message),
    [`connect ECONNREFUSED ${host}:${port}`, `connect ECONNREFUSED 127.0.0.2:${port}`]);
  await closed(socket);
});

both('destroy cancels: during the lookup, and while it connects', async ({ net, serve, placeOf }) => {
  let answer;
  const looking = net.connect({ port: 1, host: 'x.example', lookup: (name, options, callback) => { answer = callback; } });
  const events = trace(looking, ['lookup', 'connectionAttempt', 'connect', 'error', 'close']);
  looking.destroy();
  await closed(looking);
  answer(null, [{ address: host, family: 4 }]);
  await new Promise((resolve) => { setImmediate(resolve); });
  assert.deepEqual(events, ['close']);
  const server = await serve();
  const connecting = net.connect(placeOf(server));
  const later = trace(connecting, ['connect', 'ready', 'error', 'close']);
  connecting.destroy();
  await closed(connecting);
  assert.deepEqual(later, ['close']);
});

both('a signal ends it with an AbortError', async ({ net, serve, placeOf }) => {
  const server = await serve();
  for (const abortFirst of [true, false]) {
    const controller = new AbortController();
    if (abortFirst) controller.abort();
    const socket = net.connect({ ...placeOf(server), signal: controller.signal });
    const told = within(once(socket, 'error'), 'error');
    if (!abortFirst) {
      await within(once(socket, 'connect'), 'connect');
      controller.abort();
    }
    assert.equal((await told)[0].name, 'AbortError');
    await closed(socket);
  }
});

both('J31 the local end', async ({ net, serve }) => {
  const server = await serve({}, undefined, tcp);
  const accepted = within(once(server, 'connection'), 'connection');
  const socket = net.connect({ port: server.address().port, host, localAddress: '127.0.0.3' });
  const [other] = await accepted;
  assert.equal(other.remoteAddress, '127.0.0.3');
  other.destroy();
  await closed(socket.resume());
});

both('IPv6', async ({ t, net }) => {
  const server = net.createServer((socket) => socket.end('six'));
  server.listen(0, '::1');
  const [first] = await Promise.race([once(server, 'listening').then(() => []), once(server, 'error')]);
  if (first) {
    t.skip('there is no IPv6 here');
    return;
  }
  const socket = net.connect(server.address().port, '::1');
  await within(once(socket, 'connect'), 'connect');
  assert.deepEqual([socket.remoteAddress, socket.remoteFamily, server.address().family], ['::1', 'IPv6', 'IPv6']);
  assert.equal(String(await received(socket)), 'six');
  server.close();
  await closed(server);
});

both('setting before the connection is made, and TCP options', async ({ net, serve }) => {
  const server = await serve({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 1500 }, (socket) => socket.end(), tcp);
  const socket = new net.Socket({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 });
  socket.setNoDelay(true).setKeepAlive(true, 500).setKeepAlive(false);
  socket.connect(server.address().port, host);
  await closed(socket.resume());
});
