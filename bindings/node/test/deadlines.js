'use strict';

// How long tests wait before they fail. Machines are slow at times; none of it is waited out where all is well.

const patience = 30_000; // for what must come soon
const limit = 120_000; // for a test, and for a program that it runs

/** A promise, or an error after the deadline. */
function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it did not come in time: ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

module.exports = { patience, limit, within };
