'use strict';

const worker = require('node:worker_threads');
const low = require('./low.js');
const { wrap, getExisting, isReference, nativeOf, registryOf } = require('./reference.js');
const { Registry, calls } = require('./registry.js');
const { pathBytes, checkObject, checkSignal } = require('./arguments.js');
const { invalidType, invalidValue, outOfRange, invalidThis, closed } = require('./errors.js');

const maxCount = 1024; // of one start

// Numbers of the C interface.
const policies = { 'round-robin': 1, 'least-references': 2 };

/**
 * Several names, of which one is picked at a time. A pool holds a reference of its own to each of its members;
 * close() gives these back at once, the garbage collector does where that was forgotten.
 */
class SocketPool {
  #native = low.sockref_pool_new();
  // Of members that are not of the default one, by their numbers, with their paths: they must not be collected before
  // these.
  #registries = new Map();

  constructor() {
    worker.markAsUncloneable?.(this);
    worker.markAsUntransferable(this);
  }

  static #of(self) {
    if (typeof self !== 'object' || self === null || !(#native in self)) throw invalidThis('SocketPool');
    return self;
  }

  static #open(self) {
    const native = SocketPool.#of(self).#native;
    if (native === null) throw closed('pool');
    return native;
  }

  /** A pool of so many names that are started side by side: all of them, or none. */
  static async start(path, count, options) {
    checkObject('options', options);
    const references = await startAll(path, namesOf(path, checkCount(count)), { ...options });
    const pool = new SocketPool();
    try {
      for (const reference of references) pool.add(reference);
    } catch (error) {
      pool.close();
      throw error;
    } finally {
      closeAll(references);
    }
    return pool;
  }

  /** Makes a name a member; the reference stays the caller's. */
  add(reference) {
    const pool = SocketPool.#open(this);
    const native = nativeMember(reference);
    const size = pool.size();
    pool.add(native);
    const registry = registryOf(reference);
    const path = reference.pathBytes;
    if (pool.size() === size) this.#forgetPast(registry, path); // it has taken the place of one that was revoked
    if (registry) this.#registries.set(native.id(), { registry, path });
  }

  // Nobody is given a revoked member any more. A registry has one active name of a path, which is the new one now.
  #forgetPast(registry, path) {
    for (const [id, kept] of this.#registries) {
      const isPast = kept.registry === registry && kept.path.equals(path);
      if (isPast || !kept.registry.isSocketActive(kept.path)) this.#registries.delete(id);
    }
  }

  remove(reference) {
    const pool = SocketPool.#open(this);
    const native = nativeMember(reference);
    pool.remove(native);
    this.#registries.delete(native.id());
  }

  /** A reference to a member that is active, of the caller. */
  pick(policy = 'round-robin') {
    const native = SocketPool.#open(this).pick(policyNumber(policy));
    return wrap(native, this.#registries.get(native.id())?.registry);
  }

  /** Members, active or not. */
  get size() {
    const native = SocketPool.#of(this).#native;
    return native === null ? 0 : native.size();
  }

  close() {
    const native = SocketPool.#of(this).#native;
    if (native === null) return;
    this.#native = null;
    this.#registries.clear();
    low.close_pool(native);
  }
}
if (Symbol.dispose) {
  Object.defineProperty(SocketPool.prototype, Symbol.dispose, {
    value: function dispose() { this.close(); }, writable: true, configurable: true, enumerable: false,
  });
}
Object.defineProperty(SocketPool.prototype, Symbol.toStringTag, { value: 'SocketPool', configurable: true });

function nativeMember(reference) {
  if (!isReference(reference)) throw invalidType('reference', 'a SocketReference', reference);
  return nativeOf(reference);
}

function policyNumber(policy) {
  if (typeof policy !== 'string') throw invalidType('policy', 'a string', policy);
  if (!Object.hasOwn(policies, policy)) throw invalidValue(`unknown policy "${policy}"`);
  return policies[policy];
}

function checkCount(count) {
  if (typeof count !== 'number') throw invalidType('count', 'a number', count);
  if (!Number.isInteger(count) || count < 1 || count > maxCount) {
    throw outOfRange('count', `an integer from 1 to ${maxCount}`, count);
  }
  return count;
}

// As sockref_pool_listen() names them. What is no port is left to the library to refuse.
function namesOf(path, count) {
  const bytes = pathBytes(path, { optional: true });
  if (bytes === null) return new Array(count).fill(undefined);
  const text = bytes.toString('latin1');
  const [, host, port] = /^(tcp:.*:)(\d+)$/s.exec(text) ?? [];
  return Array.from({ length: count }, (_, i) => {
    if (!text.startsWith('tcp:')) return Buffer.concat([bytes, Buffer.from(`.${i}`)]);
    if (port === undefined || Number(port) === 0) return bytes;
    return Buffer.from(`${host}${Number(port) + i}`, 'latin1');
  });
}

// What is no name by itself, such as a directory, might be one with an ending.
function checkName(path, registry) {
  try {
    (registry ? registry.getExisting(path) : getExisting(null, path))?.close();
  } catch (error) {
    if (error.code !== 'ESOCKREF_LIMIT') throw error; // it has as many references as it may have
  }
}

function closeAll(references) {
  for (const reference of references) reference.close();
}

// The first failure cancels the starts that are under way, and its error is told.
async function startAll(path, names, { registry, signal, ...options }) {
  if (registry !== undefined && !(registry instanceof Registry)) throw invalidType('registry', 'a Registry', registry);
  if (signal !== undefined) checkSignal(signal);
  if (path !== undefined) {
    checkName(path, registry);
    checkName(names.at(-1), registry); // none is longer
  }
  const controllers = names.map(() => new AbortController()); // of many listeners to one signal Node would warn
  const abortAll = (reason) => controllers.forEach((controller) => controller.abort(reason));
  const abort = () => abortAll(signal.reason);
  const failures = [];
  const start = async (name, i) => {
    const given = { ...options, signal: controllers[i].signal, ...(name === undefined && { unique: true }) };
    try {
      return await (registry ? registry.startListener(name, given) : calls.startListener(null, name, given));
    } catch (error) {
      failures.push(error);
      abortAll();
      return undefined;
    }
  };
  signal?.addEventListener('abort', abort, { once: true });
  if (signal?.aborted) abort();
  const started = await Promise.all(names.map(start));
  signal?.removeEventListener('abort', abort);
  if (failures.length === 0) return started;
  closeAll(started.filter((reference) => reference));
  throw failures[0];
}

module.exports = { SocketPool };
