'use strict';

// A worker closes the last reference to a name, and its removal is made slow; meanwhile this thread starts the
// same name, and counts how often a timer of 1 ms fires until that succeeds.

const fs = require('node:fs');
const { Worker } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

const [place] = process.argv.slice(2);
const worker = new Worker(`
  const { parentPort, workerData } = require('node:worker_threads');
  const sockref = require(process.env.SOCKREF_PACKAGE);
  const reference = sockref.startListenerSync(workerData);
  parentPort.once('message', () => reference.close());
  parentPort.postMessage('holding');
`, { eval: true, workerData: place });

worker.once('message', () => {
  worker.postMessage('close');
  (function look() {
    // Not active any more, and the file still there: the removal is under way.
    if (sockref.isSocketActive(place) || !fs.existsSync(place)) setImmediate(look);
    else start();
  })();
});

async function start() {
  const begun = performance.now();
  let ticks = 0, longest = 0, last = begun;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    ticks++;
  }, 1);
  const reference = await sockref.startListener(place);
  clearInterval(timer);
  const waited = performance.now() - begun;
  console.log(JSON.stringify({ ticks, longest, waited, active: reference.isActive && fs.existsSync(place) }));
  reference.close();
}
