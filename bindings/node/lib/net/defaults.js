'use strict';

// What autoSelectFamily is where a connect does not say. Node's command line options set what it is at first.

const net = require('node:net');
const { isBoolean, isInt32 } = require('./validate.js');

let autoSelectFamily = net.getDefaultAutoSelectFamily();
let attemptTimeout = net.getDefaultAutoSelectFamilyAttemptTimeout();

const shortest = 10;

function getDefaultAutoSelectFamily() {
  return autoSelectFamily;
}

function setDefaultAutoSelectFamily(value) {
  isBoolean(value, 'value');
  autoSelectFamily = value;
}

function getDefaultAutoSelectFamilyAttemptTimeout() {
  return attemptTimeout;
}

function setDefaultAutoSelectFamilyAttemptTimeout(value) {
  isInt32(value, 'value', 1);
  attemptTimeout = Math.max(value, shortest);
}

/** The two options of a connect, or what they are by default. */
function selection(options) {
  const wanted = options.autoSelectFamily ?? autoSelectFamily;
  const time = options.autoSelectFamilyAttemptTimeout ?? attemptTimeout;
  isBoolean(wanted, 'options.autoSelectFamily');
  isInt32(time, 'options.autoSelectFamilyAttemptTimeout', 1);
  return { autoSelectFamily: wanted, attemptTimeout: Math.max(time, shortest) };
}

module.exports = {
  getDefaultAutoSelectFamily, setDefaultAutoSelectFamily, getDefaultAutoSelectFamilyAttemptTimeout,
  setDefaultAutoSelectFamilyAttemptTimeout, selection,
};
