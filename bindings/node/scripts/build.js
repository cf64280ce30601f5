'use strict';

// Builds the addon by node-gyp and puts the library and its guard beside it, so that the package has its own
// copies. Arguments are node-gyp's; "rebuild" by default. SOCKREF_LIBRARY names the library's file, and
// SOCKREF_GUARD the guard; by default pkg-config knows where they are.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');

const wrapper = path.join(root, 'src', 'sockref_low_wrap.cxx');

function fail(message) {
  console.error(`sockref: ${message}`);
  process.exit(1);
}

function nodeGyp() {
  try {
    return [process.execPath, require.resolve('node-gyp/bin/node-gyp.js', { paths: [root] })];
  } catch {
    return process.env.npm_config_node_gyp ? [process.execPath, process.env.npm_config_node_gyp] : ['node-gyp'];
  }
}

// What it says of its failure has been shown.
function run(command, args) {
  try {
    execFileSync(command, args, { cwd: root, stdio: 'inherit' });
  } catch (error) {
    fail(error.status ? 'the addon was not built, see above' : `${command} cannot be run: ${error.message}`);
  }
}

function needed(addon) {
  const found = /libsockref\.so\.\d+/.exec(fs.readFileSync(addon, 'latin1'));
  if (!found) throw new Error(`${addon} was not linked with libsockref.so`);
  return found[0];
}

function variable(name) {
  return execFileSync('pkg-config', [`--variable=${name}`, 'sockref'], { encoding: 'utf8' }).trim();
}

function library(soname) {
  return process.env.SOCKREF_LIBRARY ?? path.join(variable('libdir'), soname);
}

function put(file, copy) {
  fs.rmSync(copy, { force: true }); // never write into what a process runs
  fs.copyFileSync(fs.realpathSync(file), copy);
}

if (!fs.existsSync(wrapper)) {
  fail(`${wrapper} is missing: make writes it, so install the package that "make node-pack" makes at the top of a checkout`);
}
const [command, ...first] = nodeGyp();
const given = process.argv.slice(2);
run(command, [...first, ...(given.length > 0 ? given : ['rebuild'])]);
const release = path.join(root, 'build', 'Release');
const soname = needed(path.join(release, 'sockref_low.node'));
put(library(soname), path.join(release, soname));
const guard = path.join(release, 'sockref-guard');
put(process.env.SOCKREF_GUARD ?? variable('guard'), guard);
fs.chmodSync(guard, 0o755);
