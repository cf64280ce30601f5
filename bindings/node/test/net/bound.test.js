'use strict';

// BoundSocket: names that are bound first, and listen or connect later. Node has it since late in 24, paths of it later
// still; where it is there, what is said here is said of it as well.

const { assert, root, sockref, both, once, within, closed, received, trace, errorOf, until, collect, isSocket, scenario, run,
  nodeNet, sockrefNet, tcp } = require('./harness.js');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const onPort = { needs: (net) => net.BoundSocket !== undefined };
const onPath = { needs: (net) => net.BoundSocket !== undefined && 'isPipe' in net.BoundSocket.prototype };
const local = { host: '127.0.0.1' };
const adopted = { name: 'Error', code: 'ERR_SOCKET_HANDLE_ADOPTED',
  message: 'The bound socket has already been adopted by a server or socket' };

const ended = (server) => within(new Promise((resolve) => { server.close(resolve); }), 'close');

/** What becomes of a connect: the socket's events, with addresses and codes, until it is connected or closed. */
async function outcome(socket, ...args) {
  const events = trace(socket, ['lookup', 'connectionAttempt', 'connectionAttemptFailed', 'connect', 'error', 'close'],
    (name, ...[first]) => (name.startsWith('connectionAttempt') ? first : name === 'error' ? first.code : ''));
  const over = new Promise((resolve) => { socket.once('connect', resolve).once('close', resolve); });
  socket.connect(...args);
  await within(over, 'an end');
  return [...events];
}

/** The error of a constructor. */
function refusal(make) {
  try {
    make();
    return undefined;
  } catch ({ code, errno, syscall, address, port, message }) {
    return { code, errno, syscall, address, port, message };
  }
}

/** Everything that a BoundSocket does is an error once somebody has it. */
function isTaken(net, bound) {
  for (const use of [() => bound.address(), () => bound.fd(), () => bound.close(), () => new net.Socket({ handle: bound }),
    () => net.connect({ handle: bound, port: 1 }), () => net.createServer().listen(bound),
    () => net.createServer().listen({ handle: bound })]) {
    assert.deepEqual(errorOf(use), adopted, String(use));
  }
  if (Symbol.dispose) bound[Symbol.dispose]();
}

// ---- bound ---------------------------------------------------------------------------------------------------

both('a port is bound, and nobody can connect', async ({ net, peer }) => {
  const bound = new net.BoundSocket(local);
  const { address, family, port } = bound.address();
  assert.deepEqual([address, family, port > 0], ['127.0.0.1', 'IPv4', true]);
  assert.equal(bound.fd() > 2, true);
  assert.equal(bound.fd(), bound.fd(), 'it stays its own');
  const refused = peer.connect(port, '127.0.0.1');
  assert.equal((await within(once(refused, 'error'), 'error'))[0].code, 'ECONNREFUSED');
  bound.close();
  isTaken(net, bound);
  const again = new net.BoundSocket({ ...local, port });
  assert.equal(again.address().port, port);
  again.close();
}, onPort);

both('what it binds where it is not told', async ({ net }) => {
  for (const options of [[], [undefined], [{}], [{ host: undefined, port: undefined, path: undefined }], [{ host: null, port: null }],
    [{ ipv6Only: null, reusePort: null }], [{ port: '0' }]]) {
    const bound = new net.BoundSocket(...options);
    const { address, family, port } = bound.address();
    assert.deepEqual([address, family, port > 0], ['0.0.0.0', 'IPv4', true]);
    bound.close();
  }
  const one = new net.BoundSocket({ ...local, ipv6Only: true }), { port } = one.address();
  const text = new net.BoundSocket({ ...local, port: String(port) });
  assert.deepEqual(text.address(), one.address(), 'two that do not listen may have one port');
  one.close();
  text.close();
}, onPort);

both('IPv6', async ({ t, net, peer }) => {
  const first = refusal(() => new net.BoundSocket({ host: '::1' }).close());
  if (first) {
    t.skip(`there is no IPv6 here: ${first.code}`);
    return;
  }
  const dual = new net.BoundSocket({ host: '::' }), only = new net.BoundSocket({ ipv6Only: true });
  assert.equal(only.address().address, '::', 'where only IPv6 is asked for');
  assert.deepEqual([dual.address().family, dual.address().address], ['IPv6', '::']);
  for (const [bound, answer] of [[dual, 'connect'], [only, 'error ECONNREFUSED']]) {
    const { port } = bound.address();
    const server = net.createServer((socket) => socket.end()).listen(bound);
    await within(once(server, 'listening'), 'listening');
    const client = new peer.Socket();
    assert.equal((await outcome(client, port, '127.0.0.1')).includes(answer), true, answer);
    client.destroy();
    await closed(client);
    await ended(server);
  }
}, onPort);

both('reusePort', async ({ net }) => {
  const first = new net.BoundSocket({ ...local, reusePort: true }), { port } = first.address();
  const second = new net.BoundSocket({ ...local, port, reusePort: true });
  const servers = [first, second].map((bound) => net.createServer().listen(bound));
  await Promise.all(servers.map((server) => within(once(server, 'listening'), 'listening')));
  assert.equal(refusal(() => new net.BoundSocket({ ...local, port })).code, 'EADDRINUSE');
  await Promise.all(servers.map(ended));
}, onPort);

both('a path is bound, and its file goes', async ({ net, peer, file, directory }) => {
  const bound = new net.BoundSocket({ path: file() });
  assert.deepEqual([bound.address(), bound.isPipe, bound.fd() > 2], [file(), true, true]);
  assert.equal(isSocket(file()), true);
  const refused = peer.connect(file());
  assert.equal((await within(once(refused, 'error'), 'error'))[0].code, 'ECONNREFUSED');
  assert.deepEqual(refusal(() => new net.BoundSocket({ path: file() })),
    { code: 'EADDRINUSE', errno: -98, syscall: 'bind', address: undefined, port: undefined, message: 'bind EADDRINUSE' });
  bound.close();
  assert.equal(fs.existsSync(file()), false);
  isTaken(net, bound);
  assert.equal(bound.isPipe, true);
  const before = process.cwd();
  process.chdir(directory);
  try {
    const relative = new net.BoundSocket({ path: 'a.sock' });
    assert.deepEqual([relative.address(), isSocket(file())], ['a.sock', true]);
    relative.close();
  } finally {
    process.chdir(before);
  }
  const abstract = new net.BoundSocket({ path: '\0sockref-bound' });
  assert.equal(abstract.address(), '\0sockref-bound');
  abstract.close();
  const mask = process.umask(0o027);
  try {
    const masked = new net.BoundSocket({ path: file() });
    assert.equal(fs.statSync(file()).mode & 0o777, 0o750, 'the umask decides');
    masked.close();
  } finally {
    process.umask(mask);
  }
}, onPath);

both('what cannot be bound', async ({ net, serve, file }) => {
  const server = await serve({}, undefined, tcp), { port } = server.address();
  assert.deepEqual(refusal(() => new net.BoundSocket({ ...local, port })), { code: 'EADDRINUSE', errno: -98, syscall: 'bind',
    address: '127.0.0.1', port, message: `bind EADDRINUSE 127.0.0.1:${port}` });
  assert.deepEqual(refusal(() => new net.BoundSocket({ host: '192.0.2.1' })), { code: 'EADDRNOTAVAIL', errno: -99, syscall: 'bind',
    address: '192.0.2.1', port: undefined, message: 'bind EADDRNOTAVAIL 192.0.2.1' });
  for (const place of [file('none/a.sock'), path.relative('.', file('none/a.sock'))]) {
    assert.deepEqual(refusal(() => new net.BoundSocket({ path: place })), { code: 'EACCES', errno: -13, syscall: 'bind',
      address: undefined, port: undefined, message: 'bind EACCES' });
  }
  assert.equal(refusal(() => new net.BoundSocket({ path: 'a\0b' })).code, 'EINVAL');
}, onPath);

both('what it refuses', async ({ net }) => {
  const type = (what, of, got) => ({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE',
    message: `The "${what}" ${what.includes('.') ? 'property' : 'argument'} must be of type ${of}. Received ${got}` });
  const value = (message) => ({ name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE', message });
  const exclusive = 'The argument \'options\' path is mutually exclusive with host, port, ipv6Only, and reusePort. Received ';
  const numeric = 'The property \'options.host\' must be a numeric IP address; net.BoundSocket does not perform DNS resolution. Received ';
  const port = (got) => ({ name: 'RangeError', code: 'ERR_SOCKET_BAD_PORT',
    message: `options.port should be >= 0 and < 65536. Received type ${got}.` });
  for (const [options, wanted] of [
    [null, type('options', 'object', 'null')],
    ['x', type('options', 'object', "type string ('x')")],
    [[], type('options', 'object', 'an instance of Array')],
    [{ host: 5 }, type('options.host', 'string', 'type number (5)')],
    [{ host: 'localhost' }, value(`${numeric}'localhost'`)],
    [{ host: '' }, value(`${numeric}''`)],
    [{ port: 65536 }, port('number (65536)')],
    [{ port: '', host: 'x' }, port("string ('')")],
    [{ ipv6Only: 1, host: 'x' }, type('options.ipv6Only', 'boolean', 'type number (1)')],
    [{ reusePort: 1 }, type('options.reusePort', 'boolean', 'type number (1)')],
    [{ path: 5 }, type('options.path', 'string', 'type number (5)')],
    [{ path: null }, type('options.path', 'string', 'null')],
    [{ path: '/x', port: 1 }, value(`${exclusive}{ path: '/x', port: 1 }`)],
    [{ path: '/x', ipv6Only: false }, value(`${exclusive}{ path: '/x', ipv6Only: false }`)],
    [{ path: 5, host: null }, value(`${exclusive}{ path: 5, host: null }`)],
  ]) {
    assert.deepEqual(errorOf(() => new net.BoundSocket(options)), wanted);
  }
  const withoutNew = errorOf(() => net.BoundSocket());
  assert.deepEqual(withoutNew,
    { name: 'TypeError', code: undefined, message: "Class constructor BoundSocket cannot be invoked without 'new'" });
}, onPath);

both('Symbol.dispose closes what nobody has taken', async ({ t, net, file }) => {
  if (!Symbol.dispose) {
    t.skip('this Node has none');
    return;
  }
  const bound = new net.BoundSocket({ path: file() });
  bound[Symbol.dispose]();
  assert.equal(fs.existsSync(file()), false);
  bound[Symbol.dispose]();
  isTaken(net, bound);
}, onPath);

// ---- to listen -----------------------------------------------------------------------------------------------

both('a server takes a port', async ({ net, peer }) => {
  for (const [i, listen] of [(server, bound, told) => server.listen(bound, told),
    (server, bound, told) => server.listen(bound, 5, told),
    (server, bound, told) => server.listen({ handle: bound, backlog: 5, port: 'bad' }, told)].entries()) {
    const bound = new net.BoundSocket(local), address = bound.address();
    const server = net.createServer((socket) => socket.end('x'));
    const told = new Promise((resolve) => { assert.equal(listen(server, bound, resolve), server); });
    assert.deepEqual([server.listening, server.address()], [true, address], `form ${i}`);
    isTaken(net, bound);
    await within(told, 'listening');
    assert.equal(String(await received(peer.connect(address.port, '127.0.0.1'))), 'x');
    assert.throws(() => server.listen(new net.BoundSocket(local)), { code: 'ERR_SERVER_ALREADY_LISTEN' });
    await ended(server);
    assert.equal(server.address(), null);
    server.listen(tcp);
    await within(once(server, 'listening'), 'listening');
    await ended(server);
  }
}, onPort);

both('a server takes a path, and removes its file', async ({ net, peer, file }) => {
  const bound = new net.BoundSocket({ path: file() });
  const server = net.createServer((socket) => socket.end('x')).listen({ handle: bound });
  assert.deepEqual([server.listening, server.address()], [true, file()]);
  isTaken(net, bound);
  await within(once(server, 'listening'), 'listening');
  assert.equal(String(await received(peer.connect(file()))), 'x');
  await ended(server);
  assert.equal(fs.existsSync(file()), false);
}, onPath);

both('the first to listen has the port', async ({ net }) => {
  const first = new net.BoundSocket(local), { port } = first.address();
  const second = new net.BoundSocket({ ...local, port });
  const server = net.createServer().listen(first);
  const late = net.createServer().listen(second);
  const [error] = await within(once(late, 'error'), 'error');
  assert.deepEqual([error.message, error.code, error.address, error.port],
    ['listen EADDRINUSE: address already in use', 'EADDRINUSE', null, -1]);
  assert.equal(late.listening, false);
  isTaken(net, second);
  await ended(server);
}, onPort);

// ---- to connect ----------------------------------------------------------------------------------------------

both('a socket takes a port, and connects from it', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.end(String(socket.remotePort)), tcp);
  const bound = new net.BoundSocket(), address = bound.address();
  const socket = new net.Socket({ handle: bound });
  isTaken(net, bound);
  assert.deepEqual([socket.localAddress, socket.localPort, socket.localFamily, socket.address()],
    ['0.0.0.0', address.port, 'IPv4', address]);
  assert.deepEqual([socket.remoteAddress, socket.readyState, socket.pending, socket.connecting, socket.bufferSize],
    [undefined, 'open', false, false, 0]);
  socket.connect(placeOf(server));
  assert.deepEqual([socket.readyState, socket.pending, socket.localPort], ['opening', true, address.port]);
  await within(once(socket, 'connect'), 'connect');
  assert.deepEqual([socket.localAddress, socket.localPort, socket.remotePort], ['127.0.0.1', address.port, server.address().port]);
  assert.equal(String(await received(socket)), String(address.port));
  await closed(socket);
  assert.deepEqual([socket.localPort, socket.address(), socket.pending], [undefined, {}, true]);
}, onPort);

both('net.connect takes it, what is written waits, and settings hold', async ({ net, serve, placeOf }) => {
  const server = await serve({}, (socket) => socket.pipe(socket), tcp);
  const socket = net.connect({ handle: new net.BoundSocket(local), ...placeOf(server), noDelay: true, keepAlive: true });
  assert.equal(socket.localPort > 0, true);
  socket.setTimeout(60_000).end('early');
  assert.equal(String(await received(socket)), 'early');
  await closed(socket);
}, onPort);

both('a host has one attempt, at the first address', async ({ net, serve }) => {
  const server = await serve({}, undefined, tcp);
  const lookup = (host, options, answer) => {
    assert.equal(options.all, undefined);
    answer(null, '127.0.0.1', 4);
  };
  const to = { host: 'two.example', port: server.address().port, lookup, autoSelectFamily: true };
  const socket = new net.Socket({ handle: new net.BoundSocket(local) });
  assert.deepEqual(await outcome(socket, to), ['lookup', 'connectionAttempt 127.0.0.1', 'connect']);
  socket.destroy();
  await closed(socket);
}, onPort);

both('a socket takes a path, and removes its file', async ({ net, serve, file }) => {
  await serve({}, (socket) => socket.resume());
  const socket = new net.Socket({ handle: new net.BoundSocket({ path: file('own') }) });
  assert.deepEqual([socket.localAddress, socket.localPort, socket.localFamily, socket.address()],
    [file('own'), undefined, undefined, { address: file('own') }]);
  socket.connect(file());
  await within(once(socket, 'connect'), 'connect');
  assert.deepEqual([socket.localAddress, socket.address(), isSocket(file('own'))], [file('own'), { address: file('own') }, true]);
  socket.end();
  await closed(socket);
  assert.equal(fs.existsSync(file('own')), false);
}, onPath);

both('a connect that fails frees the name', async ({ net, file }) => {
  const port = new net.BoundSocket(local);
  const socket = new net.Socket({ handle: port });
  assert.deepEqual(await outcome(socket, 1, '127.0.0.1'),
    ['connectionAttempt 127.0.0.1', 'connectionAttemptFailed 127.0.0.1', 'error ECONNREFUSED', 'close']);
  const unix = new net.Socket({ handle: new net.BoundSocket({ path: file() }) });
  assert.deepEqual(await outcome(unix, file('none')),
    [`connectionAttempt ${file('none')}`, `connectionAttemptFailed ${file('none')}`, 'error ENOENT', 'close']);
  assert.equal(fs.existsSync(file()), false);
}, onPath);

both('an address of the other family', async ({ t, net, serve }) => {
  const server = await serve({}, undefined, tcp), { port } = server.address();
  const socket = new net.Socket({ handle: new net.BoundSocket(local) });
  const own = `127.0.0.1:${socket.localPort}`;
  let error;
  socket.once('error', (given) => { error = given; });
  assert.deepEqual(await outcome(socket, port, '::1'), ['connectionAttempt ::1', 'error EAFNOSUPPORT', 'close']);
  assert.equal(error.message, `connect EAFNOSUPPORT ::1:${port} - Local (${own})`);
  if (refusal(() => new net.BoundSocket({ host: '::1' }).close())) {
    t.diagnostic('there is no IPv6 here');
    return;
  }
  const other = new net.Socket({ handle: new net.BoundSocket({ host: '::' }) });
  assert.deepEqual(await outcome(other, port, '127.0.0.1'), ['connectionAttempt 127.0.0.1', 'error EINVAL', 'close']);
}, onPort);

both('what connect refuses then', async ({ net, serve, file }) => {
  const server = await serve({}, undefined, tcp), { port } = server.address();
  const message = 'The argument \'options\' localAddress and localPort cannot be used with an adopted bound socket. Received ';
  for (const extra of [{ localAddress: '127.0.0.1' }, { localPort: 0 }, { localPort: null }]) {
    const socket = new net.Socket({ handle: new net.BoundSocket(local) });
    const { code, message: got } = errorOf(() => socket.connect({ port, ...extra }));
    assert.deepEqual([code, got.startsWith(message)], ['ERR_INVALID_ARG_VALUE', true]);
    socket.destroy();
  }
  const unix = new net.Socket({ handle: new net.BoundSocket({ path: file() }) });
  assert.throws(() => unix.connect({ port, host: '127.0.0.1' }),
    { code: 'ERR_INVALID_ARG_TYPE', message: 'The "options.path" property must be of type string. Received undefined' });
  assert.throws(() => unix.resetAndDestroy(), { code: 'ERR_INVALID_HANDLE_TYPE' });
  unix.destroy();
  assert.equal(fs.existsSync(file()), false);
}, onPath);

both('destroyed before it connects it frees the name; it connects anew from a fresh one', async ({ net, serve, placeOf, file }) => {
  const server = await serve({}, (socket) => socket.resume(), tcp);
  const bound = new net.BoundSocket(local), { port } = bound.address();
  const socket = new net.Socket({ handle: bound });
  const told = within(once(socket, 'close'), 'close');
  socket.destroy();
  assert.deepEqual(await told, [false]);
  const other = net.createServer().listen(port, '127.0.0.1');
  await within(once(other, 'listening'), 'listening');
  socket.connect(placeOf(server));
  await within(once(socket, 'connect'), 'connect');
  assert.notEqual(socket.localPort, port);
  socket.destroy();
  await closed(socket);
  await ended(other);
  const unix = new net.Socket({ handle: new net.BoundSocket({ path: file() }) });
  unix.destroy();
  assert.equal(fs.existsSync(file()), false);
  const reset = new net.Socket({ handle: new net.BoundSocket(local) });
  reset.resetAndDestroy();
  assert.deepEqual(await within(once(reset, 'close'), 'close'), [false]);
}, onPath);

both('to write before it connects is an error', async ({ net, file }) => {
  for (const [options, code] of [[local, 'EPIPE'], [{ path: file() }, 'ENOTCONN']]) {
    const socket = new net.Socket({ handle: new net.BoundSocket(options) });
    const events = trace(socket, ['error', 'close'], (name, value) => value.message ?? value);
    const told = new Promise((resolve) => { socket.write('x', resolve); });
    assert.equal((await within(told, 'callback')).code, code);
    await closed(socket);
    assert.deepEqual(events, [`error write ${code}`, 'close true']);
  }
  assert.equal(fs.existsSync(file()), false);
}, onPath);

// ---- of ours -------------------------------------------------------------------------------------------------

const lib = path.join(root, 'lib', 'net.js');
const program = (body, ...args) => ['-e', `const net = require(process.argv[1]); const [, , place] = process.argv; ${body}`, lib, ...args];

scenario('the name is counted, also when the BoundSocket has been taken', async ({ file }) => {
  const before = sockref.liveCounts().references;
  const bound = new sockrefNet.BoundSocket({ path: file() });
  assert.equal(sockref.liveCounts().references, before + 1);
  const socket = new sockrefNet.Socket({ handle: bound });
  assert.equal(sockref.liveCounts().references, before + 1);
  socket.destroy();
  assert.equal(sockref.liveCounts().references, before);
});

scenario('a dead socket file is replaced', async ({ file }) => {
  const { signal } = await run([path.join(__dirname, '..', 'programs', 'leave-socket.js'), file()]);
  assert.equal(signal, 'SIGKILL');
  await until(() => Date.now() - fs.statSync(file()).mtimeMs > 600, 'age');
  new sockrefNet.BoundSocket({ path: file() }).close();
  assert.equal(fs.existsSync(file()), false);
});

scenario('a path that is too long, or empty', async ({ file }) => {
  assert.equal(refusal(() => new sockrefNet.BoundSocket({ path: file('x'.repeat(108)) })).code, 'ENAMETOOLONG');
  assert.equal(refusal(() => new sockrefNet.BoundSocket({ path: '' })).code, 'EINVAL');
});

scenario('what is forgotten is collected', async ({ file }) => {
  (() => {
    new sockrefNet.BoundSocket({ path: file('bound') });
    new sockrefNet.Socket({ handle: new sockrefNet.BoundSocket({ path: file('adopted') }) });
  })();
  assert.equal(isSocket(file('bound')) && isSocket(file('adopted')), true);
  await collect(() => !isSocket(file('bound')) && !isSocket(file('adopted')));
});

scenario('it keeps no process alive, and leaves no file', async ({ file }) => {
  const { code, out, err } = await run(program(`
    const bound = new net.BoundSocket({ path: place });
    new net.Socket({ handle: new net.BoundSocket({ path: place + '2' }) });
    console.log(require('node:fs').existsSync(place));
  `, file()));
  assert.deepEqual([code, out, err], [0, 'true\n', '']);
  assert.deepEqual([fs.existsSync(file()), fs.existsSync(file('a.sock2'))], [false, false]);
});

scenario('a process that is killed leaves no file of one', async ({ file }) => {
  const child = spawn(process.execPath, program(`
    globalThis.kept = [new net.BoundSocket({ path: place }), new net.Socket({ handle: new net.BoundSocket({ path: place + '2' }) })];
    kept[1].connect(place + '3', () => console.log('connected'));
  `, file()), { stdio: ['ignore', 'pipe', 'inherit'] });
  const server = nodeNet.createServer().listen(file('a.sock3'));
  await within(once(child.stdout, 'data'), 'connected');
  assert.equal(isSocket(file()) && isSocket(file('a.sock2')), true);
  child.kill('SIGKILL');
  await within(once(child, 'exit'), 'exit');
  await until(() => !isSocket(file()) && !isSocket(file('a.sock2')), 'the guard');
  await ended(server);
});

scenario('in a worker, which takes with it what it has bound', async ({ file }) => {
  const worker = new Worker(`
    const { parentPort, workerData } = require('node:worker_threads');
    const net = require(workerData.lib);
    const server = net.createServer((socket) => socket.end('x')).listen(new net.BoundSocket({ path: workerData.place }), () => {
      const client = net.connect({ handle: new net.BoundSocket({ path: workerData.own }), path: workerData.place }).resume();
      client.on('close', () => {
        globalThis.kept = new net.BoundSocket({ path: workerData.own });
        parentPort.postMessage('closed');
      });
    });
  `, { eval: true, workerData: { lib, place: file(), own: file('own') } });
  await within(once(worker, 'message'), 'message');
  assert.equal(isSocket(file()) && isSocket(file('own')), true);
  await worker.terminate();
  await until(() => !isSocket(file()) && !isSocket(file('own')), 'the end of the worker');
});
