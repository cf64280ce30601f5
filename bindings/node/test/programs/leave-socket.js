'use strict';

// Binds a socket with node:net and is killed, so that a dead one is left.

const server = require('node:net').createServer().listen(process.argv[2], () => process.kill(process.pid, 'SIGKILL'));
server.ref();
