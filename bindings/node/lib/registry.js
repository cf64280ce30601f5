'use strict';

const low = require('./low.js');
const { wrap, getExisting } = require('./reference.js');
const { pathBytes, milliseconds, descriptor, nativeOptions } = require('./arguments.js');
const { isSockrefError, invalidThis, closed, aborted } = require('./errors.js');

const patience = 5000;

// Every call of the interface, on the native registry given first; null is the default one. The last argument
// is the Registry that references must keep, if there is one.
const calls = {
  getOrCreate(native, path, registry) {
    return wrap(low.sockref_registry_get_or_create(native, pathBytes(path, { optional: true })), registry);
  },

  getExisting,

  registerNew(native, path, fd, registry) {
    const bytes = pathBytes(path, { optional: true });
    return wrap(low.sockref_registry_register_new(native, bytes, descriptor(fd)), registry);
  },

  async startListener(native, path, options, registry) {
    const bytes = pathBytes(path, { optional: true });
    const { native: set, signal } = nativeOptions(options, 'call', { signal: true });
    if (signal?.aborted) throw aborted(signal);
    const [number, started] = low.start(native, bytes, set);
    return wrap(await (signal ? withSignal(signal, number, started) : started), registry);
  },

  startListenerSync(native, path, options, registry) {
    const bytes = pathBytes(path, { optional: true });
    const { native: set } = nativeOptions(options, 'call');
    return wrap(low.sockref_registry_listen(native, bytes, set), registry);
  },

  // Questions answer false for whatever is no name.
  isSocketActive(native, path) {
    try {
      return low.sockref_registry_is_socket_active(native, pathBytes(path));
    } catch (error) {
      if (isSockrefError(error) || error.code === 'ERR_INVALID_ARG_TYPE') return false;
      throw error;
    }
  },

  activeSocketCount(native) {
    return low.sockref_registry_active_socket_count(native);
  },

  guardStatus(native) {
    return low.sockref_guard_status(native);
  },

  stats(native) {
    return low.registry_stats(native);
  },

  metrics(native) {
    return low.registry_metrics(native);
  },

  cleanup(native, path) {
    low.sockref_registry_cleanup(native, pathBytes(path));
  },

  cleanupAll(native) {
    return low.cleanup_all(native);
  },

  async sweep(native, directory) {
    return low.sweep(native, pathBytes(directory, { optional: true, name: 'directory' }));
  },

  async drain(native, timeoutMs = patience) {
    return low.drain(native, milliseconds(timeoutMs));
  },

  async shutdown(native, timeoutMs = patience) {
    return low.shutdown(native, milliseconds(timeoutMs));
  },
};

// A start that is cancelled in time comes with an error; one that was too fast is given back at once.
async function withSignal(signal, number, started) {
  const cancel = () => low.cancel_start(number);
  signal.addEventListener('abort', cancel, { once: true });
  let native;
  try {
    native = await started;
  } catch (error) {
    throw signal.aborted ? aborted(signal) : error;
  } finally {
    signal.removeEventListener('abort', cancel);
  }
  if (!signal.aborted) return native;
  low.close_reference(native);
  throw aborted(signal);
}

/** A registry of its own: for tests, and for several tenants in one process. */
class Registry {
  #native;

  constructor(options) {
    this.#native = low.sockref_registry_new(nativeOptions(options, 'registry').native);
  }

  static #of(self) {
    if (typeof self !== 'object' || self === null || !(#native in self)) throw invalidThis('Registry');
    return self;
  }

  static #open(self) {
    const native = Registry.#of(self).#native;
    if (native === null) throw closed('registry');
    return native;
  }

  getOrCreate(path) {
    return calls.getOrCreate(Registry.#open(this), path, this);
  }

  getExisting(path) {
    return calls.getExisting(Registry.#open(this), path, this);
  }

  registerNew(path, fd) {
    return calls.registerNew(Registry.#open(this), path, fd, this);
  }

  async startListener(path, options) {
    return calls.startListener(Registry.#open(this), path, options, this);
  }

  startListenerSync(path, options) {
    return calls.startListenerSync(Registry.#open(this), path, options, this);
  }

  isSocketActive(path) {
    const native = Registry.#of(this).#native;
    return native !== null && calls.isSocketActive(native, path);
  }

  activeSocketCount() {
    const native = Registry.#of(this).#native;
    return native === null ? 0 : calls.activeSocketCount(native);
  }

  guardStatus() {
    return calls.guardStatus(Registry.#open(this));
  }

  stats() {
    return calls.stats(Registry.#open(this));
  }

  metrics() {
    return calls.metrics(Registry.#open(this));
  }

  cleanup(path) {
    calls.cleanup(Registry.#open(this), path);
  }

  cleanupAll() {
    return calls.cleanupAll(Registry.#open(this));
  }

  async sweep(directory) {
    return calls.sweep(Registry.#open(this), directory);
  }

  async drain(timeoutMs) {
    return calls.drain(Registry.#open(this), timeoutMs);
  }

  async shutdown(timeoutMs) {
    return calls.shutdown(Registry.#open(this), timeoutMs);
  }

  /** Frees it: pending starts are cancelled, references that live stay valid. */
  close() {
    const native = Registry.#of(this).#native;
    if (native === null) return;
    this.#native = null;
    low.close_registry(native);
  }
}
if (Symbol.dispose) {
  Object.defineProperty(Registry.prototype, Symbol.dispose, {
    value: function dispose() { this.close(); }, writable: true, configurable: true, enumerable: false,
  });
}
Object.defineProperty(Registry.prototype, Symbol.toStringTag, { value: 'Registry', configurable: true });

module.exports = { Registry, calls };
