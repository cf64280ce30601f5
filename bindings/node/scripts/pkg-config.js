'use strict';

// What pkg-config says of sockref, with --static's and the like as given; for binding.gyp.

const { execFileSync } = require('node:child_process');

try {
  console.log(execFileSync('pkg-config', [...process.argv.slice(2), 'sockref'], { encoding: 'utf8' }).trim());
} catch (error) {
  console.error('sockref: pkg-config does not find the C library sockref; install it with its headers, ' +
    `or set PKG_CONFIG_PATH to where sockref.pc is (${error.message.split('\n')[0]})`);
  process.exit(1);
}
