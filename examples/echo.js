'use strict';

// Opens a socket, shares it, has it served by the library, and closes it: `node examples/echo.js PATH`.
// Exits with an error if anything differs from what it tells.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const v8 = require('node:v8');
const vm = require('node:vm');
const sockref = require('sockref');

v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc');

const place = process.argv[2];
if (!place || !path.isAbsolute(place)) {
  console.error('usage: node echo.js PATH (absolute)');
  process.exit(2);
}

function dial(text) {
  return new Promise((resolve, reject) => {
    const parts = [];
    const socket = net.connect(place, () => socket.end(text));
    socket.on('data', (part) => parts.push(part));
    socket.on('error', reject);
    socket.on('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

function list() {
  const found = fs.readdirSync(path.dirname(place)).filter((leaf) => leaf === path.basename(place));
  console.log(`${path.dirname(place)}: ${found.length === 0 ? `no ${path.basename(place)}` : found.join(' ')}`);
  return found;
}

function count(reference, expected) {
  console.log(`references: ${reference.referenceCount}`);
  assert.equal(reference.referenceCount, expected);
}

async function shareAndForget(reference) {
  const forgotten = await sockref.startListener(place); // shares the name, and is never closed
  count(reference, 2);
  assert.equal(forgotten.path, reference.path);
}

async function collected(reference) {
  for (let turn = 0; turn < 10000 && reference.referenceCount > 1; turn++) {
    collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function main() {
  const reference = await sockref.startListener(place);
  console.log(`sockref ${sockref.version()} listens at ${reference.path}`);
  count(reference, 1);
  assert.deepEqual(list(), [path.basename(place)]);
  reference.serveEcho();

  await shareAndForget(reference);
  const answer = await dial('hello from a client');
  console.log(`echo: ${answer}`);
  assert.equal(answer, 'hello from a client');

  await collected(reference); // the finalizer gives the forgotten one back
  count(reference, 1);
  assert.equal(await dial('once more'), 'once more');

  reference.close(); // the last one: the file is gone when this returns
  assert.deepEqual(list(), []);
  assert.equal(sockref.isSocketActive(place), false);
  await sockref.drain();
  assert.deepEqual(sockref.liveCounts(), { references: 0, entries: 0, buffers: 0 });
  console.log('nothing is left');
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
