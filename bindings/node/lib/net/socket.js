'use strict';

// Socket: a Duplex over a connection of the library. It is a function, not a class, so that it can be called without
// new and be inherited from by util.inherits(), as Node's.
//
// A socket has a connection (a slot of the addon) from connect(), or from the server's accept, until the addon has
// told the end of it. Writes go straight to the kernel, and data straight to the listener, where nothing of
// what streams do in between would be seen; all else takes the way through Duplex.

const { AsyncResource } = require('node:async_hooks');
const { constants } = require('node:os');
const { nextTick } = require('node:process');
const { Duplex } = require('node:stream');
const { clearImmediate, setImmediate } = require('node:timers');
const { isUint8Array } = require('node:util/types');
const events = require('../events.js');
const low = require('../low.js');
const errors = require('./errors.js');
const state = require('./state.js');
const timeouts = require('./timeouts.js');
const { connect, afterAttempt, connectEnded } = require('./connect.js');
const { adopt } = require('./adopt.js');
const { isBound, take } = require('./bound.js');
const { tcpAddress } = require('./names.js');
const { isInt32, isBlockList, keepAliveDelay, wholeSeconds } = require('./validate.js');

const {
  kSlot, kIsOpen, kResource, kBytesRead, kDispatched, kDelivered, kIsPaused, kIsUnheld, kIsResetting, kWaiting, kSending,
  kAddresses, kServer, kBound, kConnect, kNoDelay, kKeepAlive, kKeepAliveDelay, kProbes, kTypeOfService, kOnRead, kHadError, kPeer,
  kIsQuiet, kHasPeerEnded, kEnding,
} = state;
const { END, ERROR, CONNECT, TIMEOUT, ATTEMPT, WRITTEN } = events.kinds;
const { onData, onLent, onEvent, onClose } = events;

const FROM_WRITE = 2; // of src/batch.h
const { push } = Duplex.prototype;

function refuseMode(options) {
  const name = ['objectMode', 'readableObjectMode', 'writableObjectMode'].find((mode) => options[mode]);
  throw errors.invalidArgValue(`options.${name}`, options[name], 'is not supported');
}

function checkOptions(options) {
  if (options.objectMode || options.readableObjectMode || options.writableObjectMode) refuseMode(options);
  if (options.typeOfService !== undefined) isInt32(options.typeOfService, 'options.typeOfService', 0, 255);
  if (options.blockList) isBlockList(options.blockList, 'options.blockList');
}

/** The options of a socket that a server accepts: all that there is to say to Duplex, with nothing to copy. */
class Accepted {
  constructor({ allowHalfOpen, highWaterMark, pauseOnConnect }) {
    this.allowHalfOpen = Boolean(allowHalfOpen);
    this.highWaterMark = highWaterMark;
    this.pauseOnCreate = pauseOnConnect;
    this.autoDestroy = true;
    this.emitClose = false;
    this.decodeStrings = true;
  }
}

// Not by a spread: V8 makes a shape for each object that one makes, and they stay until the next full collection.
function streamOptions(options) {
  if (options instanceof Accepted) return options;
  return Object.assign({}, options, {
    allowHalfOpen: Boolean(options.allowHalfOpen), autoDestroy: true, emitClose: false, decodeStrings: true,
  });
}

function Socket(given) {
  if (!(this instanceof Socket)) return new Socket(given);
  const options = typeof given === 'number' ? { fd: given } : given ?? {};
  checkOptions(options);
  Duplex.call(this, streamOptions(options));
  this.connecting = false;
  this.server = null;
  Object.assign(this, state.fresh);
  this[kServer] = null;
  if (options.noDelay) this[kNoDelay] = true;
  if (options.keepAlive) this[kKeepAlive] = true;
  if (options.keepAliveInitialDelay !== undefined) this[kKeepAliveDelay] = keepAliveDelay(options);
  if (options.typeOfService !== undefined) this[kTypeOfService] = options.typeOfService;
  if (options.blockList) this.blockList = options.blockList;
  if (isOnRead(options.onread)) this[kOnRead] = { ...options.onread };
  if (options.fd !== undefined) begin(this, adopt(options.fd), options);
  else if (isBound(options.handle)) this[kBound] = take(options.handle);
}
Object.setPrototypeOf(Socket.prototype, Duplex.prototype);
Object.setPrototypeOf(Socket, Duplex);
Object.assign(Socket.prototype, state.rare);

function isOnRead(onread) {
  return onread !== null && typeof onread === 'object' && typeof onread.callback === 'function' &&
    (isUint8Array(onread.buffer) || typeof onread.buffer === 'function');
}

/** Gives a socket its connection, which is open already: accepted, or of a descriptor. */
function begin(socket, slot, options) {
  state.attach(socket, slot);
  socket[kIsOpen] = true;
  state.applyOptions(socket);
  if (options.pauseOnCreate) {
    pauseReading(socket);
    socket.readableFlowing = false;
  } else if (options.readable === false) {
    pauseReading(socket);
  }
}

Socket.prototype.connect = function (...args) {
  connect(this, args);
  return this;
};

// ---- what happens to the connection --------------------------------------------------------------------------

Socket.prototype[onData] = function (chunk) {
  this[kBytesRead] += chunk.length;
  if (this[kIsQuiet]) timeouts.restart(this);
  if (this.destroyed) return;
  if (this[kOnRead]) {
    takeOnRead(this, chunk.length, chunk);
  } else if (isListened(this)) {
    this[kDelivered] = true;
    this.emit('data', chunk);
  } else if (!this.push(chunk)) {
    pauseReading(this);
  }
};

// The listener is all that a chunk would come to.
function isListened(socket) {
  return socket.readableFlowing === true && socket.readableLength === 0 && socket.readableEncoding === null && socket.push === push;
}

// The bytes are in the buffer that the program lent.
Socket.prototype[onLent] = function (length) {
  this[kBytesRead] += length;
  if (this[kIsQuiet]) timeouts.restart(this);
  takeOnRead(this, length, this[kOnRead].lent);
};

function takeOnRead(socket, length, buffer) {
  const onread = socket[kOnRead];
  if (socket.destroyed) return;
  const goesOn = onread.callback.call(socket, length, buffer);
  if (typeof onread.buffer === 'function' && !socket.destroyed) state.lend(socket);
  if (goesOn === false) pauseReading(socket);
}

Socket.prototype[onEvent] = function (kind, a, b) {
  if (this[kIsQuiet] && kind !== TIMEOUT) timeouts.restart(this);
  if (kind === WRITTEN) written(this, a);
  else if (this.destroyed) return;
  else if (kind === END) ended(this);
  else if (kind === TIMEOUT) timeouts.fired(this);
  else if (kind === CONNECT) connected(this);
  else if (kind === ATTEMPT) afterAttempt(this, a, b);
  else if (kind === ERROR) failed(this, a, b);
};

function ended(socket) {
  socket[kHasPeerEnded] = true;
  state.hold(socket);
  socket.push(null);
  socket.read(0);
}

function failed(socket, status, from) {
  if (socket.connecting) {
    connectEnded(socket, status, from);
    return;
  }
  const syscall = from === FROM_WRITE || socket[kSending] ? 'write' : 'read';
  socket.destroy(errors.callFailed(status, syscall));
}

function connected(socket) {
  socket.connecting = false;
  socket[kIsOpen] = true;
  state.holdIfIdle(socket);
  timeouts.connected(socket);
  state.applyOptions(socket);
  socket.emit('connect');
  socket.emit('ready');
  if (!socket.readable || (socket.isPaused() && !socket._readableState.reading)) pauseReading(socket);
}

// Reading has begun by itself: what comes before anybody listens is kept, up to the high-water mark.
function pauseReading(socket) {
  if (socket[kIsPaused]) return;
  socket[kIsPaused] = true;
  if (socket[kSlot] < 0) return;
  low.conn_pause(socket[kSlot]);
  state.hold(socket);
}

function resumeReading(socket) {
  if (!socket[kIsPaused]) return;
  socket[kIsPaused] = false;
  if (socket[kSlot] < 0) return;
  low.conn_resume(socket[kSlot]);
  state.hold(socket);
}

// Where both sides have ended the library closes by itself, and the stream may still have something to read. The
// error event of a stream comes in a tick, and close comes after it.
Socket.prototype[onClose] = function (hadError) {
  this[kAddresses] ??= low.conn_addresses(this[kSlot]);
  this[kSlot] = -1;
  if (this.destroyed) nextTick(emitClose, this, this[kHadError]);
  else if (hadError || !this[kIsOpen]) this.destroy();
};

function emitClose(socket, hadError) {
  socket[kIsOpen] = false;
  if (hadError === undefined) socket.emit('close');
  else socket.emit('close', hadError);
}

// ---- reading -------------------------------------------------------------------------------------------------

// The stream asks once, and again when it was given something: what it asks for before it is told that there is a
// connection is wanted also when it is paused by then.
Socket.prototype._read = function () {
  resumeReading(this);
};

Socket.prototype.pause = function () {
  if (this[kOnRead] && !this.connecting) pauseReading(this);
  return Duplex.prototype.pause.call(this);
};

Socket.prototype.resume = function () {
  if (this[kOnRead] && !this.connecting) resumeReading(this);
  return Duplex.prototype.resume.call(this);
};

Socket.prototype.read = function (size) {
  if (this[kOnRead] && !this.connecting) resumeReading(this);
  return Duplex.prototype.read.call(this, size);
};

// ---- writing -------------------------------------------------------------------------------------------------

// A chunk that nothing waits before: the kernel takes it at once, or a part of it.
function isQuick(socket, chunk, encoding, callback) {
  return callback === undefined && encoding === undefined && isUint8Array(chunk) && socket[kIsOpen] &&
    socket.writableLength === 0 && socket.writableCorked === 0 && !socket.writableEnded && !socket.destroyed &&
    chunk.length > 0 && socket._write === Socket.prototype._write;
}

Socket.prototype.write = function (chunk, encoding, callback) {
  if (isQuick(this, chunk, encoding, callback)) {
    if (this[kIsQuiet]) timeouts.restart(this);
    const taken = low.conn_try(this[kSlot], chunk);
    this[kDispatched] += taken;
    return taken === chunk.length || Duplex.prototype.write.call(this, chunk.subarray(taken));
  }
  if (this.writableEnded && this[kHasPeerEnded] && this.readableEnded && !this.allowHalfOpen) return refuseWrite(this, encoding, callback);
  return Duplex.prototype.write.call(this, chunk, encoding, callback);
};

// "write after end" would seem to blame who wrote.
function refuseWrite(socket, encoding, callback) {
  const error = errors.endedByOther();
  const tell = typeof encoding === 'function' ? encoding : callback;
  if (typeof tell === 'function') nextTick(tell, error);
  socket.destroy(error);
  return false;
}

Socket.prototype._write = function (chunk, encoding, callback) {
  send(this, chunk, callback);
};

Socket.prototype._writev = function (chunks, callback) {
  send(this, chunks.map(({ chunk }) => chunk), callback);
};

const lengthOf = (data) => (Array.isArray(data) ? data.reduce((sum, { length }) => sum + length, 0) : data.length);

function send(socket, data, callback) {
  if (socket.connecting) {
    const fail = () => callback(errors.plainError('closedBeforeConnection'));
    const sendNow = () => sendWaiting(socket, callback);
    socket[kWaiting] = { data, fail, sendNow };
    socket.once('close', fail);
    socket.once('connect', sendNow); // as with Node, before whoever listens later
    return;
  }
  if (!socket[kIsOpen] || socket.destroyed) {
    callback(notConnected(socket));
    return;
  }
  if (socket[kIsQuiet]) timeouts.restart(socket);
  socket[kDispatched] += lengthOf(data);
  const status = low.conn_send(socket[kSlot], data);
  if (status === 0) callback();
  else if (status < 0) callback(errors.callFailed(status, 'write'));
  else waitFor(socket, data, callback);
}

function waitFor(socket, data, callback) {
  socket[kSending] = { data, callback, scope: new AsyncResource('SOCKREFWRITE') }; // keeps the bytes meanwhile
  state.holdIfIdle(socket);
}

// Of a bound socket, what the system says.
function notConnected(socket) {
  const bound = socket[kBound];
  if (!bound) return errors.plainError('socketClosed');
  return errors.callFailed(-constants.errno[bound.isPipe ? 'ENOTCONN' : 'EPIPE'], 'write');
}

function sendWaiting(socket, callback) {
  const { data, fail } = socket[kWaiting];
  socket[kWaiting] = null;
  socket.off('close', fail);
  send(socket, data, callback);
}

function written(socket, status) {
  const { callback, scope } = socket[kSending];
  socket[kSending] = null;
  state.holdIfIdle(socket);
  scope.runInAsyncScope(callback, null, ...(status < 0 ? [errors.callFailed(status, 'write')] : []));
}

Socket.prototype._final = function (callback) {
  if (this.connecting) {
    this.once('connect', () => this._final(callback));
    return;
  }
  if (this[kSlot] < 0) {
    callback();
    return;
  }
  low.conn_end(this[kSlot]);
  // Not at once: what follows in this turn may still destroy it.
  this[kEnding] = { callback, immediate: setImmediate(answerEnd, this) };
};

function answerEnd(socket) {
  if (!socket[kEnding]) return;
  const { callback, immediate } = socket[kEnding];
  socket[kEnding] = undefined;
  clearImmediate(immediate);
  callback();
}

// The last end is answered in a tick to whoever waits for it: the wrapper that Node gives to HTTP/2 must have its
// answer before the turn is over, where more is written to it.
Socket.prototype.end = function (chunk, encoding, callback) {
  Duplex.prototype.end.call(this, chunk, encoding, callback);
  const isAwaited = typeof (callback ?? encoding ?? chunk) === 'function';
  if (isAwaited && this[kHasPeerEnded] && this[kEnding]) nextTick(answerEnd, this);
  return this;
};

// ---- ending --------------------------------------------------------------------------------------------------

Socket.prototype.destroySoon = function () {
  if (this.writable) this.end();
  if (this.writableFinished) this.destroy();
  else this.once('finish', this.destroy);
};

Socket.prototype._destroy = function (error, callback) {
  const wasConnecting = this.connecting;
  this.connecting = false;
  timeouts.end(this);
  this[kHadError] = this[kResource] || this[kBound] ? Boolean(error) : undefined;
  this[kBound]?.reference.close();
  if (this[kBound]) this[kBound] = undefined;
  if (this[kSlot] >= 0) {
    if (this[kIsResetting]) low.conn_reset(this[kSlot]);
    else low.conn_destroy(this[kSlot]);
    state.holdIfIdle(this);
    callback(error);
  } else {
    callback(error);
    if (wasConnecting) setImmediate(() => this.emit('close', Boolean(error))); // a turn later, as where there is a slot
    else nextTick(emitClose, this, this[kHadError]);
  }
  this[kServer]?.[state.kGone]();
  this[kServer] = null;
};

Socket.prototype.resetAndDestroy = function () {
  if (!hasConnection(this)) return this.destroy(errors.plainError('socketClosed'));
  if (isUnix(this)) throw errors.plainError('invalidHandleType');
  if (this.connecting) this.once('connect', () => reset(this));
  else reset(this);
  return this;
};

// Of an end without a name the family is not told: TCP has none such.
function isUnix(socket) {
  if (socket[kBound]) return socket[kBound].isPipe;
  if (socket.connecting) return socket[kConnect].family === undefined;
  const family = addresses(socket)?.[0].family;
  return family !== undefined && family !== 4 && family !== 6;
}

function reset(socket) {
  socket[kIsResetting] = true;
  socket.destroy();
}

// ---- settings ------------------------------------------------------------------------------------------------

Socket.prototype.setTimeout = function (milliseconds, callback) {
  return timeouts.set(this, milliseconds, callback);
};

Socket.prototype.setNoDelay = function (enable = true) {
  this[kNoDelay] = Boolean(enable);
  if (this[kSlot] >= 0) low.conn_set_nodelay(this[kSlot], this[kNoDelay]);
  return this;
};

Socket.prototype.setKeepAlive = function (enable, initialDelay, interval, count) {
  if (typeof enable === 'object' && enable !== null) {
    return this.setKeepAlive(enable.enable, enable.initialDelay, enable.interval, enable.count);
  }
  this[kKeepAlive] = Boolean(enable);
  this[kKeepAliveDelay] = wholeSeconds(initialDelay);
  if (interval !== undefined || count !== undefined || this[kProbes]) this[kProbes] = { interval, count };
  if (this[kSlot] >= 0) state.applyKeepAlive(this);
  return this;
};

Socket.prototype.setTypeOfService = function (tos) {
  if (Number.isNaN(tos)) throw errors.invalidArgType('tos', 'of type number', tos);
  isInt32(tos, 'tos', 0, 255);
  this[kTypeOfService] = tos;
  if (this[kIsOpen]) state.applyTypeOfService(this);
  return this;
};

Socket.prototype.getTypeOfService = function () {
  const current = this[kSlot] >= 0 ? low.conn_get_tos(this[kSlot]) : -1;
  return current >= 0 ? current : this[kTypeOfService] ?? 0;
};

Socket.prototype.ref = function () {
  this[kIsUnheld] = false;
  state.hold(this);
  return this;
};

Socket.prototype.unref = function () {
  this[kIsUnheld] = true;
  state.hold(this);
  return this;
};

// ---- questions -----------------------------------------------------------------------------------------------

// From connect() on, or from when it took a bound socket, until it is destroyed.
function hasConnection(socket) {
  return !socket.destroyed && (socket[kIsOpen] || socket.connecting || socket[kBound] !== undefined);
}

// Looked up once: they do not change.
function addresses(socket) {
  if (socket[kIsOpen] && !socket.destroyed && !socket[kAddresses]) {
    socket[kAddresses] = low.conn_addresses(socket[kSlot]);
  }
  return socket[kAddresses];
}

function local(socket) {
  return hasConnection(socket) ? tcpAddress(addresses(socket)?.[0]) ?? socket[kBound]?.local : undefined;
}

// What was asked for once is known for ever.
function remote(socket) {
  if (hasConnection(socket)) socket[kPeer] ??= tcpAddress(addresses(socket)?.[1]);
  return socket[kPeer];
}

Socket.prototype.address = function () {
  return { ...local(this) };
};

function byteLength(chunk, encoding) {
  return typeof chunk === 'string' ? Buffer.byteLength(chunk, encoding) : chunk.length;
}

const getters = {
  bytesRead: (socket) => socket[kBytesRead],
  bytesWritten: (socket) => {
    const waiting = socket[kWaiting] ? lengthOf(socket[kWaiting].data) : 0;
    return socket._writableState.getBuffer()
      .reduce((sum, { chunk, encoding }) => sum + byteLength(chunk, encoding), socket[kDispatched] + waiting);
  },
  localAddress: (socket) => local(socket)?.address,
  localPort: (socket) => local(socket)?.port,
  localFamily: (socket) => local(socket)?.family,
  remoteAddress: (socket) => remote(socket)?.address,
  remotePort: (socket) => remote(socket)?.port,
  remoteFamily: (socket) => remote(socket)?.family,
  bufferSize: (socket) => (hasConnection(socket) ? socket.writableLength : undefined),
  pending: (socket) => !hasConnection(socket) || socket.connecting,
  readyState: (socket) => {
    if (socket.connecting) return 'opening';
    if (socket.readable) return socket.writable ? 'open' : 'readOnly';
    return socket.writable ? 'writeOnly' : 'closed';
  },
};
const notListed = ['bufferSize', 'pending', 'readyState']; // as Node's: for-in passes them over
for (const [name, get] of Object.entries(getters)) {
  Object.defineProperty(Socket.prototype, name, {
    get() { return get(this); }, configurable: true, enumerable: !notListed.includes(name),
  });
}

// Data that went straight to the listener was read, too.
const { get: didRead } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Duplex.prototype), 'readableDidRead');
Object.defineProperty(Socket.prototype, 'readableDidRead', {
  get() { return this[kDelivered] || didRead.call(this); }, configurable: true, enumerable: false,
});

/** A socket of a connection that a server accepted, of which all is told in an AsyncResource. */
function accepted(slot, server, scope) {
  const options = new Accepted(server);
  const socket = new Socket(options);
  socket.server = server;
  socket[kServer] = server;
  socket[kResource] = scope;
  begin(socket, slot, options);
  return socket;
}

module.exports = { Socket, accepted };
