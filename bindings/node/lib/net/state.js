'use strict';

// What the files of Socket share: its hidden properties, and how it gets its connection.

const { AsyncResource } = require('node:async_hooks');
const { isUint8Array } = require('node:util/types');
const { markAsUntransferable } = require('node:worker_threads');
const events = require('../events.js');
const low = require('../low.js');

const names = [
  'kSlot', // of the addon; -1: there is none
  'kIsOpen', // connected, and its close event was not emitted yet
  'kBytesRead', 'kDispatched', // given to the library, which has written them or will
  'kDelivered', // data went straight to a listener
  'kIsPaused', // the library does not read
  'kIsUnheld', // unref() is in force
  'kHasPeerEnded', // nothing comes any more
  'kIsResetting',
  'kEnding', // the stream's end, which it is to be told of
  'kWaiting', // a write until it is connected
  'kSending', // a write until it is written
  'kAddresses', 'kPeer', 'kServer', 'kNoDelay', 'kKeepAlive', 'kKeepAliveDelay', 'kTypeOfService', 'kOnRead', 'kHadError',
  'kProbes', // of keep-alive: their interval and count, where they were given
  'kBound', // what a BoundSocket had, until this is destroyed
  'kConnect', // what a connect tries: of an address with a family, of a path without
  'kTime', 'kTimeScope', 'kTimer', 'kIsQuiet', // timeouts.js
  'kGone', // of a server: one of its sockets is destroyed
];
const state = Object.fromEntries(names.map((name) => [name, Symbol(name)]));
state.kResource = events.resource; // null: connect() was not called

/** Makes a slot of the addon a socket's. */
state.attach = function (socket, slot) {
  events.addConnection(slot, socket);
  socket[state.kSlot] = slot;
  socket[state.kResource] ??= new AsyncResource('SOCKREFSOCKET');
  state.holdIfIdle(socket);
  if (socket[state.kIsPaused]) low.conn_pause(slot);
  if (socket[state.kOnRead]) state.lend(socket);
};

const isIdle = (socket) => socket[state.kIsUnheld] || socket[state.kHasPeerEnded] || socket[state.kIsPaused];

/** What is under way keeps the process alive, also where its socket does not: up to the close event. */
state.hold = function (socket) {
  const holds = !isIdle(socket) || socket.connecting || socket[state.kSending] !== null || socket.destroyed;
  if (socket[state.kSlot] >= 0) low.conn_hold(socket[state.kSlot], holds);
};

state.holdIfIdle = function (socket) {
  if (isIdle(socket)) state.hold(socket);
};

/** A socket that was destroyed is to be connected anew. Its earlier connection may still have to close. */
state.revive = function (socket) {
  const slot = socket[state.kSlot];
  const hadError = socket[state.kHadError];
  const onClose = () => socket.emit('close', hadError);
  const waiting = socket[state.kWaiting];
  if (waiting) socket.off('close', waiting.fail).off('connect', waiting.sendNow); // its stream has forgotten that write
  socket._undestroy();
  if (slot >= 0) events.addConnection(slot, { ...nobody, [events.resource]: socket[state.kResource], [events.onClose]: onClose });
  Object.assign(socket, fresh, unconnected, { [state.kDelivered]: socket[state.kDelivered] });
};

// Test runners ask what is there at the end whether it keeps the process alive.
class Nobody extends AsyncResource {
  hasRef() { return false; }
}

/** Nobody's connection: whoever is put in its place hears of nothing. */
const nobody = {
  [events.resource]: new Nobody('SOCKREFNOBODY'),
  [events.onData]() {}, [events.onLent]() {}, [events.onEvent]() {}, [events.onClose]() {},
};
state.nobody = nobody;

/** What a socket has of its connection, before there is one. */
const fresh = {
  [state.kSlot]: -1,
  [state.kIsOpen]: false,
  [state.kResource]: null,
  [state.kBytesRead]: 0,
  [state.kDispatched]: 0,
  [state.kDelivered]: false,
  [state.kIsPaused]: false,
  [state.kSending]: null,
};
/** More of it, which few ever change. */
const unconnected = {
  [state.kHasPeerEnded]: false,
  [state.kIsQuiet]: false,
  [state.kIsResetting]: false,
  [state.kWaiting]: null,
  [state.kAddresses]: null,
  [state.kPeer]: undefined,
};
state.fresh = fresh;
/** What few sockets have is their prototype's until it is set, so that idle ones are small. */
state.rare = {
  ...unconnected,
  [state.kIsUnheld]: false,
  [state.kEnding]: undefined,
  [state.kNoDelay]: false,
  [state.kKeepAlive]: false,
  [state.kKeepAliveDelay]: 0,
  [state.kProbes]: undefined,
  [state.kTypeOfService]: undefined,
  [state.kOnRead]: undefined,
  [state.kHadError]: undefined,
  [state.kBound]: undefined,
  [state.kConnect]: undefined,
  [state.kTime]: undefined,
  [state.kTimeScope]: undefined,
  [state.kTimer]: undefined,
};

/** Lends the next buffer to read to. */
state.lend = function (socket) {
  const onread = socket[state.kOnRead];
  const buffer = typeof onread.buffer === 'function' ? onread.buffer() : onread.buffer;
  if (!isUint8Array(buffer)) return;
  markAsUntransferable(buffer.buffer);
  onread.lent = buffer;
  low.conn_lend(socket[state.kSlot], buffer);
};

/** What a socket was told to be before it had a connection. */
state.applyOptions = function (socket) {
  const slot = socket[state.kSlot];
  if (socket[state.kNoDelay]) low.conn_set_nodelay(slot, true);
  if (socket[state.kKeepAlive]) state.applyKeepAlive(socket);
  if (socket[state.kTypeOfService] !== undefined) state.applyTypeOfService(socket);
};

const usualProbes = { interval: undefined, count: undefined };

state.applyKeepAlive = function (socket) {
  const { interval = 1000, count = 10 } = socket[state.kProbes] ?? usualProbes;
  low.conn_set_keepalive(socket[state.kSlot], socket[state.kKeepAlive], socket[state.kKeepAliveDelay],
    ~~(interval / 1000), count);
};

state.applyTypeOfService = function (socket) {
  low.conn_set_tos(socket[state.kSlot], socket[state.kTypeOfService]);
};

module.exports = state;
