'use strict';

// Random scripts: the same calls on both ends of a connection, by node:net and by sockref/net; the events that they
// tell must be the same. A script that fails names its seed: SEED=n runs that one alone.

const { assert, once, within, closed, implementations, scenario, until } = require('./harness.js');

const count = 150;
const first = Number(process.env.SEED ?? 1);
const last = process.env.SEED ? first : count;

/** Numbers that look random, from a seed: xorshift. */
function numbers(seed) {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % limit;
  };
}

const steps = ['write', 'write', 'text', 'big', 'end', 'last', 'destroy', 'error', 'pause', 'resume', 'resume', 'cork', 'uncork',
  'destroySoon', 'setTimeout', 'setEncoding', 'read', 'unref', 'settle', 'settle', 'settle'];
// Of the client, before it is connected.
const early = ['write', 'text', 'pause', 'resume', 'cork', 'uncork', 'setEncoding', 'read', 'unref'];

const mark = (next) => (next(3) === 0 ? { highWaterMark: [0, 1, 100][next(3)] } : {});

function script(seed) {
  const next = numbers(seed);
  return {
    tcp: next(2) === 1,
    options: [
      { allowHalfOpen: next(2) === 1, pauseOnConnect: next(4) === 0, ...mark(next) },
      { allowHalfOpen: next(2) === 1, ...mark(next) },
    ],
    listens: [next(3) > 0, next(3) > 0],
    early: Array.from({ length: next(2) * next(4) }, () => ({ what: early[next(early.length)], size: 1 + next(3000) })),
    steps: Array.from({ length: 3 + next(8) }, () => ({ who: next(2), what: steps[next(steps.length)], size: 1 + next(3000) })),
  };
}

// Data is told by its length alone, for it may come in any pieces; drain depends on when the kernel takes what.
// When one end is gone, what the other hears is a matter of which comes first: what was told before must be the same.
const cutting = ['destroy', 'error', 'destroySoon'];
const watched = ['connect', 'ready', 'end', 'finish', 'error', 'close'];

function watch(socket, name, listens) {
  const own = [];
  for (const event of watched) {
    socket.on(event, (value) => own.push(`${name} ${event}${value === undefined ? '' : ` ${value?.code ?? value}`}`));
  }
  if (listens) socket.on('data', () => {});
  return own;
}

function take(socket, { what, size }, calls) {
  if (what === 'write') socket.write(Buffer.alloc(size, size));
  else if (what === 'text') socket.write('\u00e9'.repeat(size), 'latin1', (error) => calls.push(error?.code));
  else if (what === 'last') socket.end(Buffer.alloc(size, size));
  else if (what === 'big') socket.write(Buffer.alloc(size * 100, size));
  else if (what === 'error') socket.destroy(Object.assign(new Error('mine'), { code: 'MINE' }));
  else if (what === 'setTimeout') socket.setTimeout(0);
  else socket[what]();
}

// Long enough for what is on its way to come: both ends are of this process. The second of the two that play a script
// waits for as many events and bytes as the first has told and read by then, for it may be slower; where one end is gone
// they may be fewer.
async function settle(logs, sockets, counts, expected, hasCut) {
  for (let i = 0; i < 6; i++) await new Promise((resolve) => { setImmediate(resolve); });
  await new Promise((resolve) => { setTimeout(resolve, 2); });
  const count = () => [...logs.map(({ length }) => length), ...sockets.map(({ bytesRead }) => bytesRead)];
  const wanted = expected?.[counts.length];
  const isThere = () => count().every((much, i) => much >= wanted[i]);
  if (wanted && !hasCut) await until(isThere, 'events', 2000).catch(() => {}); // then the comparison tells what lacks
  counts.push(count());
}

// The two directions end each on its own, so the order of end and finish is not told; nor whether the end of the peer
// still came where we cut off.
function views(log, hasCut) {
  const without = (event) => log.filter((line) => !line.endsWith(` ${event}`));
  return hasCut ? [without('end')] : [without('end'), without('finish')];
}

/** What is seen of a socket at last; how far it has read is told where nobody was cut off. */
function stateOf(one, hasCut) {
  const state = [one.readyState, one.destroyed, one.bytesWritten];
  return hasCut ? state : [...state, one.bytesRead, one.readableLength, one.readableFlowing, one.readableDidRead, one.isPaused(),
    one.writableFinished, one.readableEnded];
}

async function play(net, { tcp, options, listens, early: first, steps: taken }, place, expected) {
  const server = net.createServer(options[0]);
  server.listen(tcp ? { port: 0, host: '127.0.0.1' } : { path: place });
  await within(once(server, 'listening'), 'listening');
  const accepted = within(once(server, 'connection'), 'connection');
  const client = net.connect({ ...(tcp ? { port: server.address().port, host: '127.0.0.1' } : { path: place }), ...options[1] });
  const ready = within(new Promise((resolve) => { client.once('ready', resolve); }), 'ready');
  const ours = watch(client, 'client', listens[1]);
  const calls = [[], []]; // of the callbacks of writes
  for (const step of first) take(client, step, calls[1]);
  const [socket] = await accepted;
  const logs = [watch(socket, 'server', listens[0]), ours];
  await ready;
  const cuts = [Infinity, Infinity];
  const ended = [false, false];
  const counts = [];
  for (const step of taken) {
    if (step.what === 'settle') {
      await settle(logs, [socket, client], counts, expected, Math.min(...cuts) < Infinity);
      continue;
    }
    take([socket, client][step.who], step, calls[step.who]);
    const isLate = ended[step.who] && ['write', 'text', 'big', 'last'].includes(step.what); // it destroys its own end
    if (['end', 'last'].includes(step.what)) ended[step.who] = true;
    const other = 1 - step.who;
    if ((isLate || cutting.includes(step.what)) && ![socket, client][other].destroyed) {
      cuts[other] = Math.min(cuts[other], logs[other].length);
    }
  }
  const hasCut = Math.min(...cuts) < Infinity;
  await settle(logs, [socket, client], counts, expected, hasCut);
  const totals = [socket, client].map((one) => stateOf(one, hasCut));
  const told = hasCut ? [] : calls.map((list) => [...list]);
  for (const one of [socket, client]) one.destroy();
  await Promise.all([closed(socket), closed(client)]);
  await new Promise((resolve) => { server.close(resolve); });
  for (const log of logs) {
    assert.equal(log.filter((event) => event.includes(' close ')).length, 1, 'close comes once');
    assert.match(log.at(-1), / close /, 'and last');
    assert.equal(log.some((event) => event.includes(' error ')), log.at(-1).endsWith('true'), 'and knows of an error');
  }
  return {
    logs: logs.map((log, i) => views(log.slice(0, cuts[i]), cuts[1 - i] < Infinity)),
    totals: totals.map((total, i) => (cuts[i] < Infinity ? [] : total)),
    told,
    counts,
  };
}

async function compare(played, seed, place) {
  const [theirs, ours] = implementations.map(({ net }) => net);
  const { counts, ...wanted } = await play(theirs, played, place);
  const { counts: _, ...got } = await play(ours, played, place, counts);
  assert.deepEqual(got, wanted, `SEED=${seed} ${JSON.stringify(played)}`);
}

// How much has come by a pause is a matter of moments on a busy machine: what differs has to differ each time.
const TRIES = 5;

scenario(`${last - first + 1} random scripts tell the same events`, async ({ file }) => {
  for (let seed = first; seed <= last; seed++) {
    for (let tries = 1; ; tries++) {
      try {
        await compare(script(seed), seed, file(`${seed}-${tries}.sock`));
        break;
      } catch (error) {
        if (!(error instanceof assert.AssertionError) || tries === TRIES) throw error;
      }
    }
  }
});
