'use strict';

const { workerData: { place, rounds } } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

const held = sockref.startListenerSync(place);
for (let i = 0; i < rounds; i++) {
  const clone = held.clone();
  const found = sockref.SocketReference.getExisting(place);
  if (!clone.isActive || found.referenceCount < 3 || found.path !== held.path) throw new Error(`round ${i}`);
  clone.close();
  found.close();
}
held.close();
