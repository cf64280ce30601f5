'use strict';

// What is refused, and how: each call is made of node:net and of sockref/net, and the errors must be the same.

const { assert, nodeNet, sockrefNet, errorOf } = require('./harness.js');
const { test } = require('node:test');
const { inspect } = require('node:util');

const major = Number.parseInt(process.versions.node, 10);
const wrong = [undefined, null, true, 1, -1, 1.5, NaN, '', 'x', {}, [], () => {}, Symbol('s')];

/** The error of a call of each must be the same. Sockets and servers that it makes are ended. */
function same(what, call) {
  const outcomes = [nodeNet, sockrefNet].map((net) => {
    const made = [];
    const keep = (thing) => {
      made.push(thing);
      return thing.on('error', () => {});
    };
    const error = errorOf(() => call(net, keep));
    for (const thing of made) (thing.destroy ?? thing.close).call(thing);
    return error;
  });
  assert.deepEqual(outcomes[1], outcomes[0], what);
  return outcomes[0];
}

function sameForAll(what, values, call) {
  for (const value of values) same(`${what}: ${inspect(value)}`, (net, keep) => call(net, keep, value));
}

const numbers = wrong.filter((value) => typeof value !== 'symbol');

test('options of a socket', () => {
  for (const name of ['objectMode', 'readableObjectMode', 'writableObjectMode']) {
    assert.equal(same(name, (net, keep) => keep(new net.Socket({ [name]: true }))).code, 'ERR_INVALID_ARG_VALUE');
  }
  sameForAll('keepAliveInitialDelay', wrong, (net, keep, value) => keep(new net.Socket({ keepAliveInitialDelay: value })));
  sameForAll('fd', [-1, 1.5, 'x', 99999], (net, keep, value) => keep(new net.Socket({ fd: value })));
  sameForAll('signal', [1, 'x', {}], (net, keep, value) => keep(new net.Socket({ signal: value })));
});

test('options of a server', () => {
  sameForAll('options', [1, true, 'x', Symbol('s'), null, undefined, {}], (net, keep, value) => keep(net.createServer(value)));
  sameForAll('keepAliveInitialDelay', wrong,
    (net, keep, value) => keep(net.createServer({ keepAliveInitialDelay: value })));
  sameForAll('highWaterMark', wrong, (net, keep, value) => keep(net.createServer({ highWaterMark: value })));
});

test('connect without a place', () => {
  assert.equal(same('nothing', (net, keep) => keep(new net.Socket()).connect()).code, 'ERR_MISSING_ARGS');
  assert.equal(same('empty', (net, keep) => keep(new net.Socket()).connect({})).code, 'ERR_MISSING_ARGS');
  same('only a function', (net, keep) => keep(new net.Socket()).connect(() => {}));
});

test('ports of a connect', () => {
  const values = [null, true, -1, 1.5, NaN, 65536, '', ' ', 'x', '65536', '-1', '0x1ffff', {}, [], () => {}];
  sameForAll('port', values, (net, keep, port) => keep(new net.Socket()).connect({ port, host: '127.0.0.1' }));
});

test('hosts and local ends of a connect', () => {
  const connect = (net, keep, options) => keep(new net.Socket()).connect({ port: 1, ...options });
  for (const host of [1, true, {}, ['127.0.0.1'], Symbol('s'), 'a\0b', '127.0.0.1\0']) { // Node 20 does not look at all of them
    const { code } = errorOf(() => new sockrefNet.Socket().connect({ port: 1, host }));
    assert.equal(code, typeof host === 'string' ? 'ERR_INVALID_ARG_VALUE' : 'ERR_INVALID_ARG_TYPE', inspect(host));
    if (typeof host !== 'string' && major >= 22) same('host', (net, keep) => connect(net, keep, { host }));
  }
  sameForAll('localAddress', ['x', '1.2.3', '::x'], (net, keep, localAddress) => connect(net, keep, { localAddress }));
  sameForAll('localPort', [true, 'x', {}, '1'], (net, keep, localPort) => connect(net, keep, { localPort }));
  sameForAll('lookup', [1, 'x', {}], (net, keep, lookup) => connect(net, keep, { lookup, host: 'localhost' }));
  sameForAll('lookup of an address', [1, 'x', {}], (net, keep, lookup) => connect(net, keep, { lookup, host: '127.0.0.1' }));
  sameForAll('autoSelectFamily', [1, 'x', {}],
    (net, keep, autoSelectFamily) => connect(net, keep, { autoSelectFamily }));
  sameForAll('autoSelectFamilyAttemptTimeout', [0, -1, 1.5, 'x', true, 2 ** 31],
    (net, keep, autoSelectFamilyAttemptTimeout) => connect(net, keep, { autoSelectFamilyAttemptTimeout }));
  sameForAll('path', [1, {}, []], (net, keep, path) => keep(new net.Socket()).connect({ path }));
});

test('places to listen on', () => {
  const values = [[], ['x', 1], [{}], [{ port: -1 }], [{ port: 65536 }], [{ port: 'x' }], [{ port: '' }], [{ port: 1.5 }],
    [{ port: NaN }], [{ port: true }], [{ port: {} }], [{ path: 1 }], [{ path: '' }], [{ path: {} }], [{ fd: -1 }],
    [{ fd: 'x' }], [{ host: 'localhost' }], [true], [-1], [NaN], [65536], [Symbol.iterator]];
  for (const args of values.slice(2)) {
    same(`listen ${inspect(args)}`, (net, keep) => keep(net.createServer()).listen(...args));
  }
  sameForAll('signal', [1, 'x', {}], (net, keep, signal) => keep(net.createServer()).listen({ port: 0, signal }));
  same('abstract and for all', (net, keep) => keep(net.createServer()).listen({ path: '\0x', readableAll: true }));
});

test('a server that listens already', () => {
  assert.equal(same('while a host is looked up', (net, keep) => {
    const server = keep(net.createServer());
    server.listen({ port: 0, host: '127.0.0.1' });
    server.listen(0); // is quicker, and the earlier one is forgotten
    server.listen(0);
  }).code, 'ERR_SERVER_ALREADY_LISTEN');
  assert.equal(same('twice, bound', (net, keep) => {
    const server = keep(net.createServer());
    server.listen(0);
    server.listen(0);
  }).code, 'ERR_SERVER_ALREADY_LISTEN');
});

test('times and callbacks of a socket', () => {
  sameForAll('setTimeout', numbers, (net, keep, value) => keep(new net.Socket()).setTimeout(value));
  sameForAll('setTimeout callback', [null, 1, 'x', {}], (net, keep, value) => keep(new net.Socket()).setTimeout(1, value));
  sameForAll('setTimeout 0 callback', [null, 1, 'x', {}], (net, keep, value) => keep(new net.Socket()).setTimeout(0, value));
  for (const value of numbers) {
    same(`setNoDelay ${inspect(value)}`, (net, keep) => keep(new net.Socket()).setNoDelay(value));
    same(`setKeepAlive ${inspect(value)}`, (net, keep) => keep(new net.Socket()).setKeepAlive(value, value));
  }
});

test('what may be written', () => {
  sameForAll('write', [undefined, null, 1, {}, [], () => {}], (net, keep, value) => keep(new net.Socket()).write(value));
  sameForAll('end', [1, {}, []], (net, keep, value) => keep(new net.Socket()).end(value));
  same('an unknown encoding', (net, keep) => keep(new net.Socket()).write('x', 'nonsense'));
});

test('defaults of the selection of a family', () => {
  sameForAll('setDefaultAutoSelectFamily', wrong.filter((value) => typeof value !== 'boolean'),
    (net, keep, value) => net.setDefaultAutoSelectFamily(value));
  sameForAll('setDefaultAutoSelectFamilyAttemptTimeout', [...wrong.filter((value) => value !== 1), 0],
    (net, keep, value) => net.setDefaultAutoSelectFamilyAttemptTimeout(value));
  for (const net of [nodeNet, sockrefNet]) {
    const [family, time] = [net.getDefaultAutoSelectFamily(), net.getDefaultAutoSelectFamilyAttemptTimeout()];
    net.setDefaultAutoSelectFamily(!family);
    net.setDefaultAutoSelectFamilyAttemptTimeout(1);
    assert.equal(net.getDefaultAutoSelectFamily(), !family);
    assert.equal(net.getDefaultAutoSelectFamilyAttemptTimeout(), 10, 'at least 10');
    net.setDefaultAutoSelectFamily(family);
    net.setDefaultAutoSelectFamilyAttemptTimeout(time);
  }
});

test('the type of service and the block list', () => {
  // Not in every Node that is supported: the errors are as in those that have them.
  const { Socket } = sockrefNet;
  for (const value of ['1', {}, NaN]) {
    assert.throws(() => new Socket().setTypeOfService(value), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const value of [-1, 256, 1.5]) {
    assert.throws(() => new Socket().setTypeOfService(value), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
    assert.throws(() => new Socket({ typeOfService: value }), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  }
  for (const call of [
    () => new Socket({ blockList: {} }),
    () => sockrefNet.createServer({ blockList: {} }),
    () => new Socket().connect({ port: 1, blockList: {} }),
  ]) {
    assert.throws(call, { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
});

test('the stack of an error begins as Node has it, and so does its text', () => {
  const told = (net) => {
    try {
      net.createServer().listen({ port: -1 });
      return undefined;
    } catch (error) {
      return [error.stack.split('\n')[0], String(error), Object.keys(error)];
    }
  };
  assert.deepEqual(told(sockrefNet), told(nodeNet));
});
