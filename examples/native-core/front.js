'use strict';

// front.js PATH: a front end of the core; it has a reference to the name that the core has started.

const net = require('node:net');
const { once } = require('node:events');
const { SocketReference, isSocketActive } = require('sockref');
const core = require('./core.node'); // after sockref: where the library is not installed, the one of the package is taken

async function say(path, words) {
  const peer = net.connect(path);
  peer.write(words);
  const [answer] = await once(peer, 'data');
  peer.destroy();
  return answer.toString();
}

async function main() {
  const path = process.argv[2];
  if (!path) throw new Error('usage: node front.js PATH');
  if (core.core_start(path) < 0) throw new Error(core.core_error());
  const reference = SocketReference.getExisting(path);
  console.log('references:', core.core_references()); // the core's and ours
  core.core_stop();
  console.log("without the core's:", reference.referenceCount);
  console.log('the core says', await say(path, 'still here'));
  reference.close();
  console.log('active:', isSocketActive(path));
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
