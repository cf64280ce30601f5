'use strict';

// Lives by ref() alone until another process was answered.

const { spawn } = require('node:child_process');
const path = require('node:path');
const sockref = require(process.env.SOCKREF_PACKAGE);

const [place, how] = process.argv.slice(2);

(async () => {
  const reference = await sockref.startListener(place);
  if (reference.hasRef() || !reference.ref().ref().hasRef()) throw new Error('hasRef');
  reference.serve({
    data: (connection, data) => connection.write(data),
    close() {
      reference[how]();
      if (reference.hasRef()) throw new Error('hasRef');
      console.log('ended');
    },
  });
  spawn(process.execPath, [path.join(__dirname, 'dial.js'), place], { stdio: ['ignore', 'inherit', 'inherit'] }).unref();
})();
