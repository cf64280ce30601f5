'use strict';

// BoundSocket: a name that is bound before it is known whether it is to listen or to connect. Whoever takes it, a
// server or a socket, has its reference from then on.

const { isIP } = require('node:net');
const low = require('../low.js');
const { nativeOf } = require('../reference.js');
const errors = require('./errors.js');
const listening = require('./listening.js');
const { nameToListen, tcpAddress, tcpName } = require('./names.js');
const { isBoolean, isString, portOf } = require('./validate.js');

/** Whether a value is a BoundSocket. */
let isBound;
/** Takes what a BoundSocket has: { reference, isPipe, local }, where local is what address() of a socket tells. */
let take;

class BoundSocket {
  #reference; // null: taken, or closed
  #isPipe;
  #local;

  static {
    isBound = (value) => typeof value === 'object' && value !== null && #reference in value;
    take = (bound) => {
      const reference = BoundSocket.#open(bound);
      bound.#reference = null;
      return { reference, isPipe: bound.#isPipe, local: bound.#local };
    };
  }

  static #open(self) {
    if (self.#reference === null) throw errors.plainError('handleAdopted');
    return self.#reference;
  }

  constructor(options = {}) {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw errors.invalidArgType('options', 'of type object', options);
    }
    this.#isPipe = options.path !== undefined;
    this.#reference = this.#isPipe ? onPath(options) : onAddress(options);
    this.#local = this.#isPipe ? { address: options.path } : tcpAddress(low.local_address(nativeOf(this.#reference)));
  }

  /** As server.address(). */
  address() {
    BoundSocket.#open(this);
    return this.#isPipe ? this.#local.address : { ...this.#local };
  }

  /** The descriptor, which stays this object's. */
  fd() {
    return low.descriptor(nativeOf(BoundSocket.#open(this)));
  }

  /** Frees the name, if nobody has taken it. */
  close() {
    take(this).reference.close();
  }

  get isPipe() {
    return this.#isPipe;
  }

  static {
    if (Symbol.dispose) {
      Object.defineProperty(this.prototype, Symbol.dispose, {
        value: function dispose() { if (this.#reference !== null) this.close(); },
        writable: true, configurable: true, enumerable: false,
      });
    }
  }
}

function onPath(options) {
  const { path, host, port, ipv6Only, reusePort } = options;
  if ([host, port, ipv6Only, reusePort].some((value) => value !== undefined)) {
    throw errors.invalidArgValue('options', options, 'path is mutually exclusive with host, port, ipv6Only, and reusePort');
  }
  isString(path, 'options.path');
  return bind(() => nameToListen(path), {}, (errno) => errors.callFailed(errno, 'bind'));
}

function onAddress(options) {
  const ipv6Only = options.ipv6Only ?? false, reusePort = options.reusePort ?? false;
  const host = options.host ?? (ipv6Only ? '::' : '0.0.0.0');
  const port = portOf(options.port ?? 0, 'options.port');
  isBoolean(ipv6Only, 'options.ipv6Only');
  isBoolean(reusePort, 'options.reusePort');
  isString(host, 'options.host');
  if (!isIP(host)) {
    throw errors.invalidArgValue('options.host', host,
      'must be a numeric IP address; net.BoundSocket does not perform DNS resolution');
  }
  return bind(() => tcpName(host, port), listening.tcpSettings({ ipv6Only, reusePort }),
    (errno) => errors.connectFailed(errno, 'bind', host, port));
}

function bind(nameOf, settings, failed) {
  try {
    return listening.bound(nameOf(), settings);
  } catch (error) {
    const errno = listening.errnoOf(error);
    throw errno === undefined ? error : failed(errno);
  }
}

module.exports = { BoundSocket, isBound, take };
