'use strict';

const { AsyncResource } = require('node:async_hooks');
const { EventEmitter } = require('node:events');
const { nextTick } = require('node:process');
const worker = require('node:worker_threads');
const events = require('./events.js');
const low = require('./low.js');
const { serve } = require('./connection.js');
const { pathBytes } = require('./arguments.js');
const { invalidThis, illegalConstructor, closed } = require('./errors.js');

const key = Symbol('reference');

// Those with ref() in force: what keeps the process alive must not be collected.
const held = new Set();

// By the library's numbers.
const fates = [undefined, 'lost', 'displaced', 'owner', 'shutdown'];

let isReference, nativeOf, registryOf;

/**
 * One counted reference to a name. Objects come from startListener(), getOrCreate() and the like.
 * close() gives it back at once; the garbage collector does where that was forgotten.
 *
 * It emits what happens to the name until then: lost, owner, displaced, shutdown.
 */
class SocketReference extends EventEmitter {
  #native;
  #bytes;
  #text;
  #registry; // must not be collected, and so freed, before its references
  #resource; // of the first listener; undefined: the addon is not asked to tell
  #isLost = false; // and was told so

  constructor(given, native, registry) {
    super();
    if (given !== key) throw illegalConstructor('references come from startListener() or SocketReference.getOrCreate()');
    this.#native = native;
    this.#bytes = native.path();
    this.#registry = registry;
    worker.markAsUncloneable?.(this);
    worker.markAsUntransferable(this);
  }

  static {
    isReference = (value) => typeof value === 'object' && value !== null && #native in value;
    registryOf = (reference) => reference.#registry;
    nativeOf = (reference) => SocketReference.#open(reference);
  }

  static #of(self) {
    if (!isReference(self)) throw invalidThis('SocketReference');
    return self;
  }

  // The native reference, for what a closed one cannot do.
  static #open(self) {
    const native = SocketReference.#of(self).#native;
    if (native === null) throw closed('reference', self.path);
    return native;
  }

  /** Counts a reference to a name of the default registry; nothing is bound. */
  static getOrCreate(path) {
    return wrap(low.sockref_registry_get_or_create(null, pathBytes(path, { optional: true })));
  }

  /** A reference to a name that is active in the default registry, or null. */
  static getExisting(path) {
    return getExisting(null, path);
  }

  get path() {
    const self = SocketReference.#of(this);
    return (self.#text ??= self.#bytes.toString());
  }

  get pathBytes() {
    return Buffer.from(SocketReference.#of(this).#bytes);
  }

  get isActive() {
    const native = SocketReference.#of(this).#native;
    return native !== null && native.is_active();
  }

  get isOwner() {
    const native = SocketReference.#of(this).#native;
    return native !== null && native.is_owner();
  }

  get referenceCount() {
    const native = SocketReference.#of(this).#native;
    return native === null ? 0 : native.reference_count();
  }

  get holderCount() {
    const native = SocketReference.#of(this).#native;
    return native === null ? 0 : native.holder_count();
  }

  /** What is counted of the name, now. */
  stats() {
    return low.reference_stats(SocketReference.#open(this));
  }

  /** Whether the name is well, as far as that can be told without a connection. */
  checkHealth() {
    return low.check_health(SocketReference.#open(this));
  }

  clone() {
    return wrap(SocketReference.#open(this).acquire(), this.#registry);
  }

  close() {
    const native = SocketReference.#of(this).#native;
    if (native === null) return;
    this.unref();
    this.#native = null;
    low.close_reference(native);
  }

  /** A duplicate of the listening descriptor; whoever asks closes it. */
  fd() {
    return SocketReference.#open(this).dup_fd();
  }

  /** Has the library's own thread echo what peers send. */
  serveEcho() {
    SocketReference.#open(this).serve_echo();
    return this;
  }

  /** Serves the name by functions of this thread, until its last reference is closed. */
  serve(handlers) {
    serve(SocketReference.#open(this), handlers, this);
    return this;
  }

  ref() {
    SocketReference.#open(this);
    if (!held.has(this)) {
      low.hold();
      held.add(this);
    }
    return this;
  }

  unref() {
    SocketReference.#of(this);
    if (held.delete(this)) low.unhold();
    return this;
  }

  hasRef() {
    return held.has(SocketReference.#of(this));
  }

  // once() and prependOnceListener() come to these as well.
  on(event, listener) {
    return SocketReference.#listen(this, super.on, event, listener);
  }

  addListener(event, listener) {
    return SocketReference.#listen(this, super.on, event, listener);
  }

  prependListener(event, listener) {
    return SocketReference.#listen(this, super.prependListener, event, listener);
  }

  static #listen(self, add, event, listener) {
    SocketReference.#of(self);
    const isWatched = !fates.includes(event) || SocketReference.#watch(self);
    add.call(self, event, listener);
    if (!isWatched && event === 'lost') nextTick(SocketReference.#tellLate, self, listener);
    return self;
  }

  // False: the name is lost already. The addon keeps the object weakly.
  static #watch(self) {
    const native = SocketReference.#open(self);
    if (self.#resource) return !self.#isLost;
    events.watch();
    if (!low.watch(native, self)) return false;
    self.#resource = new AsyncResource('SOCKREFWATCH');
    return true;
  }

  [events.onFate](event) {
    if (this.#native === null) return;
    if (fates[event] === 'lost') this.#isLost = true;
    this.#resource.runInAsyncScope(this.emit, this, fates[event]);
  }

  // Who begins to listen after the loss hears of it as well.
  static #tellLate(self, listener) {
    if (self.#native !== null && self.rawListeners('lost').includes(listener)) listener.call(self);
  }
}
if (Symbol.dispose) {
  Object.defineProperty(SocketReference.prototype, Symbol.dispose, {
    value: function dispose() { this.close(); }, writable: true, configurable: true, enumerable: false,
  });
}
Object.defineProperty(SocketReference.prototype, Symbol.toStringTag, { value: 'SocketReference', configurable: true });

function wrap(native, registry) {
  return new SocketReference(key, native, registry);
}

function getExisting(nativeRegistry, path, registry) {
  const bytes = pathBytes(path);
  try {
    return wrap(low.sockref_registry_get_existing(nativeRegistry, bytes), registry);
  } catch (error) {
    if (error.code === 'ESOCKREF_NOTFOUND') return null;
    throw error;
  }
}

module.exports = { SocketReference, wrap, getExisting, held, isReference, nativeOf, registryOf };
