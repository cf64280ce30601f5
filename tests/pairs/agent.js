#!/usr/bin/env node
'use strict';

// One holder of a name, for tests that need processes: a JSON command a line on stdin, its answer a line on stdout.
// agent.py describes the commands.

const net = require('node:net');
const readline = require('node:readline');
const sockref = require('sockref');

const limit = 30000; // milliseconds for a dialled peer

let reference;
let events = []; // of this life, that nobody has waited for
let heard = () => {};

function held() {
  if (!reference) throw new Error('nothing was started');
  return reference;
}

function echo(path, text) {
  return new Promise((resolve, reject) => {
    const parts = [];
    const peer = net.connect(path, () => peer.end(text));
    peer.setTimeout(limit, () => peer.destroy(new Error('the peer does not answer')));
    peer.on('data', (part) => parts.push(part));
    peer.on('error', reject);
    peer.on('end', () => resolve(Buffer.concat(parts).toString()));
  });
}

// Whether an event came before the time was over; it is taken then.
function take(event, timeout) {
  return new Promise((resolve) => {
    const end = (came) => {
      clearTimeout(timer);
      heard = () => {};
      resolve(came);
    };
    const timer = setTimeout(end, timeout, false);
    heard = () => {
      const at = events.indexOf(event);
      if (at < 0) return;
      events.splice(at, 1);
      end(true);
    };
    heard();
  });
}

const answers = {
  async start({ path, options }) {
    const old = reference;
    reference = await sockref.startListener(path, options);
    old?.close();
    const mine = events = [];
    for (const event of ['lost', 'owner']) {
      reference.on(event, () => {
        mine.push(event);
        heard();
      });
    }
    return { ok: true, owner: reference.isOwner, holders: reference.holderCount };
  },

  status() {
    const { isActive: active, isOwner: owner, holderCount: holders, referenceCount: count } = held();
    return { active, owner, holders, count };
  },

  async wait({ event, timeout }) {
    if (await take(event, timeout)) return { ok: true };
    return { ok: false, code: 'ETIMEDOUT', message: `${event} did not come` };
  },

  serve() {
    held().serveEcho();
    return { ok: true };
  },

  async dial({ path, text }) {
    return { ok: true, text: await echo(path, text) };
  },

  close() {
    reference?.close();
    reference = undefined;
    return { ok: true };
  },

  exit: () => ({ ok: true }),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let answer;
    try {
      if (!Object.hasOwn(answers, command.cmd)) throw new Error(`no such command: ${command.cmd}`);
      answer = await answers[command.cmd](command);
    } catch ({ code, message }) {
      answer = { ok: false, code: code ?? 'Error', message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
    if (command.cmd === 'exit') break;
  }
  process.exit();
}

main();
