'use strict';

const { assert, sockref, inside, isSocket, sockets, scenario, run, program, limit } = require('./harness.js');
const { getEventListeners } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Registry, startListener, startListenerSync } = sockref;

scenario('L29 100 concurrent starts of one path', async ({ file, directory }) => {
  const references = await Promise.all(Array.from({ length: 100 }, () => startListener(file())));
  assert.equal(references[0].referenceCount, 100);
  assert.deepEqual(sockets(directory), ['a.sock']);
  for (const reference of references) reference.close();
  assert.equal(isSocket(file()), false);
});

scenario('L30 100 concurrent starts of 100 paths, all closed at once', async ({ file, directory }) => {
  const references = await Promise.all(Array.from({ length: 100 }, (_, i) => startListener(file(`${i}.sock`))));
  assert.equal(sockets(directory).length, 100);
  for (const reference of references) reference.close();
  assert.deepEqual(sockets(directory), []);
});

scenario('L32 a start is cancelled', async ({ file }) => {
  const reason = new Error('changed my mind');
  const early = AbortSignal.abort(reason);
  await assert.rejects(startListener(file(), { signal: early }), (error) => {
    assert.equal(error.name, 'AbortError');
    assert.equal(error.code, 'ABORT_ERR');
    assert.equal(error.cause, reason);
    return true;
  });
  for (let i = 0; i < 50; i++) {
    const controller = new AbortController();
    const started = startListener(file(), { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(started, { name: 'AbortError', code: 'ABORT_ERR', cause: reason });
    assert.equal(isSocket(file()), false);
  }
  const late = new AbortController();
  const reference = await startListener(file(), { signal: late.signal });
  assert.deepEqual(getEventListeners(late.signal, 'abort'), []);
  late.abort();
  assert.equal(reference.isActive, true);
  reference.close();
  for (const signal of [{}, { aborted: false, addEventListener() {} }]) {
    await assert.rejects(startListener(file(), { signal }), { code: 'ERR_INVALID_ARG_TYPE' });
  }
});

scenario('pending starts end with their registry', async ({ file }) => {
  const registry = new Registry();
  const started = Array.from({ length: 20 }, (_, i) => registry.startListener(file(`${i}.sock`)));
  registry.close();
  const outcomes = await Promise.allSettled(started);
  for (const { status, value, reason } of outcomes) {
    if (status === 'fulfilled') value.close();
    else assert.equal(reason.code, 'ESOCKREF_CANCELED');
  }
});

scenario('each start is settled exactly once', async ({ file }) => {
  let settled = 0;
  const note = (outcome) => {
    settled++;
    outcome.close?.();
  };
  const starts = [];
  for (let i = 0; i < 200; i++) {
    const controller = new AbortController();
    starts.push(startListener(i % 3 === 0 ? file('bad/x') : file(`${i % 7}.sock`), { signal: controller.signal }).then(note, note));
    if (i % 5 === 0) controller.abort();
  }
  await Promise.all(starts);
  assert.equal(settled, 200);
  assert.equal(inside('low.js').live_counts().references, 0);
});

scenario('the synchronous start', async ({ file }) => {
  const reference = startListenerSync(file());
  const other = startListenerSync(file(), { exclusive: false, mode: undefined });
  assert.equal(reference.referenceCount, 2);
  reference.close();
  other.close();
  assert.throws(() => startListenerSync(file(), { signal: new AbortController().signal }), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.throws(() => startListenerSync(null), { code: 'ERR_INVALID_ARG_TYPE' });
});

scenario('mode', async ({ file }) => {
  const old = process.umask(0o022);
  try {
    for (const [mode, expected] of [[0o660, 0o660], [0o600, 0o600], [-1, 0o755]]) {
      const reference = startListenerSync(file(), { mode });
      assert.equal(fs.lstatSync(file()).mode & 0o777, expected);
      reference.close();
    }
  } finally {
    process.umask(old);
  }
});

function shim(directory) {
  const source = ['../../../tests/harness/slow-unlink.c', '../../../../../tests/harness/slow-unlink.c']
    .map((place) => path.join(__dirname, place)).find((place) => fs.existsSync(place));
  if (!source) return undefined;
  const out = path.join(directory, 'slow-unlink.so');
  execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', '-D_GNU_SOURCE', '-o', out, source, '-ldl'],
    { timeout: limit });
  return out;
}

scenario('L44 a start that waits for a removal of the same name', async ({ t, directory, file }) => {
  const preload = shim(directory);
  if (!preload) {
    t.skip('tests/harness/slow-unlink.c is not here');
    return;
  }
  const ended = await run([program('slow-start.js'), file('slow.sock')],
    { env: { LD_PRELOAD: [process.env.LD_PRELOAD, preload].filter(Boolean).join(' '), SLOW_UNLINK_MS: '500' } });
  assert.equal(ended.code, 0, ended.err);
  const { ticks, longest, waited, active } = JSON.parse(ended.out);
  assert.equal(active, true);
  assert.equal(waited > 200, true, `it waited for the removal: ${waited} ms`);
  assert.equal(ticks > 50, true, `the timer fired meanwhile: ${ticks}`);
  assert.equal(longest < 400, true, `the loop was never held up: ${longest} ms`);
});
