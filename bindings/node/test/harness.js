'use strict';

// What every test uses: the package under test, a directory of its own, and the check that nothing is left.

const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const v8 = require('node:v8');
const vm = require('node:vm');
const { within, patience, limit } = require('./deadlines.js');
const { killHolders } = require('./holder.js');
const { connect, exchange, canConnect } = require('./peers.js');

function findPackage() {
  const places = (process.env.NODE_PATH ?? '').split(path.delimiter).filter(Boolean)
    .map((place) => path.join(place, 'sockref'));
  const found = [process.env.SOCKREF_PACKAGE, ...places, path.join(__dirname, '..')]
    .find((place) => place && fs.existsSync(path.join(place, 'build', 'Release', 'sockref_low.node')));
  if (!found) throw new Error('the addon is not built; run make, or npm rebuild');
  return path.resolve(found);
}

const root = findPackage();
process.env.SOCKREF_PACKAGE = root; // for the programs that tests start
const sockref = require(root);
const inside = (file) => require(path.join(root, 'lib', file));

v8.setFlagsFromString('--expose-gc');
const gc = vm.runInNewContext('gc');

const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Lets the loop turn until the condition holds. */
async function until(condition, what = condition, time = patience) {
  const end = Date.now() + time;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`it did not come true in time: ${what}`);
    await turn();
  }
}

/** Collects garbage until the condition holds. */
async function collect(condition) {
  await until(() => {
    gc();
    return condition();
  }, condition);
}

function isSocket(file) {
  try {
    return fs.lstatSync(file).isSocket();
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}

// The sockets that were asked for: a shared name has a control socket beside it while it is held.
function sockets(directory) {
  return fs.readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })
    .filter((entry) => entry.isSocket()).map((entry) => entry.name.toString('latin1'))
    .filter((leaf) => !leaf.endsWith('.srctl'));
}

/** What sockref has put there: sockets of any kind, and lock files. */
function left(directory) {
  return fs.readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })
    .filter((entry) => entry.isSocket() || entry.name.toString('latin1').endsWith('.srlock'))
    .map((entry) => entry.name.toString('latin1'));
}

/**
 * A test in a temporary directory of its own; at its end the live counts are what they were, and no socket and no
 * lock file is left. Other holders are killed after its body.
 * The body gets the directory and a function for paths in it.
 */
function scenario(name, body, options = {}) {
  test(name, { timeout: limit, ...options }, async (t) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sockref-node-'));
    const before = sockref.liveCounts();
    const names = sockref.activeSocketCount();
    try {
      let killed = 0;
      try {
        await body({ t, directory, file: (leaf = 'a.sock') => path.join(directory, leaf) });
      } finally {
        killed = await killHolders();
      }
      if (killed > 0) await until(() => left(directory).length === 0, 'guards').catch(() => {});
      await until(() => same(sockref.liveCounts(), before), 'live counts').catch(() => {});
      assert.deepEqual(sockref.liveCounts(), before, 'live counts are what they were');
      assert.equal(sockref.activeSocketCount(), names, 'the count of names is what it was');
      assert.deepEqual(left(directory), [], 'no socket and no lock file is left');
    } catch (error) {
      sockref.cleanupAll(); // what failed here shall not fail the next one
      await collect(() => same(sockref.liveCounts(), before)).catch(() => {});
      throw error;
    } finally {
      fs.rmSync(directory, { recursive: true, force: true });
    }
  });
}

function same(a, b) {
  return a.references === b.references && a.entries === b.entries && a.buffers === b.buffers;
}

const program = (name) => path.join(__dirname, 'programs', name);

/** Runs a program of ours to its end. */
function run(args, { env = {}, uid, gid, signal, onLine } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args,
      { env: { ...process.env, ...env }, uid, gid, timeout: limit, killSignal: 'SIGKILL' });
    let out = '', err = '';
    child.stdout.on('data', (data) => {
      out += data;
      if (onLine && out.includes('\n')) onLine(child, out);
    });
    child.stderr.on('data', (data) => { err += data; });
    child.on('error', reject);
    child.on('close', (code, killed) => resolve({ code, signal: killed, out, err }));
    if (signal) child.kill(signal);
  });
}

module.exports = {
  assert, root, sockref, inside, gc, turn, until, collect, within, isSocket, sockets, left, scenario, connect, exchange,
  canConnect, program, run, limit,
};
