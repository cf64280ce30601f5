'use strict';

// The private native module: found, checked, and told how errors are made.

const path = require('node:path');
const { startupSnapshot } = require('node:v8');
const { fromStatus } = require('./errors.js');

const file = path.join(__dirname, '..', 'build', 'Release', 'sockref_low.node');

function loadError(message, cause) {
  const error = new Error(message, cause && { cause });
  error.code = 'ERR_SOCKREF_LIBRARY';
  return error;
}

function explain(error) {
  const missing = /(libsockref\.so[.\d]*): cannot open shared object file/.exec(error.message);
  if (missing) {
    return loadError(`sockref: ${file} needs ${missing[1]}, which is neither beside it (${path.dirname(file)}) ` +
      'nor where the system looks; install the library, or the package again', error);
  }
  if (error.code === 'MODULE_NOT_FOUND') {
    return loadError(`sockref: ${file} is missing; build it with "npm rebuild sockref", where its install script did not run; ` +
      'a bundler must leave this package external', error);
  }
  return loadError(`sockref: ${file} cannot be loaded: ${error.message}`, error);
}

function parts(version) {
  return version.split('.').map((part) => Number.parseInt(part, 10) || 0);
}

function isOlder(version, other) {
  const [a, b] = [parts(version), parts(other)];
  const at = [0, 1, 2].find((i) => (a[i] ?? 0) !== (b[i] ?? 0));
  return at !== undefined && (a[at] ?? 0) < (b[at] ?? 0);
}

/** Throws unless the library has the addon's ABI and is at least as new as the one it was built with. */
function check(info) {
  const both = `${info.addonFile} (version ${info.addonVersion}, ABI ${info.addonAbi}) and ` +
    `${info.libraryFile} (version ${info.libraryVersion}, ABI ${info.libraryAbi}): ` +
    'install the package again, with the library of its version';
  if (info.addonAbi !== info.libraryAbi) {
    throw loadError(`sockref: the addon and the library have different ABIs: ${both}`);
  }
  if (isOlder(info.libraryVersion, info.addonVersion)) {
    throw loadError(`sockref: the library is older than the addon: ${both}`);
  }
}

function load() {
  let low;
  if (startupSnapshot?.isBuildingSnapshot()) { // which would end in a fatal error that says nothing of why
    throw loadError('sockref: no addon can be in a startup snapshot; require sockref when the program runs');
  }
  try {
    low = require(file);
  } catch (error) {
    throw explain(error);
  }
  check(low.build_info());
  low.set_make_error(fromStatus);
  return low;
}

module.exports = Object.assign(load(), { check });
