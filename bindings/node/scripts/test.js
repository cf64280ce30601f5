'use strict';

// Runs the tests, once with each driver; those of the package and its declarations, which have none, once. Arguments
// name test files; all by default.
//
// Nothing may hang: a test has the harness's deadline, a file has the runner's, which also ends one whose tests
// are over and that does not end; and what is left after the last deadline is killed, with all that it started.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const fileLimit = 300_000;
const limit = 1_200_000;

const root = path.join(__dirname, '..');
const tests = path.join(root, 'test');
const files = process.argv.length > 2 ? process.argv.slice(2).map((file) => path.resolve(root, file))
  : [tests, path.join(tests, 'net')].flatMap((directory) => fs.readdirSync(directory)
    .filter((file) => file.endsWith('.test.js')).map((file) => path.join(directory, file)));

const withoutDriver = ['package.test.js', 'types.test.js'];
const drivers = [
  ['uv', files],
  ['thread', files.filter((file) => !withoutDriver.includes(path.basename(file)))],
];

function killAll(group) {
  try {
    process.kill(-group, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error; // all have ended
  }
}

function run(driver, chosen) {
  return new Promise((resolve) => {
    const runner = spawn(process.execPath,
      ['--test', `--test-timeout=${fileLimit}`, '--test-reporter=spec', ...chosen],
      { stdio: ['ignore', 'inherit', 'inherit'], detached: true, env: { ...process.env, SOCKREF_NODE_DRIVER: driver } });
    const stop = (why) => {
      console.error(`${why}: the tests are killed`);
      killAll(runner.pid);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const timer = setTimeout(stop, limit, `not over in ${limit / 1000} s`);
    for (const signal of signals) process.on(signal, stop);
    runner.once('exit', (status) => {
      clearTimeout(timer);
      for (const signal of signals) process.off(signal, stop);
      killAll(runner.pid); // what tests that were killed have left
      resolve(status);
    });
  });
}

async function main() {
  let failed = false;
  for (const [driver, chosen] of drivers) {
    if (chosen.length === 0) continue; // else the runner looks for files of its own
    console.log(`driver: ${driver}`);
    const status = await run(driver, chosen);
    if (status === null) process.exit(1); // killed
    failed ||= status !== 0;
  }
  process.exit(failed ? 1 : 0);
}

main();
