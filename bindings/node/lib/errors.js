'use strict';

// Errors: what the library reports is a SockrefError, a wrong argument is a TypeError with Node's codes.

const { inspect } = require('node:util');

// Linux's numbers of what comes nearest to sockref's own codes.
const nearest = {
  ESOCKREF_PATH: 22, // EINVAL
  ESOCKREF_PATHLEN: 36, // ENAMETOOLONG
  ESOCKREF_FOREIGN: 98, // EADDRINUSE
  ESOCKREF_EXISTS: 17, // EEXIST
  ESOCKREF_NOTFOUND: 2, // ENOENT
  ESOCKREF_LIMIT: 24, // EMFILE
  ESOCKREF_CLOSED: 9, // EBADF
  ESOCKREF_FORKED: 130, // EOWNERDEAD
  ESOCKREF_SHUTDOWN: 108, // ESHUTDOWN
  ESOCKREF_TIMEOUT: 110, // ETIMEDOUT
  ESOCKREF_CANCELED: 125, // ECANCELED
  ESOCKREF_BUSY: 16, // EBUSY
  ESOCKREF_UNTRUSTED: 1, // EPERM
  ESOCKREF_UNSUPPORTED: 95, // ENOTSUP
};

/** What the library or the system refused. `errno` is negative, as everywhere in Node. */
class SockrefError extends Error {
  constructor(code, message, { errno, syscall, path } = {}) {
    super(`${code}: ${message}`);
    this.code = code;
    this.errno = errno ?? -(nearest[code] ?? 0);
    if (syscall !== undefined) this.syscall = syscall;
    if (path !== undefined) this.path = path;
  }
}
Object.defineProperty(SockrefError.prototype, 'name', {
  value: 'SockrefError', writable: true, configurable: true, enumerable: false,
});

/** The copy of this file that was loaded last above the addon makes the errors of all: see events.js. */
function isSockrefError(error) {
  return error?.name === 'SockrefError';
}

// The addon builds its errors with this.
function fromStatus(status, code, message, osErrno, syscall, path) {
  const errno = code in nearest ? undefined : status;
  return new SockrefError(code, message, { errno, syscall, path });
}

function withCode(error, code) {
  error.code = code;
  return error;
}

function invalidType(name, expected, value) {
  const got = value === null || value === undefined ? String(value) : inspect(value, { depth: 0 });
  return withCode(new TypeError(`"${name}" must be ${expected}; got ${got}`), 'ERR_INVALID_ARG_TYPE');
}

function invalidValue(message) {
  return withCode(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

function outOfRange(name, expected, value) {
  return withCode(new RangeError(`"${name}" must be ${expected}; got ${inspect(value)}`), 'ERR_OUT_OF_RANGE');
}

function invalidThis(type) {
  return withCode(new TypeError(`this is not a ${type}`), 'ERR_INVALID_THIS');
}

function illegalConstructor(hint) {
  return withCode(new TypeError(`Illegal constructor: ${hint}`), 'ERR_ILLEGAL_CONSTRUCTOR');
}

function closed(what, path) {
  return new SockrefError('ESOCKREF_CLOSED', `the ${what} is closed`, { path });
}

function aborted(signal) {
  const error = new Error('The operation was aborted', { cause: signal.reason });
  error.name = 'AbortError';
  return withCode(error, 'ABORT_ERR');
}

module.exports = {
  SockrefError, isSockrefError, fromStatus, invalidType, invalidValue, outOfRange, invalidThis, illegalConstructor, closed,
  aborted,
};
