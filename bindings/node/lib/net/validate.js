'use strict';

// Arguments and options: what they may be, and the forms that connect() and listen() take them in.

const { BlockList } = require('node:net');
const { invalidArgType, invalidArgValue, outOfRange, badPort } = require('./errors.js');

function isNumber(value, name) {
  if (typeof value !== 'number') throw invalidArgType(name, 'of type number', value);
}

function isString(value, name) {
  if (typeof value !== 'string') throw invalidArgType(name, 'of type string', value);
}

function isHost(value, name) {
  isString(value, name);
  if (value.includes('\0')) throw invalidArgValue(name, value, 'must be a string without null bytes');
}

function isBoolean(value, name) {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'of type boolean', value);
}

function isFunction(value, name) {
  if (typeof value !== 'function') throw invalidArgType(name, 'of type function', value);
}

function isInt32(value, name, least = -(2 ** 31), most = 2 ** 31 - 1) {
  isNumber(value, name);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < least || value > most) throw outOfRange(name, `>= ${least} && <= ${most}`, value);
}

function isSignal(value, name) {
  if (value === null || typeof value !== 'object' || !('aborted' in value)) {
    throw invalidArgType(name, 'an instance of AbortSignal', value);
  }
}

function isBlockList(value, name) {
  if (!BlockList.isBlockList?.(value) && !(value instanceof BlockList)) {
    throw invalidArgType(name, 'an instance of net.BlockList', value);
  }
}

/** A port as a number. */
function portOf(value, name = 'Port') {
  const port = +value;
  if ((typeof value !== 'number' && (typeof value !== 'string' || value.trim() === '')) ||
    port !== port >>> 0 || port > 65535) {
    throw badPort(name, value);
  }
  return port;
}

const longest = 2 ** 31 - 1;

/** How long a timer may run, in milliseconds. */
function timerDuration(value, name) {
  isNumber(value, name);
  if (value < 0 || !Number.isFinite(value)) throw outOfRange(name, 'a non-negative finite number', value);
  if (value <= longest) return value;
  process.emitWarning(`${value} does not fit into a 32-bit signed integer.\nTimer duration was truncated to ${longest}.`,
    'TimeoutOverflowWarning');
  return longest;
}

/** Milliseconds, of which the system counts whole seconds. */
function keepAliveDelay(options) {
  if (options.keepAliveInitialDelay === undefined) return 0;
  isNumber(options.keepAliveInitialDelay, 'options.keepAliveInitialDelay');
  return wholeSeconds(options.keepAliveInitialDelay);
}

function wholeSeconds(milliseconds) {
  const seconds = ~~(milliseconds / 1000);
  return seconds > 0 ? seconds * 1000 : 0;
}

/** A number, or a text of one, that is not negative; else false. */
function toNumber(value) {
  const number = Number(value);
  return number >= 0 ? number : false;
}

const isPath = (value) => typeof value === 'string' && toNumber(value) === false;

const normal = Symbol('normalized');

/** The forms (options), (path) and (port, host), each with a callback or without, as [options, callback]. */
function normalize(args) {
  const [first, second] = args;
  const last = args[args.length - 1];
  let options = {};
  if (typeof first === 'object' && first !== null) options = first;
  else if (args.length > 0 && isPath(first)) options.path = first;
  else if (args.length > 0) {
    options.port = first;
    if (typeof second === 'string') options.host = second;
  }
  const result = [options, typeof last === 'function' ? last : null];
  result[normal] = true;
  return result;
}

const isNormalized = (value) => Array.isArray(value) && value[normal] === true;

module.exports = {
  isNumber, isString, isHost, isBoolean, isFunction, isInt32, isSignal, isBlockList, portOf, timerDuration, keepAliveDelay,
  wholeSeconds, toNumber, isPath, normalize, isNormalized,
};
