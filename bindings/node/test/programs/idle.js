'use strict';

// Holds a reference and serves it, and does nothing more: the program ends.

const sockref = require(process.env.SOCKREF_PACKAGE);

(async () => {
  globalThis.held = (await sockref.startListener(process.argv[2])).serve({ data() {} });
  globalThis.echo = (await sockref.startListener(`${process.argv[2]}.2`)).serveEcho();
  console.log(`held ${globalThis.held.isActive}`);
})();
