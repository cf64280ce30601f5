'use strict';

// node:net over the sockets of this library: the same names, options, events and errors.

const net = require('node:net');
const { BoundSocket } = require('./net/bound.js');
const defaults = require('./net/defaults.js');
const { Server } = require('./net/server.js');
const { Socket } = require('./net/socket.js');
const { normalize } = require('./net/validate.js');

function createServer(options, listener) {
  return new Server(options, listener);
}

function connect(...args) {
  const normalized = normalize(args);
  const [options] = normalized;
  const socket = new Socket(options);
  if (options.timeout) socket.setTimeout(options.timeout);
  return socket.connect(normalized);
}

module.exports = {
  BlockList: net.BlockList,
  BoundSocket,
  SocketAddress: net.SocketAddress,
  connect,
  createConnection: connect,
  createServer,
  isIP: net.isIP,
  isIPv4: net.isIPv4,
  isIPv6: net.isIPv6,
  Server,
  Socket,
  Stream: Socket,
  getDefaultAutoSelectFamily: defaults.getDefaultAutoSelectFamily,
  setDefaultAutoSelectFamily: defaults.setDefaultAutoSelectFamily,
  getDefaultAutoSelectFamilyAttemptTimeout: defaults.getDefaultAutoSelectFamilyAttemptTimeout,
  setDefaultAutoSelectFamilyAttemptTimeout: defaults.setDefaultAutoSelectFamilyAttemptTimeout,
};
