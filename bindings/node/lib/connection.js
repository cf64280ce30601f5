'use strict';

// Connections served in JavaScript. The addon tells what happened in batches (src/serve.cc); here each event
// finds its connection and its handler.

const { AsyncResource } = require('node:async_hooks');
const { markAsUntransferable } = require('node:worker_threads');
const low = require('./low.js');
const { SockrefError, fromStatus, invalidType, invalidValue, illegalConstructor, closed } = require('./errors.js');

const OPEN = 0, DATA = 1, END = 2, DRAIN = 3, ERROR = 4, CLOSE = 5, STOP = 6;
const CURSOR = 64 * 4;
const names = ['connection', 'data', 'end', 'drain', 'error', 'close', 'stop'];

// Slices of the pool are true Buffers, made the cheapest way.
const FastBuffer = Buffer[Symbol.species];
const key = Symbol('connection');

let make, slotOf, leave, resourceOf, serviceOf;

/** One peer. Objects come from the connection handler. */
class Connection {
  #slot;
  #service;
  #resource;
  #destroyed = false;

  static {
    make = (slot, service) => new Connection(key, slot, service);
    slotOf = (connection) => connection.#slot;
    resourceOf = (connection) => connection.#resource;
    serviceOf = (connection) => connection.#service;
    leave = (connection) => {
      connection.#slot = -1;
      connection.#destroyed = true;
    };
  }

  constructor(given, slot, service) {
    if (given !== key) throw illegalConstructor('connections come from serve()');
    this.#slot = slot;
    this.#service = service;
    this.#resource = new AsyncResource('SOCKREFCONNECTION');
  }

  /** True after destroy(), and from the close event on. */
  get destroyed() {
    return this.#destroyed;
  }

  /** Writes; false: all is taken, but wait for drain before more. */
  write(data) {
    if (typeof data === 'string') data = Buffer.from(data);
    else if (!(data instanceof Uint8Array)) throw invalidType('data', 'a string, a Buffer or a Uint8Array', data);
    if (this.#destroyed) throw closed('connection');
    return low.conn_write(this.#slot, data);
  }

  /** Writes what is given, and sends no more: the peer sees the end when all is written. */
  end(data) {
    if (data !== undefined) this.write(data);
    if (!this.#destroyed) low.conn_end(this.#slot);
  }

  /** No data events until resume(). */
  pause() {
    if (!this.#destroyed) low.conn_pause(this.#slot);
    return this;
  }

  resume() {
    if (!this.#destroyed) low.conn_resume(this.#slot);
    return this;
  }

  /** Ends it at once; what is queued is dropped. Only the close event comes after. */
  destroy() {
    if (this.#destroyed) return;
    this.#destroyed = true;
    try {
      low.conn_destroy(this.#slot);
    } catch (error) {
      if (!(error instanceof SockrefError)) throw error; // it is over already, and close is on its way
    }
  }
}

const services = [];
const connections = [];
let events;
let lastPool;

function bytes(offset, length, pool, long) {
  if (length < 0) return long[offset];
  if (pool !== lastPool) {
    markAsUntransferable(pool.buffer); // one transfer would take away everybody's data
    lastPool = pool;
  }
  return new FastBuffer(pool.buffer, pool.byteOffset + offset, length);
}

function open(slot, service) {
  const connection = service.resource.runInAsyncScope(make, null, slot, service);
  connections[slot] = connection;
  call(connection, service.handlers.connection);
}

function call(connection, handler, ...rest) {
  if (handler) resourceOf(connection).runInAsyncScope(handler, serviceOf(connection).handlers, connection, ...rest);
}

function stop(slot) {
  const service = services[slot];
  services[slot] = undefined;
  const { stop: handler } = service.handlers;
  if (handler) service.resource.runInAsyncScope(handler, service.handlers);
}

function close(slot, hadError) {
  const connection = connections[slot];
  connections[slot] = undefined;
  leave(connection);
  call(connection, serviceOf(connection).handlers.close, hadError !== 0);
}

function tell(kind, slot, a, b, pool, long) {
  if (kind === OPEN) return open(slot, services[a]);
  if (kind === STOP) return stop(slot);
  if (kind === CLOSE) return close(slot, a);
  const connection = connections[slot];
  if (connection.destroyed) return undefined;
  const { handlers } = serviceOf(connection);
  if (kind === DATA) return handlers.data && call(connection, handlers.data, bytes(a, b, pool, long));
  if (kind === END) return call(connection, handlers.end);
  if (kind === DRAIN) return call(connection, handlers.drain);
  return handlers.error && call(connection, handlers.error, errorOf(a));
}

function errorOf(status) {
  return fromStatus(status, low.sockref_status_name(status), low.sockref_status_message(status));
}

// The addon calls this. A handler that throws ends the call; the addon reports it and calls again, and the cursor
// says where to go on.
function deliver(count, pool, long) {
  for (let i = events[CURSOR]; i < count;) {
    const at = i * 4;
    events[CURSOR] = ++i;
    tell(events[at], events[at + 1], events[at + 2], events[at + 3], pool, long);
  }
}

function checkHandlers(handlers) {
  if (typeof handlers !== 'object' || handlers === null) throw invalidType('handlers', 'an object', handlers);
  for (const [name, handler] of Object.entries(handlers)) {
    if (!names.includes(name)) throw invalidValue(`unknown handler "${name}"`);
    if (handler !== undefined && typeof handler !== 'function') throw invalidType(name, 'a function', handler);
  }
}

/** Serves native in this environment's loop; reference stays reachable until it stops. */
function serve(native, handlers, reference) {
  checkHandlers(handlers);
  events ??= low.set_deliver(deliver);
  const slot = low.serve(native, typeof handlers.end === 'function');
  services[slot] = { handlers: { ...handlers }, reference, resource: new AsyncResource('SOCKREFSERVICE') };
}

module.exports = { Connection, serve };
