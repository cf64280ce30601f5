'use strict';

const { parentPort, workerData: place } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

(async () => {
  globalThis.held = await sockref.startListener(place);
  globalThis.held.on('lost', () => parentPort.postMessage('lost'));
  parentPort.on('message', () => {}); // it stays
  parentPort.postMessage('holding');
})();
