'use strict';

// What node:net publishes of its sockets is published of ours.

const channel = require('node:diagnostics_channel');

module.exports = {
  clientSocket: channel.channel('net.client.socket'),
  serverSocket: channel.channel('net.server.socket'),
  serverListen: channel.tracingChannel?.('net.server.listen'),
};
