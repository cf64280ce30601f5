'use strict';

// Errors as Node's own modules make them: codes, names and the shape of messages are part of what programs compare.

const { inspect, getSystemErrorMap } = require('node:util');
const { constants } = require('node:os');
const low = require('../low.js');

function make(Base, code, message, properties) {
  const error = Object.assign(new Base(message), { code }, properties);
  Object.defineProperty(error, 'toString', { value: toText, writable: true, configurable: true });
  return showCode(error, make);
}

// The code shows in the stack and in the text, as everywhere in Node, and not in the name.
function showCode(error, maker) {
  error.name = `${error.name} [${error.code}]`;
  Error.captureStackTrace(error, maker);
  void error.stack; // which is formatted now
  delete error.name;
  return error;
}

function toText() {
  return `${this.name} [${this.code}]: ${this.message}`;
}

function received(value) {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'function') return `function ${value.name}`;
  if (typeof value === 'object') {
    return value.constructor?.name ? `an instance of ${value.constructor.name}` : inspect(value, { depth: -1 });
  }
  const text = inspect(value, { colors: false });
  return `type ${typeof value} (${text.length > 28 ? `${text.slice(0, 25)}...` : text})`;
}

const kindOf = (name) => (name.includes('.') ? 'property' : 'argument');

/** `expected` is what stands after "must be": "of type number", "an instance of AbortSignal". */
function invalidArgType(name, expected, value) {
  return make(TypeError, 'ERR_INVALID_ARG_TYPE',
    `The "${name}" ${kindOf(name)} must be ${expected}. Received ${received(value)}`);
}

function invalidArgValue(name, value, reason = 'is invalid') {
  const text = inspect(value);
  return make(TypeError, 'ERR_INVALID_ARG_VALUE',
    `The ${kindOf(name)} '${name}' ${reason}. Received ${text.length > 128 ? `${text.slice(0, 128)}...` : text}`);
}

function outOfRange(name, range, value) {
  return make(RangeError, 'ERR_OUT_OF_RANGE',
    `The value of "${name}" is out of range. It must be ${range}. Received ${inspect(value)}`);
}

function badPort(name, value) {
  return make(RangeError, 'ERR_SOCKET_BAD_PORT', `${name} should be >= 0 and < 65536. Received ${received(value)}.`);
}

function missingArgs(...names) {
  return make(TypeError, 'ERR_MISSING_ARGS',
    `The ${names.map((name) => `"${name}"`).join(' or ')} argument must be specified`);
}

const plain = {
  alreadyListening: [Error, 'ERR_SERVER_ALREADY_LISTEN', 'Listen method has been called more than once without closing.'],
  notRunning: [Error, 'ERR_SERVER_NOT_RUNNING', 'Server is not running.'],
  socketClosed: [Error, 'ERR_SOCKET_CLOSED', 'Socket is closed'],
  closedBeforeConnection: [Error, 'ERR_SOCKET_CLOSED_BEFORE_CONNECTION',
    'Socket closed before the connection was established'],
  handleAdopted: [Error, 'ERR_SOCKET_HANDLE_ADOPTED', 'The bound socket has already been adopted by a server or socket'],
  connectionTimeout: [Error, 'ERR_SOCKET_CONNECTION_TIMEOUT', 'Socket connection timeout'],
  invalidHandleType: [TypeError, 'ERR_INVALID_HANDLE_TYPE', 'This handle type cannot be sent'],
};

/** One that has no arguments, by its name here. */
function plainError(name) {
  return make(...plain[name]);
}

/** Its code does not show, for Node tells it as the system does. */
function endedByOther() {
  return Object.assign(new Error('This socket has been ended by the other party'), { code: 'EPIPE' });
}

function invalidFdType(type) {
  return make(TypeError, 'ERR_INVALID_FD_TYPE', `Unsupported fd type: ${type}`);
}

function invalidAddress(address) {
  return make(TypeError, 'ERR_INVALID_IP_ADDRESS', `Invalid IP address: ${address}`);
}

function invalidFamily(family, host, port) {
  return make(RangeError, 'ERR_INVALID_ADDRESS_FAMILY', `Invalid address family: ${family} ${host}:${port}`,
    { host, port });
}

function blocked(address) {
  return make(Error, 'ERR_IP_BLOCKED', `IP(${address}) is blocked by net.BlockList`);
}

/** What every attempt of a connect failed with, as one. */
function allFailed(errors) {
  const error = new AggregateError(errors);
  error.code = errors[0].code;
  return showCode(error, allFailed);
}

// What statuses of the library are to a program that knows only the system's.
const systemCodes = {
  ESOCKREF_PATH: 'EINVAL',
  ESOCKREF_PATHLEN: 'ENAMETOOLONG',
  ESOCKREF_FOREIGN: 'EADDRINUSE',
  ESOCKREF_EXISTS: 'EADDRINUSE',
  ESOCKREF_NOTFOUND: 'ENOENT',
  ESOCKREF_LIMIT: 'EMFILE',
  ESOCKREF_TIMEOUT: 'EADDRINUSE', // somebody else is busy with the name
  ESOCKREF_BUSY: 'EADDRINUSE',
  ESOCKREF_UNTRUSTED: 'EACCES',
  ESOCKREF_UNSUPPORTED: 'ENOTSUP',
};

/** A status of the library, or the code of one, as a negative errno. */
function errnoOf(status, code = low.sockref_status_name(status)) {
  if (!code.startsWith('ESOCKREF_')) return status;
  return -constants.errno[systemCodes[code] ?? 'ECANCELED'];
}

function systemError(errno, syscall, details, properties) {
  const [code] = getSystemErrorMap().get(errno) ?? [`Unknown system error ${errno}`];
  return Object.assign(new Error(`${syscall} ${code}${details}`), { errno, code, syscall }, properties);
}

/** "read ECONNRESET" */
function callFailed(status, syscall) {
  return systemError(errnoOf(status), syscall, '');
}

const place = (address, port) => (port > 0 ? ` ${address}:${port}` : address ? ` ${address}` : '');

/** "connect ECONNREFUSED 127.0.0.1:1" */
function connectFailed(status, syscall, address, port, local) {
  const error = systemError(errnoOf(status), syscall,
    `${place(address, port)}${local ? ` - Local (${local.address}:${local.port})` : ''}`, { address });
  if (port) error.port = port;
  if (local) Object.assign(error, { localAddress: local.address, localPort: local.port });
  return error;
}

/** "listen EADDRINUSE: address already in use 127.0.0.1:1". Its properties have another order. */
function listenFailed(errno, syscall, address, port) {
  const [code, text] = getSystemErrorMap().get(errno) ?? [`Unknown system error ${errno}`, 'unknown error'];
  const error = new Error(`${syscall} ${code}: ${text}${place(address, port)}`);
  Object.assign(error, { code, errno, syscall, address });
  if (port) error.port = port;
  return error;
}

module.exports = {
  invalidArgType, invalidArgValue, outOfRange, badPort, missingArgs, plainError, endedByOther, invalidFdType,
  invalidAddress, invalidFamily, blocked, allFailed, errnoOf, callFailed, connectFailed, listenFailed,
};
