'use strict';

// From the arguments of the public functions to what the addon takes.

const { isUint8Array } = require('node:util/types');
const low = require('./low.js');
const { invalidType, invalidValue, outOfRange } = require('./errors.js');

/** A path as a Buffer; undefined, where it is allowed, as null: the default name. */
function pathBytes(value, { optional = false, name = 'path' } = {}) {
  if (typeof value === 'string') return Buffer.from(value);
  if (Buffer.isBuffer(value)) return value;
  if (isUint8Array(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (value === undefined && optional) return null;
  throw invalidType(name, `a string, a Buffer or a Uint8Array${optional ? ', or left out' : ''}`, value);
}

const maxInt = 2 ** 31 - 1;

function milliseconds(value, name = 'timeoutMs') {
  if (value === Infinity) return -1;
  if (typeof value !== 'number') throw invalidType(name, 'a number', value);
  if (!Number.isInteger(value) || value < -1 || value > maxInt) {
    throw outOfRange(name, `an integer from -1 (no limit) to ${maxInt}`, value);
  }
  return value;
}

function descriptor(value) {
  if (typeof value !== 'number') throw invalidType('fd', 'a number', value);
  if (!Number.isInteger(value) || value < 0 || value > maxInt) throw outOfRange('fd', 'a descriptor', value);
  return value;
}

function integer(name, value) {
  if (typeof value !== 'number') throw invalidType(name, 'a number', value);
  if (!Number.isSafeInteger(value)) throw outOfRange(name, 'an integer', value);
  return value;
}

function flag(name, value) {
  if (typeof value !== 'boolean') throw invalidType(name, 'a boolean', value);
  return value ? 1 : 0;
}

// Names, numbers of the C interface, where they may stand, and what their values become.
const both = { registry: true, call: true };
const options = {
  mode: { number: 1, convert: integer, ...both },
  backlog: { number: 2, convert: integer, ...both },
  directory: { number: 3, convert: pathOption, registry: true, text: true },
  share: { number: 4, convert: flag, ...both },
  guard: { number: 5, convert: guard, ...both },
  cleanupDelayMs: { number: 6, convert: integer, ...both },
  cleanupTimeoutMs: { number: 7, convert: integer, ...both },
  startTimeoutMs: { number: 8, convert: integer, ...both },
  maxSockets: { number: 9, convert: integer, registry: true },
  maxReferences: { number: 10, convert: integer, registry: true },
  maxConnections: { number: 11, convert: integer, ...both },
  maxBuffered: { number: 12, convert: integer, ...both },
  unique: { number: 13, convert: flag, ...both },
  exclusive: { number: 14, convert: flag, ...both },
  handover: { number: 15, convert: flag, ...both },
  ipv6Only: { number: 16, convert: flag, ...both },
  reusePort: { number: 17, convert: flag, ...both },
  keepFile: { number: 18, convert: flag, registry: true },
  bindOnly: { number: 19, convert: flag, ...both },
};

function guard(name, value) {
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (value === 'required') return 2;
  throw invalidType(name, "a boolean or 'required'", value);
}

function pathOption(name, value) {
  return pathBytes(value, { name });
}

function setOption(native, name, value, place) {
  const option = Object.hasOwn(options, name) ? options[name] : undefined;
  if (!option) throw invalidValue(`unknown option "${name}"`);
  if (!option[place]) {
    throw invalidValue(`option "${name}" belongs to ${place === 'call' ? 'a registry' : 'a call'}`);
  }
  const converted = option.convert(name, value);
  if (option.text) native.set_string(option.number, converted);
  else native.set_int(option.number, converted);
}

function isSignal(value) {
  return typeof value === 'object' && value !== null && 'aborted' in value &&
    typeof value.addEventListener === 'function' && typeof value.removeEventListener === 'function';
}

function checkSignal(value) {
  if (!isSignal(value)) throw invalidType('signal', 'an AbortSignal', value);
}

/** Options are an object, or left out. */
function checkObject(name, value) {
  if (value !== undefined && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw invalidType(name, 'an object', value);
  }
}

/** Options as the addon takes them, and the signal among them. What is undefined is left out. */
function nativeOptions(given, place, { signal: mayHaveSignal = false } = {}) {
  checkObject('options', given);
  const native = new low.sockref_options();
  let signal;
  for (const [name, value] of Object.entries(given ?? {})) {
    if (value === undefined) continue;
    if (name === 'signal') {
      if (!mayHaveSignal) throw invalidValue('option "signal" belongs to startListener');
      checkSignal(value);
      signal = value;
    } else {
      setOption(native, name, value, place);
    }
  }
  return { native, signal };
}

module.exports = { pathBytes, milliseconds, descriptor, checkObject, checkSignal, nativeOptions };
