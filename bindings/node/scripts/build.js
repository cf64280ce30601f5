'use strict';

// Builds the addon by node-gyp and puts the library beside it, so that the package has its own copy.
// Arguments are node-gyp's; "rebuild" by default. SOCKREF_LIBRARY names the library's file; by default
// pkg-config knows where it is.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

function nodeGyp() {
  try {
    return [process.execPath, require.resolve('node-gyp/bin/node-gyp.js', { paths: [root] })];
  } catch {
    return process.env.npm_config_node_gyp ? [process.execPath, process.env.npm_config_node_gyp] : ['node-gyp'];
  }
}

function needed(addon) {
  const found = /libsockref\.so\.\d+/.exec(fs.readFileSync(addon, 'latin1'));
  if (!found) throw new Error(`${addon} was not linked with libsockref.so`);
  return found[0];
}

function library(soname) {
  if (process.env.SOCKREF_LIBRARY) return process.env.SOCKREF_LIBRARY;
  const directory = execFileSync('pkg-config', ['--variable=libdir', 'sockref'], { encoding: 'utf8' }).trim();
  return path.join(directory, soname);
}

const [command, ...first] = nodeGyp();
const given = process.argv.slice(2);
execFileSync(command, [...first, ...(given.length > 0 ? given : ['rebuild'])], { cwd: root, stdio: 'inherit' });
const release = path.join(root, 'build', 'Release');
const soname = needed(path.join(release, 'sockref_low.node'));
const copy = path.join(release, soname);
fs.rmSync(copy, { force: true }); // never write into a library that a process runs
fs.copyFileSync(fs.realpathSync(library(soname)), copy);
