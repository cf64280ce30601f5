'use strict';

// Starts a listener where that must fail, and tells the error.

const { startListener } = require(process.env.SOCKREF_PACKAGE);

startListener(process.argv[2]).catch(({ code, errno, path, syscall }) => {
  console.log(JSON.stringify({ code, errno, path, syscall: typeof syscall === 'string' }));
});
