'use strict';

// Sockets of which the program has the descriptor.

const fs = require('node:fs');
const tty = require('node:tty');
const low = require('../low.js');
const events = require('../events.js');
const errors = require('./errors.js');
const { isInt32 } = require('./validate.js');

const HALF_OPEN = 2; // SOCKREF_CONN_HALF_OPEN

// What Node calls it.
function typeOf(fd) {
  if (tty.isatty(fd)) return 'TTY';
  try {
    const found = fs.fstatSync(fd);
    if (found.isFile() || found.isCharacterDevice()) return 'FILE';
    return found.isFIFO() ? 'PIPE' : 'UNKNOWN';
  } catch {
    return 'UNKNOWN';
  }
}

/** Makes a connection of a connected descriptor, and gives its slot. */
function adopt(fd) {
  isInt32(fd, 'fd', 0);
  if (low.socket_family(fd) === 0) throw errors.invalidFdType(typeOf(fd));
  events.listen();
  const slot = low.adopt(fd, HALF_OPEN);
  if (slot < 0) throw errors.callFailed(slot, 'open');
  return slot;
}

module.exports = { adopt };
