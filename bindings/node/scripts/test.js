'use strict';

// Runs the tests, once with each driver. Arguments name test files; all by default.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const tests = path.join(root, 'test');
const files = process.argv.length > 2 ? process.argv.slice(2).map((file) => path.resolve(root, file))
  : fs.readdirSync(tests).filter((file) => file.endsWith('.test.js')).map((file) => path.join(tests, file));

let failed = false;
for (const driver of ['uv', 'thread']) {
  console.log(`driver: ${driver}`);
  const { status } = spawnSync(process.execPath, ['--test', '--test-reporter=spec', ...files],
    { stdio: 'inherit', env: { ...process.env, SOCKREF_NODE_DRIVER: driver } });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
