'use strict';

// Dials an echo, and says whether it answered.

const socket = require('node:net').connect(process.argv[2], () => socket.write('anybody?'));
socket.once('data', () => {
  console.log('answered');
  socket.destroy();
});
