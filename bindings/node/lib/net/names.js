'use strict';

// From what node:net takes for a place to the names of the library, and back.

const fs = require('node:fs');
const path = require('node:path');

// A name that begins with a NUL byte is abstract here, and begins with "@" there; here "@" is a letter.
function abstract(name) {
  return Buffer.from(`@${name.slice(1)}`);
}

/** The name of a path to connect to. */
function nameToConnect(name) {
  if (name.startsWith('\0')) return abstract(name);
  return Buffer.from(name.startsWith('/') ? name : `./${name}`);
}

/** The name of a path to listen on. What the library does not resolve the kernel does: links before "..". */
function nameToListen(name) {
  if (name === '') return Buffer.alloc(0); // which is none
  if (name.startsWith('\0')) return abstract(name);
  if (name.startsWith('/') && !name.split('/').includes('..')) return Buffer.from(name);
  const { dir, base } = path.parse(name);
  return Buffer.from(path.join(fs.realpathSync.native(dir || '.'), base));
}

function tcpName(host, port) {
  return Buffer.from(`tcp:${host?.includes(':') ? `[${host}]` : host ?? ''}:${port}`);
}

const families = { 4: 'IPv4', 6: 'IPv6' };

/** An address of the addon as Node tells it; undefined for a Unix socket, of which Node tells nothing. */
function tcpAddress(native) {
  const family = native && families[native.family];
  return family && { address: native.address, family, port: native.port };
}

module.exports = { nameToConnect, nameToListen, tcpName, tcpAddress };
