'use strict';

// Holds references in every way, and ends as it is told.

const net = require('node:net');
const { Worker, isMainThread, workerData } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

const [way, place] = isMainThread ? process.argv.slice(2) : ['worker', workerData];

async function hold() {
  const first = await sockref.startListener(place);
  const second = (await sockref.startListener(`${place}.2`)).serve({
    data(connection, data) {
      connection.write(data);
      if (way === 'exit-in-handler') process.exit(4);
    },
  });
  const third = (await sockref.startListener(`${place}.3`)).serveEcho();
  return [first, second, third];
}

function work() {
  return new Promise((resolve) => {
    new Worker(__filename, { workerData: `${place}.${Math.random()}` }).once('message', resolve);
  });
}

async function main() {
  const held = await hold();
  if (way === 'sigint') stay('SIGINT', 130);
  if (way === 'sigterm') stay('SIGTERM', 143);
  console.log(`holding ${held.length}`);
  if (way === 'worker') {
    require('node:worker_threads').parentPort.postMessage('holding');
    held[0].ref();
  }
  if (way === 'exit') process.exit(3);
  if (way === 'exit-in-handler') net.connect(`${place}.2`).write('x');
  if (way === 'exit-while-starting') {
    for (let i = 0; i < 20; i++) sockref.startListener(`${place}.more${i}`);
    process.exit(5);
  }
  if (way === 'uncaught') setImmediate(() => { throw new Error('on purpose'); });
  if (way === 'rejection') Promise.reject(new Error('on purpose'));
  if (way === 'exit-with-workers') {
    await Promise.all([work(), work()]);
    process.exit(6);
  }
  return held;
}

function stay(signal, code) {
  process.on(signal, () => process.exit(code));
  setInterval(() => {}, 1000);
}

globalThis.held = main();
