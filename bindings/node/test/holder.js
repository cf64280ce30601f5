'use strict';

// Another process that holds a name: programs/hold.js, which says what it can be asked.

const { fork } = require('node:child_process');
const path = require('node:path');
const { within } = require('./deadlines.js');

const running = new Set();

class Holder {
  #child;
  #asked = new Map(); // what is not answered yet, by number
  #last = 0;
  #events = []; // that nobody has waited for
  #wake = () => {};

  constructor(env = {}) {
    this.#child = fork(path.join(__dirname, 'programs', 'hold.js'), { env: { ...process.env, ...env }, execArgv: [] });
    this.#child.on('message', (message) => this.#take(message));
    this.#child.on('error', () => {}); // it has ended before it read what was sent
    this.ended = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => {
        running.delete(this);
        for (const { reject } of this.#asked.values()) reject(new Error(`the holder ended: ${code ?? signal}`));
        resolve(code ?? signal);
      });
    });
    running.add(this);
  }

  get pid() {
    return this.#child.pid;
  }

  /** Has it do something; resolves to its answer, and rejects with its error. */
  ask(what, ...rest) {
    const number = ++this.#last;
    return within(new Promise((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#child.send({ number, what, rest });
    }), `the answer to ${what}`);
  }

  start(place, options = {}) {
    return this.ask('start', place, options);
  }

  /** Until an event came; each is waited for once. */
  async hear(event) {
    await within(new Promise((resolve) => {
      this.#wake = () => this.#events.includes(event) && resolve();
      this.#wake();
    }), `${event} at the holder`);
    this.#events.splice(this.#events.indexOf(event), 1);
  }

  kill() {
    this.#child.kill('SIGKILL');
    return within(this.ended, 'the end of the holder');
  }

  /** Lets it end by itself, with what it holds; resolves to its exit code. */
  end() {
    this.#child.disconnect();
    return within(this.ended, 'the end of the holder');
  }

  #take({ number, answer, error, event }) {
    if (event) {
      this.#events.push(event);
      this.#wake();
      return;
    }
    const { resolve, reject } = this.#asked.get(number);
    this.#asked.delete(number);
    if (error) reject(Object.assign(new Error(error.message), error));
    else resolve(answer);
  }
}

/** Kills those that still run, and tells how many these were. */
async function killHolders() {
  const left = [...running];
  await Promise.all(left.map((holder) => holder.kill()));
  return left.length;
}

module.exports = { Holder, killHolders };
