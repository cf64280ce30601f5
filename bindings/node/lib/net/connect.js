'use strict';

// Connecting: to a path at once, to an address in the next tick, to a host once it is looked up. The library tries
// several addresses one after the other, and tells of each attempt.

const { AsyncResource } = require('node:async_hooks');
const dns = require('node:dns');
const { isIP } = require('node:net');
const { nextTick } = require('node:process');
const channels = require('./channels.js');
const events = require('../events.js');
const low = require('../low.js');
const { nativeOf } = require('../reference.js');
const defaults = require('./defaults.js');
const errors = require('./errors.js');
const state = require('./state.js');
const timeouts = require('./timeouts.js');
const { nameToConnect, tcpName } = require('./names.js');
const { isString, isHost, isNumber, isFunction, isBlockList, portOf, normalize, isNormalized } = require('./validate.js');

const { kIsOpen, kResource, kConnect, kBound } = state;

const HALF_OPEN = 2; // SOCKREF_CONN_HALF_OPEN
const BEGUN = 1, FAILED = 2; // SOCKREF_ATTEMPT_*
const FROM_BIND = 1; // of src/batch.h
const INVALID = -22; // EINVAL
const IN_USE = -98; // EADDRINUSE
const CONNECTED = -106; // EISCONN
const LATE = -110; // ETIMEDOUT
const CONNECTING = -114; // EALREADY

/** As socket.connect(...args). The module's connect() gives them normalized, and its options to the new socket first. */
function connect(socket, args) {
  const isOfNew = isNormalized(args[0]);
  const [options, callback] = isOfNew ? args[0] : normalize(args);
  if (channels.clientSocket.hasSubscribers) channels.clientSocket.publish({ socket });
  if (callback !== null) socket.once('connect', callback);
  if (options.port === undefined && (options.path === undefined || options.path === null)) {
    throw errors.missingArgs('options', 'port', 'path');
  }
  const bound = socket[kBound];
  const isToPath = bound ? bound.isPipe : Boolean(options.path);
  if (bound) checkBound(options);
  const begin = isToPath ? toPath(options.path) : toHost(options, bound);
  if (isOfNew && options.signal?.aborted) return; // the stream has seen to it
  if (socket.destroyed) state.revive(socket);
  if (options.blockList) socket.blockList = options.blockList;
  if (socket.connecting || socket[kIsOpen]) {
    refuseSecond(socket, options, isToPath);
    return;
  }
  socket.connecting = true;
  socket[kResource] = new AsyncResource('SOCKREFSOCKET');
  socket[kConnect] = { family: isToPath ? undefined : 0 };
  timeouts.touch(socket);
  begin(socket);
}

function fail(socket, error) {
  nextTick(() => socket.destroy(error));
}

// What the system says where there is a connection, or is about to be.
function refuseSecond(socket, { path, host, port }, isToPath) {
  const place = isToPath ? [path, undefined, undefined] : [host, port, isIP(host ?? '')];
  const error = errors.connectFailed(isToPath || !socket.connecting ? CONNECTED : CONNECTING, 'connect', place[0], place[1]);
  socket.connecting = true;
  if (isToPath) socket.emit('connectionAttempt', ...place);
  later(socket, () => {
    if (place[2]) socket.emit('connectionAttempt', ...place);
    if (isToPath) socket.emit('connectionAttemptFailed', ...place, error);
    socket.destroy(error);
  });
}

// The function, for this connect alone: it is not called where the socket was destroyed and connects anew.
function ofThis(socket, body) {
  const scope = socket[kResource];
  return (...args) => {
    if (socket[kResource] === scope) scope.runInAsyncScope(body, null, ...args);
  };
}

// Calls back in the next tick, unless the socket was destroyed meanwhile.
function later(socket, body) {
  nextTick(ofThis(socket, () => {
    if (socket.connecting) body();
  }));
}

function toPath(path) {
  isString(path, 'options.path');
  return (socket) => {
    socket[kConnect] = { address: path };
    socket.emit('connectionAttempt', path, undefined, undefined);
    if (!socket.connecting) return;
    const name = nameToConnect(path);
    open(socket, name.includes(0) ? null : name, { addresses: [], isTold: false, attemptDelay: 0, localHost: '', localPort: 0 });
  };
}

function checkBound(options) {
  if (options.localAddress !== undefined || options.localPort !== undefined) {
    throw errors.invalidArgValue('options', options, 'localAddress and localPort cannot be used with an adopted bound socket');
  }
}

function checkHost(options) {
  const { host, localAddress, localPort, port, lookup, blockList } = options;
  if (host) isHost(host, 'options.host');
  if (localAddress && !isIP(localAddress)) throw errors.invalidAddress(localAddress);
  if (localPort) isNumber(localPort, 'options.localPort');
  if (port !== undefined && typeof port !== 'number' && typeof port !== 'string') {
    throw errors.invalidArgType('options.port', 'one of type number or string', port);
  }
  if (lookup !== undefined && lookup !== null && !isIP(host)) isFunction(lookup, 'options.lookup');
  if (blockList) isBlockList(blockList, 'options.blockList');
}

// A bound socket has one attempt.
function toHost(options, bound) {
  checkHost(options);
  const target = {
    host: options.host || 'localhost',
    port: options.port === undefined ? 0 : portOf(options.port),
    localAddress: options.localAddress || '',
    localPort: options.localPort || 0,
    ...defaults.selection(options),
    ...(bound && { autoSelectFamily: false }),
  };
  const family = isIP(target.host);
  if (family) return (socket) => later(socket, () => toOne(socket, target, { address: target.host, family }));
  return (socket) => lookUp(socket, target, options);
}

const families = { IPv4: 4, IPv6: 6 };

function lookUp(socket, target, options) {
  const lookup = options.lookup ?? dns.lookup;
  const asked = { family: families[options.family] ?? options.family, hints: options.hints || 0 };
  const isOfOne = asked.family === 4 || asked.family === 6;
  if (!isOfOne && asked.hints === 0) asked.hints = dns.ADDRCONFIG;
  if (!isOfOne && !target.localAddress && target.autoSelectFamily) {
    lookup(target.host, { ...asked, all: true }, firstOnly(ofThis(socket, (error, found) => {
      if (socket.connecting) foundAll(socket, target, error, found);
    })));
  } else {
    lookup(target.host, asked, firstOnly(ofThis(socket, (error, address, family) => {
      foundOne(socket, target, error, { address, family });
    })));
  }
}

// A lookup of the program's may answer twice; there is one connection to make.
function firstOnly(answer) {
  let isAnswered = false;
  return (...args) => {
    if (isAnswered) return;
    isAnswered = true;
    answer(...args);
  };
}

// Why an address cannot be tried; undefined where it can.
function refuse({ address, family }, { host, port }) {
  if (typeof address !== 'string' || !isIP(address)) return errors.invalidAddress(address);
  return family === 4 || family === 6 ? undefined : errors.invalidFamily(family, host, port);
}

function foundOne(socket, target, error, place) {
  socket.emit('lookup', error, place.address, place.family, target.host);
  if (!socket.connecting) return;
  const wrong = error ?? refuse(place, target);
  if (wrong) {
    fail(socket, wrong);
    return;
  }
  timeouts.touch(socket);
  toOne(socket, target, place);
}

function foundAll(socket, target, error, answer) {
  if (error) {
    socket.emit('lookup', error, undefined, undefined, target.host);
    fail(socket, error);
    return;
  }
  const found = Array.isArray(answer) ? answer : []; // a lookup of the program's may not know the option all
  for (const { address, family } of found) {
    socket.emit('lookup', error, address, family, target.host);
    if (!socket.connecting) return;
  }
  const places = alternate(found.filter((place) => !refuse(place, target)));
  if (places.length === 0) {
    fail(socket, refuse(found[0] ?? {}, target));
    return;
  }
  timeouts.touch(socket);
  if (places.length === 1) toOne(socket, target, places[0]);
  else toSeveral(socket, target, places);
}

/** Each address once, the families in turns, beginning with that of the first. */
function alternate(places) {
  const queues = [[], []];
  for (const place of places) {
    const queue = queues[place.family === places[0].family ? 0 : 1];
    if (!queue.some(({ address }) => address === place.address)) queue.push(place);
  }
  const most = Math.max(...queues.map(({ length }) => length));
  return Array.from({ length: most }, (_, i) => queues.map((queue) => queue[i])).flat().filter(Boolean);
}

const isBlocked = (socket, { address, family }) => socket.blockList?.check(address, `ipv${family}`);

// Why the local end cannot be bound, where that is known before the system is asked.
function localError({ localAddress, localPort }, family) {
  const isOfOther = localAddress !== '' && isIP(localAddress) !== family;
  if (!isOfOther && Number.isInteger(localPort) && localPort >= 0 && localPort <= 65535) return undefined;
  return bindFailed(isOfOther ? INVALID : IN_USE, localAddress, localPort, family);
}

function bindFailed(status, localAddress, localPort, family) {
  return errors.connectFailed(status, 'bind', localAddress || (family === 6 ? '::' : '0.0.0.0'), localPort);
}

function toOne(socket, target, { address, family }) {
  const { port } = target;
  const wrong = localError(target, family);
  if (wrong) {
    socket.destroy(wrong);
    return;
  }
  socket[kConnect] = Object.assign(target, { address, family });
  socket.emit('connectionAttempt', address, port, family);
  if (!socket.connecting) return;
  if (isBlocked(socket, { address, family })) socket.destroy(errors.blocked(address));
  else openTcp(socket, target, [{ address, family, port }]);
}

function toSeveral(socket, target, places) {
  const blocked = new Set(places.filter((place) => isBlocked(socket, place)));
  const free = places.filter((place) => !blocked.has(place)).map((place) => ({ ...place, port: target.port }));
  socket[kConnect] = { ...target, blocked, free, waiting: places, failures: [] };
  socket.autoSelectFamilyAttemptedAddresses = [];
  const wrong = places.map(({ family }) => localError(target, family));
  if (wrong[0]) {
    socket.destroy(errors.allFailed(wrong));
    return;
  }
  passBlocked(socket);
  if (!socket.connecting) return;
  if (free.length > 0) openTcp(socket, target, free, true);
  else socket.destroy(errors.allFailed(socket[kConnect].failures));
}

// Addresses that are blocked fail when it is their turn.
function passBlocked(socket) {
  const { blocked, waiting } = socket[kConnect];
  while (socket.connecting && blocked.has(waiting[0])) {
    const place = waiting.shift();
    attemptFailed(socket, place, errors.blocked(place.address));
  }
}

function openTcp(socket, target, addresses, isTold = false) {
  open(socket, tcpName(addresses[0].address, target.port), {
    addresses, isTold, attemptDelay: target.attemptTimeout, localHost: target.localAddress, localPort: target.localPort,
  });
}

function open(socket, name, options) {
  events.listen();
  const from = socket[kBound]?.reference;
  const given = { flags: HALF_OPEN, keepAliveDelay: 0, from: from ? nativeOf(from) : null, ...options };
  const slot = name === null ? INVALID : low.connect(name, given);
  from?.close(); // the connection has one of its own
  if (slot < 0) connectEnded(socket, slot);
  else state.attach(socket, slot);
}

function attemptFailed(socket, { address, family }, error) {
  const { port, failures } = socket[kConnect];
  failures.push(error);
  socket.emit('connectionAttemptFailed', address, port, family, error);
}

/** The library tells of one of several addresses. */
function afterAttempt(socket, told, status) {
  const { free, waiting, port, failures } = socket[kConnect];
  const place = free[told >> 4];
  const event = told & 15;
  if (event === BEGUN) {
    waiting.shift();
    socket.autoSelectFamilyAttemptedAddresses.push(`${place.address}:${port}`);
    socket.emit('connectionAttempt', place.address, port, place.family);
  } else if (event === FAILED) {
    attemptFailed(socket, place, errors.connectFailed(status, 'connect', place.address, port));
  } else {
    failures.push(errors.connectFailed(LATE, 'connect', place.address, port));
    socket.emit('connectionAttemptTimeout', place.address, port, place.family);
  }
  if (event !== BEGUN) passBlocked(socket);
}

/** It has failed for good. */
function connectEnded(socket, status, from) {
  const { address, port, family, localAddress, localPort, failures } = socket[kConnect];
  if (failures) {
    socket.destroy(failures.length > 0 ? errors.allFailed(failures) : errors.plainError('connectionTimeout'));
  } else if (from === FROM_BIND) {
    socket.destroy(bindFailed(status, localAddress, localPort, family));
  } else if (isOfOtherFamily(socket[kBound], family)) {
    socket.destroy(errors.connectFailed(status, 'connect', address, port, socket[kBound].local));
  } else {
    const local = localAddress && localPort ? { address: localAddress, port: localPort } : undefined;
    const error = errors.connectFailed(status, 'connect', address, port, local);
    socket.emit('connectionAttemptFailed', address, port, family, error);
    socket.destroy(error);
  }
}

// Then nothing was attempted.
function isOfOtherFamily(bound, family) {
  return bound !== undefined && !bound.isPipe && bound.local.family !== `IPv${family}`;
}

module.exports = { connect, afterAttempt, connectEnded };
