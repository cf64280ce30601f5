'use strict';

// Server: a reference to a name, served by sockets. It is a function, as Socket is.

const { AsyncResource } = require('node:async_hooks');
const dns = require('node:dns');
const { EventEmitter, addAbortListener } = require('node:events');
const { isIP } = require('node:net');
const { nextTick } = require('node:process');
const { getDefaultHighWaterMark } = require('node:stream');
const { setImmediate } = require('node:timers');
const { promisify } = require('node:util');
const { isBound, take } = require('./bound.js');
const channels = require('./channels.js');
const events = require('../events.js');
const low = require('../low.js');
const { nativeOf } = require('../reference.js');
const errors = require('./errors.js');
const listening = require('./listening.js');
const { accepted } = require('./socket.js');
const { kGone, nobody } = require('./state.js');
const { tcpAddress } = require('./names.js');
const { isNumber, isSignal, isBlockList, portOf, keepAliveDelay, toNumber, isPath, normalize } = require('./validate.js');

const { onOpen, onStop } = events;

// SOCKREF_CONN_*
const PAUSED = 1, HALF_OPEN = 2, NODELAY = 8, OUTLIVE = 64;

// A limit of 0 is one from Node 21 on, and none before.
const limits = Number.parseInt(process.versions.node, 10) >= 21 ? (most) => most !== undefined && most !== null : Boolean;

const kReference = Symbol('kReference');
const kPath = Symbol('kPath');
const kSockets = Symbol('kSockets');
const kHoldsProcess = Symbol('kHoldsProcess');
const kIsUnheld = Symbol('kIsUnheld');
const kListen = Symbol('kListen'); // the number of the last call: what a lookup finds for an earlier one is late

function Server(given, listener) {
  if (!(this instanceof Server)) return new Server(given, listener);
  EventEmitter.call(this);
  const connected = typeof given === 'function' ? given : listener;
  const options = typeof given === 'function' ? {} : given ?? {};
  if (typeof options !== 'object') throw errors.invalidArgType('options', 'of type object', given);
  if (typeof connected === 'function') this.on('connection', connected);
  if (options.highWaterMark !== undefined) isNumber(options.highWaterMark, 'options.highWaterMark');
  if (options.blockList) isBlockList(options.blockList, 'options.blockList');
  this.allowHalfOpen = options.allowHalfOpen || false;
  this.pauseOnConnect = Boolean(options.pauseOnConnect);
  this.noDelay = Boolean(options.noDelay);
  this.keepAlive = Boolean(options.keepAlive);
  this.keepAliveInitialDelay = keepAliveDelay(options) / 1000;
  const isUsual = options.highWaterMark === undefined || options.highWaterMark < 0;
  this.highWaterMark = isUsual ? getDefaultHighWaterMark(false) : options.highWaterMark;
  if (options.blockList) this.blockList = options.blockList;
  this[kReference] = null;
  this[kPath] = null;
  this[kSockets] = 0;
  this[kHoldsProcess] = false;
  this[kIsUnheld] = false;
  this[kListen] = 0;
}
Object.setPrototypeOf(Server.prototype, EventEmitter.prototype);
Object.setPrototypeOf(Server, EventEmitter);

// ---- listening -----------------------------------------------------------------------------------------------

Server.prototype.listen = function (...args) {
  const [given, callback] = normalize(args);
  if (this[kReference]) throw errors.plainError('alreadyListening');
  if (channels.serverListen?.hasSubscribers) channels.serverListen.asyncStart.publish({ server: this, options: given });
  if (callback !== null) this.once('listening', callback);
  const backlog = toNumber(args.length > 1 && args[1]) || toNumber(args.length > 2 && args[2]) || undefined;
  const call = ++this[kListen];
  const reference = listening.referenceIn(given);
  if (reference) {
    start(this, () => reference.clone(), reference.path, -1);
    return this;
  }
  const bound = [given, given.handle].find(isBound);
  if (bound) {
    listenOnBound(this, bound, given.backlog || backlog);
    return this;
  }
  const options = given._handle ?? given.handle ?? given;
  stopAtSignal(this, options);
  if (typeof options.fd === 'number' && options.fd >= 0) {
    start(this, () => listening.onDescriptor(options.fd, backlog), null, null);
  } else if (isForAnyPort(args, options)) {
    listenOnPort(this, call, { ...options, port: 0 }, backlog);
  } else if (typeof options.port === 'number' || typeof options.port === 'string') {
    listenOnPort(this, call, { ...options, port: portOf(options.port, 'options.port') }, backlog);
  } else if (options.path && isPath(options.path)) {
    listenOnPath(this, options, backlog);
  } else {
    throw 'port' in options || 'path' in options ? errors.invalidArgValue('options', options)
      : errors.invalidArgValue('options', options, 'must have the property "port" or "path"');
  }
  return this;
};

function isForAnyPort(args, options) {
  return args.length === 0 || typeof args[0] === 'function' || (options.port === undefined && 'port' in options) ||
    options.port === null;
}

function stopAtSignal(server, options) {
  const { signal } = options;
  if (signal === undefined) return;
  isSignal(signal, 'options.signal');
  const stop = () => server.close();
  if (signal.aborted) {
    nextTick(stop);
  } else {
    const listener = addAbortListener(signal, stop);
    server.once('close', () => listener[Symbol.dispose]());
  }
}

function listenOnPort(server, call, options, backlog) {
  const { host, port } = options;
  const settings = { ...listening.tcpSettings(options), backlog: options.backlog || backlog };
  const onAddress = (address) => start(server, () => listening.onAddress(address, port, settings), address, port);
  if (!host) {
    onAddress(undefined);
  } else {
    dns.lookup(host, { all: true }, (error, found) => {
      if (call !== server[kListen]) return;
      if (error) server.emit('error', error);
      else onAddress(listening.choose(found));
    });
  }
}

function listenOnPath(server, options, backlog) {
  const { path, readableAll, writableAll } = options;
  if (path.startsWith('\0') && (readableAll || writableAll)) {
    throw errors.invalidArgValue('options', options,
      'can not set readableAll or writableAllt to true when path is abstract unix socket');
  }
  server[kPath] = path;
  start(server, () => listening.onPath(path, { backlog: options.backlog || backlog, readableAll, writableAll }), path, -1);
}

function listenOnBound(server, bound, backlog) {
  const { reference, isPipe, local } = take(bound);
  if (isPipe) server[kPath] = local.address;
  start(server, () => listening.onBound(reference, backlog), null, null);
}

// The name is bound when this returns; what goes wrong is told by the error event, as is all of it: later.
function start(server, open, address, port) {
  try {
    server[kReference] = open();
    serve(server);
  } catch (error) {
    server[kReference]?.close();
    server[kReference] = null;
    refused(server, listening.explain(error, address, port));
    return;
  }
  channels.serverListen?.asyncEnd.publish({ server });
  holdProcess(server, !server[kIsUnheld]);
  nextTick(() => {
    if (server[kReference]) server.emit('listening');
  });
}

function refused(server, error) {
  if (channels.serverListen?.hasSubscribers) channels.serverListen.error.publish({ server, error });
  nextTick(() => server.emit('error', error));
  takeTurn();
}

// As with Node, whose handle is closed by the loop: who listens and closes before the exit hears of that once more.
function takeTurn() {
  setImmediate(() => {});
}

function serve(server) {
  let flags = HALF_OPEN | OUTLIVE;
  if (server.pauseOnConnect) flags |= PAUSED;
  if (server.noDelay) flags |= NODELAY;
  events.listen();
  const slot = low.serve(nativeOf(server[kReference]), flags, true);
  events.addService(slot, new Service(server));
}

// ---- connections ---------------------------------------------------------------------------------------------

class Service {
  constructor(server) {
    this.server = server;
    this.resource = new AsyncResource('SOCKREFSERVER');
  }

  // The scope of the socket is made outside of this one, as with Node: what the listener enters is not the next one's.
  [onOpen](slot) {
    this.resource.runInAsyncScope(accept, null, this.server, slot, new AsyncResource('SOCKREFSOCKET'));
  }

  [onStop]() {
    this.server = null;
  }
}

// Closed before anybody hears of it.
function turnAway(slot) {
  events.addConnection(slot, nobody);
  low.conn_hold(slot, false);
  low.conn_destroy(slot);
}

function addressesOf(slot) {
  const [local, remote] = (low.conn_addresses(slot) ?? []).map(tcpAddress);
  return local && {
    localAddress: local.address, localPort: local.port, localFamily: local.family,
    remoteAddress: remote?.address, remotePort: remote?.port, remoteFamily: remote?.family,
  };
}

function isBlocked(server, slot) {
  const address = low.conn_addresses(slot)?.[1].address;
  const family = isIP(address);
  return family !== 0 && server.blockList.check(address, `ipv${family}`);
}

// Of what the server has by now it may not be possible to make one.
function socketOf(server, slot, scope) {
  try {
    return accepted(slot, server, scope);
  } catch (error) {
    turnAway(slot);
    throw error;
  }
}

function accept(server, slot, scope) {
  if (!server[kReference]) { // closed since, by the listener for one that came with this one
    turnAway(slot);
    return;
  }
  if (limits(server.maxConnections) && server[kSockets] >= server.maxConnections) {
    const addresses = addressesOf(slot);
    turnAway(slot);
    if (addresses) server.emit('drop', addresses);
    else server.emit('drop');
    return;
  }
  if (server.blockList && isBlocked(server, slot)) {
    turnAway(slot);
    return;
  }
  const socket = socketOf(server, slot, scope);
  if (server.keepAlive) socket.setKeepAlive(true, server.keepAliveInitialDelay * 1000);
  server[kSockets]++;
  server.emit('connection', socket);
  if (channels.serverSocket.hasSubscribers) channels.serverSocket.publish({ socket });
}

Server.prototype[kGone] = function () {
  this[kSockets]--;
  emitCloseIfOver(this);
};

Server.prototype.getConnections = function (callback) {
  nextTick(callback, null, this[kSockets]);
  return this;
};

// ---- ending --------------------------------------------------------------------------------------------------

function emitCloseIfOver(server) {
  if (!server[kReference] && server[kSockets] === 0) nextTick(() => server.emit('close'));
}

Server.prototype.close = function (callback) {
  const reference = this[kReference];
  this[kListen]++;
  if (typeof callback === 'function') {
    this.once('close', reference ? callback : () => callback(errors.plainError('notRunning')));
  }
  if (reference) {
    this[kReference] = null;
    low.unserve(nativeOf(reference));
    reference.close();
    holdProcess(this, false);
    takeTurn();
  }
  emitCloseIfOver(this);
  return this;
};

if (Symbol.asyncDispose) {
  Server.prototype[Symbol.asyncDispose] = async function () {
    if (this[kReference]) await promisify(this.close).call(this);
  };
}

Server.prototype[Symbol.for('nodejs.rejection')] = function (error, event, socket) {
  if (event === 'connection') socket.destroy(error);
  else this.emit('error', error);
};

// ---- questions and settings ----------------------------------------------------------------------------------

Server.prototype.address = function () {
  if (!this[kReference]) return this[kPath];
  return tcpAddress(low.local_address(nativeOf(this[kReference]))) ?? this[kPath] ?? this[kReference].path;
};

Object.defineProperty(Server.prototype, 'listening', {
  get() { return this[kReference] !== null; }, configurable: true, enumerable: true,
});

function holdProcess(server, on) {
  if (on !== server[kHoldsProcess]) low[on ? 'hold' : 'unhold']();
  server[kHoldsProcess] = on;
}

Server.prototype.ref = function () {
  this[kIsUnheld] = false;
  holdProcess(this, this[kReference] !== null);
  return this;
};

Server.prototype.unref = function () {
  this[kIsUnheld] = true;
  holdProcess(this, false);
  return this;
};

module.exports = { Server };
