'use strict';

// What the addon tells of services and connections, in batches (src/batch.h), and of names. Here each event finds whom
// it is for: an object with methods by these symbols, in the place that the addon's slot names.

const { markAsUntransferable } = require('node:worker_threads');
const low = require('./low.js');

const OPEN = 0, DATA = 1, CLOSE = 5, STOP = 6, LENT = 11;
const CURSOR = 64 * 4;
const BUSY = 16; // chunks of one connection, each told alone, after which it is the only busy one

/** Further kinds of events, for onEvent. */
const kinds = { END: 2, DRAIN: 3, ERROR: 4, CONNECT: 7, TIMEOUT: 8, ATTEMPT: 9, WRITTEN: 10 };

// Who tests may have this file loaded anew above the same addon, which tells the last copy of the slots of all.
const shared = (low.shared ??= {
  services: [],
  connections: [],
  symbols: Object.fromEntries(['onOpen', 'onStop', 'resource', 'onData', 'onLent', 'onEvent', 'onClose', 'onFate']
    .map((name) => [name, Symbol(name)])),
});
const { services, connections } = shared;
/**
 * Of a service: onOpen(slot) gives the connection that came, which takes its place; onStop() is the last.
 * Of a connection: the resource is the AsyncResource in whose scope all is told: onData(bytes), onLent(length),
 * onEvent(kind, a, b); onClose(hadError) is the last.
 * Of a reference: onFate(event) tells what becomes of its name.
 */
const { onOpen, onStop, resource, onData, onLent, onEvent, onClose, onFate } = shared.symbols;

// Slices of the pool are true Buffers, made the cheapest way.
const FastBuffer = Buffer[Symbol.species];

let events;
let isWatching = false;
let lastPool;
let alone = -1; // the slot of what was told alone last
let timesAlone = 0; // in a row

function bytes(offset, length, pool, large) {
  if (length < 0) {
    const buffer = large[offset];
    return buffer.length === -length ? buffer : new FastBuffer(buffer.buffer, buffer.byteOffset, -length);
  }
  if (pool !== lastPool) {
    markAsUntransferable(pool.buffer); // one transfer would take away everybody's data
    lastPool = pool;
  }
  return new FastBuffer(pool.buffer, pool.byteOffset + offset, length);
}

function tell(kind, slot, a, b, pool, large) {
  if (kind === DATA) tellData(slot, bytes(a, b, pool, large));
  else if (kind === OPEN) services[a][onOpen](slot);
  else if (kind === CLOSE) close(slot, a !== 0);
  else if (kind === LENT) enter(slot, onLent, a);
  else if (kind === STOP) stop(slot);
  else enter(slot, onEvent, kind, a, b);
}

function tellData(slot, chunk) {
  const connection = connections[slot];
  connection[resource].runInAsyncScope(connection[onData], connection, chunk);
}

function enter(slot, method, ...rest) {
  const connection = connections[slot];
  connection[resource].runInAsyncScope(connection[method], connection, ...rest);
}

function close(slot, hadError) {
  const connection = connections[slot];
  connections[slot] = undefined;
  if (slot === alone) alone = -1;
  connection[resource].runInAsyncScope(connection[onClose], connection, hadError);
}

// The only event of a batch. The addon has entered the scope where it is of the connection that is in focus.
function tellAlone(slot, chunk, isEntered) {
  if (isEntered) {
    connections[slot][onData](chunk);
    return;
  }
  timesAlone = slot === alone ? timesAlone + 1 : 1;
  alone = slot;
  if (timesAlone === BUSY) focus(slot, connections[slot][resource]);
  tellData(slot, chunk);
}

function focus(slot, scope) {
  scope.runInAsyncScope(low.conn_focus, null, slot, scope);
}

function stop(slot) {
  const service = services[slot];
  services[slot] = undefined;
  service[onStop]();
}

// The addon calls this. A handler that throws ends the call; the addon reports it and calls again, and the cursor
// says where to go on.
function deliver(count, pool, large, isEntered) {
  if (count === 1 && events[0] === DATA) {
    events[CURSOR] = 1;
    tellAlone(events[1], bytes(events[2], events[3], pool, large), isEntered);
    return;
  }
  for (let i = events[CURSOR]; i < count;) {
    const at = i * 4;
    events[CURSOR] = ++i;
    tell(events[at], events[at + 1], events[at + 2], events[at + 3], pool, large);
  }
}

/** Has what happens told; before the first service or connection. */
function listen() {
  events ??= low.set_deliver(deliver);
}

/** Has what becomes of names told; before the first reference that is watched. */
function watch() {
  if (!isWatching) low.set_tell(tellFate);
  isWatching = true;
}

function tellFate(reference, event) {
  reference[onFate](event);
}

function addService(slot, service) {
  services[slot] = service;
}

function addConnection(slot, connection) {
  connections[slot] = connection;
}

module.exports = { kinds, ...shared.symbols, listen, watch, addService, addConnection };
