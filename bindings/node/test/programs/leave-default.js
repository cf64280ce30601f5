'use strict';

// Starts a listener with a default name and is killed, so that a dead one is left.

const sockref = require(process.env.SOCKREF_PACKAGE);

new sockref.Registry({ directory: process.argv[2], guard: false }).startListenerSync();
process.kill(process.pid, 'SIGKILL');
