'use strict';

// What pkg-config says of sockref, with --static's and the like as given; for binding.gyp.

const { execFileSync } = require('node:child_process');

try {
  const told = execFileSync('pkg-config', [...process.argv.slice(2), 'sockref'], { encoding: 'latin1' });
  // Of a letter outside ASCII it escapes each byte by itself, which leaves no UTF-8.
  console.log(Buffer.from(told.trim().replace(/\\([\x80-\xff])/g, '$1'), 'latin1').toString());
} catch (error) {
  console.error('sockref: pkg-config does not find the C library sockref; install it with its headers, ' +
    `or set PKG_CONFIG_PATH to where sockref.pc is (${error.message.split('\n')[0]})`);
  process.exit(1);
}
