'use strict';

// Connections served in JavaScript by plain handlers, without streams.

const { AsyncResource } = require('node:async_hooks');
const { isUint8Array } = require('node:util/types');
const events = require('./events.js');
const low = require('./low.js');
const { fromStatus, invalidType, invalidValue, illegalConstructor, closed } = require('./errors.js');

const { END, DRAIN, ERROR } = events.kinds;
const names = ['connection', 'data', 'end', 'drain', 'error', 'close', 'stop'];
const HALF_OPEN = 2; // SOCKREF_CONN_HALF_OPEN

const key = Symbol('connection');

/** One peer. Objects come from the connection handler. */
class Connection {
  #slot;
  #service;
  #resource;
  #destroyed = false;

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
    else if (!isUint8Array(data)) throw invalidType('data', 'a string, a Buffer or a Uint8Array', data);
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
    low.conn_destroy(this.#slot);
  }

  get [events.resource]() {
    return this.#resource;
  }

  #call(handler, ...rest) {
    if (handler) handler.call(this.#service.handlers, this, ...rest);
  }

  [events.onData](bytes) {
    if (!this.#destroyed) this.#call(this.#service.handlers.data, bytes);
  }

  [events.onEvent](kind, status) {
    const { handlers } = this.#service;
    if (this.#destroyed) return;
    if (kind === END) this.#call(handlers.end);
    else if (kind === DRAIN) this.#call(handlers.drain);
    else if (kind === ERROR && handlers.error) this.#call(handlers.error, errorOf(status));
  }

  [events.onClose](hadError) {
    this.#slot = -1;
    this.#destroyed = true;
    this.#call(this.#service.handlers.close, hadError);
  }
}

class Service {
  constructor(handlers, reference) {
    this.handlers = handlers;
    this.reference = reference;
    this.resource = new AsyncResource('SOCKREFSERVICE');
  }

  // In the scope of the connection also the first handler is called: what it enters is not the next one's.
  [events.onOpen](slot) {
    const connection = this.resource.runInAsyncScope(Service.#make, null, this, slot);
    const { handlers } = this;
    events.addConnection(slot, connection);
    if (handlers.connection) connection[events.resource].runInAsyncScope(handlers.connection, handlers, connection);
  }

  static #make(service, slot) {
    return new Connection(key, slot, service);
  }

  [events.onStop]() {
    if (this.handlers.stop) this.resource.runInAsyncScope(this.handlers.stop, this.handlers);
  }
}

function errorOf(status) {
  return fromStatus(status, low.sockref_status_name(status), low.sockref_status_message(status));
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
  events.listen();
  const slot = low.serve(native, typeof handlers.end === 'function' ? HALF_OPEN : 0, false);
  events.addService(slot, new Service({ ...handlers }, reference));
}

module.exports = { Connection, serve };
