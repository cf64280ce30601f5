'use strict';

// The earlier names. Each warns once that there is a new one.

const sockref = require('./index.js');

const warned = new Set();

function deprecate(name, code, instead) {
  if (warned.has(name)) return;
  warned.add(name);
  process.emitWarning(`sockref/compat: ${name} is deprecated; use ${instead}`, 'DeprecationWarning', code);
}

// The form that tells only a path: one reference a name, for the life of the process or until it is revoked.
const kept = new Map();

function keep(reference) {
  const name = reference.pathBytes.toString('latin1');
  const known = kept.get(name);
  if (known?.isActive) {
    reference.close();
    return known;
  }
  known?.close();
  kept.set(name, reference);
  return reference;
}

function dropRevoked() {
  for (const [name, reference] of kept) {
    if (reference.isActive) continue;
    kept.delete(name);
    reference.close();
  }
}

async function StartSocketConnection(path) {
  deprecate('StartSocketConnection', 'SOCKREF_DEP0001', 'startListener(), and keep the reference');
  dropRevoked();
  return keep(await sockref.startListener(path)).path;
}

async function StartSocketConnectionWithReference(path) {
  deprecate('StartSocketConnectionWithReference', 'SOCKREF_DEP0002', 'startListener()');
  return sockref.startListener(path);
}

function IsSocketActive(path) {
  deprecate('IsSocketActive', 'SOCKREF_DEP0003', 'isSocketActive()');
  return sockref.isSocketActive(path);
}

function GetActiveSocketCount() {
  deprecate('GetActiveSocketCount', 'SOCKREF_DEP0004', 'activeSocketCount()');
  return sockref.activeSocketCount();
}

function CleanupAllSockets() {
  deprecate('CleanupAllSockets', 'SOCKREF_DEP0005', 'cleanupAll()');
  try {
    return sockref.cleanupAll();
  } finally {
    dropRevoked();
  }
}

function ForceCleanupSocket(path) {
  deprecate('ForceCleanupSocket', 'SOCKREF_DEP0006', 'cleanup()');
  try {
    sockref.cleanup(path);
  } catch (error) {
    if (error.code !== 'ESOCKREF_NOTFOUND') throw error;
  } finally {
    dropRevoked();
  }
}

module.exports = {
  SocketReference: sockref.SocketReference,
  StartSocketConnection,
  StartSocketConnectionWithReference,
  IsSocketActive,
  GetActiveSocketCount,
  CleanupAllSockets,
  ForceCleanupSocket,
};
