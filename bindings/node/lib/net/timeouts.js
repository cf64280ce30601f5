'use strict';

// Inactivity. The library tells of it, once the socket is connected, so that no timer is moved for each chunk; before
// that there is a timer here. As Node's it is told once, and again only when something has happened in between; in the
// async context of who asked for it.

const { AsyncResource } = require('node:async_hooks');
const { clearTimeout, setTimeout } = require('node:timers');
const low = require('../low.js');
const { kSlot, kIsOpen, kTime, kTimeScope, kTimer, kIsQuiet } = require('./state.js');
const { isFunction, timerDuration } = require('./validate.js');

function set(socket, milliseconds, callback) {
  if (socket.destroyed) return socket;
  socket.timeout = milliseconds;
  const time = timerDuration(milliseconds, 'msecs');
  if (callback !== undefined) isFunction(callback, 'callback');
  const hadTime = socket[kTime] > 0;
  socket[kTime] = Math.ceil(time);
  if (time > 0) socket[kTimeScope] = new AsyncResource('SOCKREFTIMEOUT');
  if (time > 0 || hadTime) restart(socket);
  if (callback !== undefined) {
    if (time > 0) socket.once('timeout', callback);
    else socket.removeListener('timeout', callback);
  }
  return socket;
}

/** The time begins anew. */
function restart(socket) {
  socket[kIsQuiet] = false;
  if (socket[kIsOpen]) {
    low.conn_set_timeout(socket[kSlot], socket[kTime]);
    return;
  }
  clear(socket);
  if (socket[kTime] > 0) socket[kTimer] = setTimeout(tell, socket[kTime], socket).unref();
}

function tell(socket) {
  socket[kTimeScope].runInAsyncScope(socket.emit, socket, 'timeout');
}

/** The library says that the time is over. */
function fired(socket) {
  socket[kIsQuiet] = true;
  low.conn_set_timeout(socket[kSlot], 0);
  tell(socket);
}

/** From now on the library counts. */
function connected(socket) {
  clear(socket);
  if (socket[kTime] > 0) restart(socket);
}

/** A connect has come a step further. */
function touch(socket) {
  if (socket[kTime] > 0) restart(socket);
}

function clear(socket) {
  if (socket[kTimer]) clearTimeout(socket[kTimer]);
  if (socket[kTimer]) socket[kTimer] = undefined;
}

/** None is left for a connect anew. */
function end(socket) {
  clear(socket);
  if (socket[kTime]) socket[kTime] = undefined;
}

module.exports = { set, restart, fired, connected, touch, end };
