'use strict';

// Starts, holds, serves, dials and closes, and reports each step, so that it can be ended at any of them.

const net = require('node:net');
const { parentPort, workerData: { place, own, number } } = require('node:worker_threads');
const sockref = require(process.env.SOCKREF_PACKAGE);

const step = (name) => parentPort.postMessage(name);

(async () => {
  const kept = [];
  for (let round = 0; round < 4; round++) {
    step('start');
    const started = [sockref.startListener(place), sockref.startListener(own), sockref.startListener(`${own}.echo`)];
    if (round === 2 && number % 5 === 0) sockref.startListener(`${own}.left`);
    if (number % 6 === 1) kept.push(await sockref.SocketPool.start(`${own}.pool`, 3));
    const [shared, mine, echo] = await Promise.all(started);
    step('hold');
    kept.push(shared.clone());
    echo.serveEcho();
    mine.serve({
      connection: () => step('connection'),
      data(connection, data) {
        step('data');
        connection.write(data);
      },
      close() {
        step('close');
      },
    });
    for (const reference of [shared, mine, echo]) reference.on('lost', () => step('lost'));
    if (round % 2) mine.ref();
    const sockets = [own, own, `${own}.echo`].map((where) => net.connect(where));
    await Promise.all(sockets.map((socket) => new Promise((resolve) => {
      socket.on('error', resolve);
      socket.once('connect', () => socket.write('x'.repeat(10000)));
      socket.once('data', resolve);
    })));
    step('answered');
    sockets.forEach((socket) => socket.destroy());
    if (round % 2 === 0) sockref.cleanup(`${own}.echo`);
    if (number % 3) [shared, mine, echo].forEach((reference) => reference.close());
    step('closed');
    if (round === 1 && number % 11 === 0) process.exit(7);
    if (number % 3 === 0) break; // and hold what there is until the end
  }
  globalThis.kept = kept;
  if (number % 4) setInterval(step, 1, 'waiting'); // somebody will end this
  else process.exit(0);
})();
