'use strict';

// References for servers: each is owned alone, and its file is removed with it.

const fs = require('node:fs');
const { constants } = require('node:os');
const low = require('../low.js');
const { SocketReference, nativeOf } = require('../reference.js');
const { Registry, calls } = require('../registry.js');
const { isSockrefError } = require('../errors.js');
const errors = require('./errors.js');
const { nameToListen, tcpName } = require('./names.js');

// As Node's: the umask decides who may connect. Nobody is waited for: this is the thread of JavaScript.
const alone = { exclusive: true, mode: -1, startTimeoutMs: 0 };
const usualBacklog = 511;

/** The system takes a negative one for the longest that it has. */
function backlogOf(given) {
  const number = given | 0;
  return number < 0 ? 2 ** 31 - 1 : number || usualBacklog;
}

function settingsOf(options) {
  return { ...alone, ...options, backlog: backlogOf(options.backlog) };
}

function started(name, options) {
  return calls.startListenerSync(null, name, settingsOf(options));
}

/** Where others could change the directory nothing is shared, and no file stands beside the socket. */
function startedAnywhere(name, options) {
  try {
    return started(name, options);
  } catch (error) {
    if (error.code !== 'ESOCKREF_UNTRUSTED') throw error;
    return started(name, { ...options, share: false });
  }
}

function onPath(path, { readableAll, writableAll, ...options }) {
  const reference = startedAnywhere(nameToListen(path), options);
  const bits = (readableAll === true ? 0o444 : 0) | (writableAll === true ? 0o222 : 0);
  if (bits !== 0) widen(reference, path, bits);
  return reference;
}

function widen(reference, path, bits) {
  try {
    fs.chmodSync(path, (fs.statSync(path).mode & 0o777) | bits);
  } catch (error) {
    reference.close();
    throw errors.callFailed(error.errno, 'uv_pipe_chmod');
  }
}

function tcpSettings({ ipv6Only, reusePort }) {
  return { ...(ipv6Only === true && { ipv6Only }), ...(reusePort === true && { reusePort }) };
}

/** What a registry that nobody else has gives; it lives as long as that. */
function inOwn(options, make) {
  const registry = new Registry(options);
  try {
    return make(registry);
  } finally {
    registry.close();
  }
}

const startedInOwn = (name, options) => inOwn(undefined, (registry) => registry.startListenerSync(name, settingsOf(options)));

/** Without an address: every one, of both families where there are both. A registry has one listener of a name. */
function onAddress(address, port, options) {
  return (options.reusePort ? startedInOwn : started)(tcpName(address, port), options);
}

function listenFrom(fd, backlog, port) {
  const status = low.listen_fd(fd, backlogOf(backlog));
  if (status < 0) throw errors.listenFailed(status, 'listen', null, port);
}

/** A socket that somebody else has bound: its file stays. */
function onDescriptor(fd, backlog) {
  listenFrom(fd, backlog, null);
  return inOwn({ keepFile: true }, (registry) => registry.registerNew(undefined, fd));
}

/** A name of which it is not known yet what it is for. */
function bound(name, settings) {
  return startedInOwn(name, { ...settings, bindOnly: true });
}

/** Such a name is to listen. */
function onBound(reference, backlog) {
  try {
    listenFrom(low.descriptor(nativeOf(reference)), backlog, -1);
  } catch (error) {
    reference.close();
    throw error;
  }
  return reference;
}

/** A reference that is to be served, in any of the forms of listen(). */
function referenceIn(given) {
  return [given, given.reference].find((value) => value instanceof SocketReference);
}

/** Why a name cannot be bound; undefined: the error is of another kind. No directory is EACCES, as it is in Node. */
function errnoOf(error) {
  if (!isSockrefError(error) && error.syscall !== 'realpath') return undefined;
  const errno = errors.errnoOf(error.errno, error.code);
  return errno === -constants.errno.ENOENT ? -constants.errno.EACCES : errno;
}

/** Where a port without an address is bound. Node tries IPv6 first, where only listen() says that a port is in use. */
function everyAddress(errno) {
  return errno === -constants.errno.EADDRINUSE && fs.existsSync('/proc/net/if_inet6') ? '::' : '0.0.0.0';
}

const isLinkLocal = ({ address, family }) => family === 6 && /^fe[89ab][0-9a-f]:/i.test(address);

/** Of the addresses of a host: the first that is not of one link alone, for it takes more than the address to bind such. */
function choose(found) {
  return (found.find((place) => !isLinkLocal(place)) ?? found[0]).address;
}

/** What listen() tells of an error. An address that is undefined was every one. */
function explain(error, address, port) {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  return errors.listenFailed(errno, 'listen', address === undefined ? everyAddress(errno) : address, port);
}

module.exports = { onPath, onAddress, onDescriptor, bound, onBound, tcpSettings, referenceIn, errnoOf, choose, explain };
