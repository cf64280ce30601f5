'use strict';

// Reference-counted Unix sockets: the public interface. The functions here use the default registry.

const low = require('./low.js');
const { SocketReference } = require('./reference.js');
const { Connection } = require('./connection.js');
const { Registry, calls } = require('./registry.js');
const { SocketPool } = require('./pool.js');
const { SockrefError } = require('./errors.js');

module.exports = {
  SocketReference,
  Registry,
  SocketPool,
  Connection,
  SockrefError,
  async startListener(path, options) { return calls.startListener(null, path, options); },
  startListenerSync(path, options) { return calls.startListenerSync(null, path, options); },
  registerNew(path, fd) { return calls.registerNew(null, path, fd); },
  isSocketActive(path) { return calls.isSocketActive(null, path); },
  activeSocketCount() { return calls.activeSocketCount(null); },
  guardStatus() { return calls.guardStatus(null); },
  stats() { return calls.stats(null); },
  loopStats() { return low.loop_stats(); },
  metrics() { return calls.metrics(null); },
  cleanup(path) { calls.cleanup(null, path); },
  cleanupAll() { return calls.cleanupAll(null); },
  async sweep(directory) { return calls.sweep(null, directory); },
  async drain(timeoutMs) { return calls.drain(null, timeoutMs); },
  async shutdown(timeoutMs) { return calls.shutdown(null, timeoutMs); },
  liveCounts() { return low.live_counts(); },
  version() { return low.sockref_version(); },
};
