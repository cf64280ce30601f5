'use strict';

// Those who dial, by node:net.

const net = require('node:net');
const { setTimeout: sleep } = require('node:timers/promises');

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

/** Dials again and again, and tells how often and what was refused. Nobody has to serve. */
function dialOn(place) {
  const told = { dialled: 0, refused: [] };
  (async () => {
    while (told.dialled < 3000 && told.refused.length === 0) { // the queue has room for so many
      try {
        (await connect(place)).destroy();
        told.dialled++;
      } catch ({ code }) {
        told.refused.push(code);
      }
      await sleep(1, undefined, { ref: false });
    }
  })();
  return told;
}

module.exports = { connect, exchange, canConnect, dialOn };
