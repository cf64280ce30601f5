'use strict';

// Forty connections; the handlers of every other one throw, in connection, data and close.

const net = require('node:net');
const { startListener } = require(process.env.SOCKREF_PACKAGE);

const place = process.argv[2];
const told = { thrown: 0, answered: 0, closes: 0 };
process.on('uncaughtException', (error) => {
  if (error.message !== 'on purpose') throw error;
  told.thrown++;
});

(async () => {
  process.on('exit', () => console.log(JSON.stringify(told)));
  const reference = (await startListener(place)).ref();
  const service = {
    data(connection, data) {
      if (data.toString() === 'bad') {
        connection.end();
        throw new Error('on purpose');
      }
      connection.end(data);
    },
    close() {
      if (++told.closes === 40) reference.close();
      if (told.closes % 4 === 0) throw new Error('on purpose');
    },
  };
  reference.serve(service);
  for (let i = 0; i < 40; i++) {
    const socket = net.connect(place, () => socket.write(i % 2 ? 'good' : 'bad'));
    socket.on('data', () => { told.answered++; });
  }
})();
