'use strict';

// What every test uses: the package under test, a directory of its own, and the check that nothing is left.

const assert = require('node:assert/strict');
const { fork, spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const v8 = require('node:v8');
const vm = require('node:vm');

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
async function until(condition, what = condition, patience = 20000) {
  const end = Date.now() + patience;
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
 * lock file is left.
 * The body gets the directory and a function for paths in it.
 */
function scenario(name, body, options = {}) {
  test(name, options, async (t) => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sockref-node-'));
    const before = sockref.liveCounts();
    const names = sockref.activeSocketCount();
    try {
      await body({ t, directory, file: (leaf = 'a.sock') => path.join(directory, leaf) });
      await until(() => same(sockref.liveCounts(), before), 'live counts', 2000).catch(() => {});
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

function connect(place) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(place);
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** Sends bytes and resolves to as many bytes as came back, once our end was answered by theirs. */
function exchange(place, bytes) {
  return new Promise((resolve, reject) => {
    const parts = [];
    const socket = net.connect(place, () => socket.end(bytes));
    socket.on('data', (part) => parts.push(part));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(parts)));
  });
}

async function canConnect(place) {
  try {
    (await connect(place)).destroy();
    return true;
  } catch {
    return false;
  }
}

const program = (name) => path.join(__dirname, 'programs', name);

/** Runs a program of ours to its end. */
function run(args, { env = {}, uid, gid, signal, onLine } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, uid, gid });
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

/** Another process that holds names and does what it is told: programs/holder.js. */
class Holder {
  #child;
  #asked = new Map();
  #last = 0;
  #wake = () => {};

  /** What happened to its references, as it was told. */
  events = [];

  constructor({ env = {} } = {}) {
    this.#child = fork(program('holder.js'), { env: { ...process.env, ...env } });
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        for (const { reject } of this.#asked.values()) reject(new Error(`the holder ended: ${code ?? signal}`));
        resolve(code ?? signal);
      });
    });
    this.#child.on('message', ({ number, answer, error, event }) => {
      if (event) {
        this.events.push(event);
        this.#wake();
        return;
      }
      const { resolve, reject } = this.#asked.get(number);
      this.#asked.delete(number);
      if (error) reject(Object.assign(new Error(error.message), error));
      else resolve(answer);
    });
  }

  get pid() {
    return this.#child.pid;
  }

  /** Has it do something; resolves to its answer, and rejects with its error. */
  ask(what, ...rest) {
    const number = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#child.send({ number, what, rest });
    });
  }

  start(place, options) {
    return this.ask('start', place, options);
  }

  /** Until it was told of an event. */
  hear(event) {
    return within(new Promise((resolve) => {
      this.#wake = () => this.events.includes(event) && resolve();
      this.#wake();
    }), `${this.pid} hears ${event}`);
  }

  kill() {
    this.#child.kill('SIGKILL');
    return this.ended;
  }

  /** Lets it end by itself, with what it holds. */
  end() {
    if (this.#child.connected) this.#child.disconnect();
    return this.ended;
  }
}

/** A promise, or an error after a deadline. */
function within(promise, what, patience = 20000) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not come in time: ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

module.exports = {
  assert, root, sockref, inside, gc, turn, until, collect, within, isSocket, sockets, left, scenario, connect, exchange,
  canConnect, program, run, Holder,
};
