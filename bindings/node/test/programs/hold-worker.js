'use strict';

const { parentPort, workerData: { place, serve } } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

(async () => {
  globalThis.held = await sockref.startListener(place); // never closed: the end of the thread gives it back
  if (serve) globalThis.held.serve({ data: (connection, data) => connection.write(data) });
  parentPort.once('message', () => {});
  parentPort.postMessage('holding');
})();
