'use strict';

// Where the package runs as other runtimes run it.

const { assert, scenario, run } = require('./harness.js');

const watchElsewhere = `
  const versions = { ...process.versions, [process.argv[1]]: '1.0.0' };
  Object.defineProperty(process, 'versions', { value: versions });
  const low = require(process.env.SOCKREF_PACKAGE + '/lib/low.js');
  const sockref = require(process.env.SOCKREF_PACKAGE);
  sockref.startListener(process.argv[2]).then((reference) => {
    console.log(low.build_info().driver);
    reference.close();
  }, ({ code }) => console.log(code));
`;

scenario('other runtimes are not asked for libuv, of which they have little but the names', async ({ file }) => {
  for (const runtime of ['bun', 'deno']) {
    for (const [driver, expected] of [['', 'thread'], ['thread', 'thread'], ['uv', 'ESOCKREF_UNSUPPORTED']]) {
      const { SOCKREF_NODE_DRIVER: _, ...env } = process.env;
      const { out, err } = await run(['-e', watchElsewhere, runtime, file()], { env: { ...env, SOCKREF_NODE_DRIVER: driver } });
      assert.equal(err, '');
      assert.equal(out, `${expected}\n`, `${runtime} ${driver}`);
    }
  }
});
