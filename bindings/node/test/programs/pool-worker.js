'use strict';

const { parentPort, workerData: { place } } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

(async () => {
  globalThis.pool = await sockref.SocketPool.start(place, 3); // never closed: the end of the thread gives it back
  parentPort.once('message', () => {});
  parentPort.postMessage(pool.pick().path);
})();
