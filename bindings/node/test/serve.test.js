'use strict';

const {
  assert, sockref, inside, scenario, connect, exchange, until, turn, within, run, program,
} = require('./harness.js');
const { AsyncLocalStorage } = require('node:async_hooks');
const crypto = require('node:crypto');
const { once } = require('node:events');
const { Connection, startListener } = sockref;

const closed = (socket) => new Promise((resolve) => socket.resume().once('close', resolve));
const echo = { data: (connection, data) => connection.write(data) };

scenario('L06 serve echo, dial with net', async ({ file }) => {
  const reference = await startListener(file());
  assert.equal(reference.serveEcho(), reference);
  for (const bytes of [Buffer.from('hello'), Buffer.from([0, 1, 0, 255]), Buffer.alloc(64 * 1024)]) {
    assert.deepEqual(await exchange(file(), bytes), bytes);
  }
  assert.throws(() => reference.serveEcho(), { code: 'ESOCKREF_BUSY' });
  assert.throws(() => reference.serve({}), { code: 'ESOCKREF_BUSY' });
  reference.close();
});

scenario('serveEcho answers while JavaScript is busy', async ({ file }) => {
  const reference = await startListener(file());
  reference.serveEcho();
  const client = run([program('dial.js'), file()]);
  let told;
  client.then((ended) => { told = ended; });
  // The peer is answered while this thread does nothing else; it is another process that tells so.
  const ended = inside('low.js') && require('node:child_process')
    .spawnSync(process.execPath, [program('dial.js'), file()], { encoding: 'utf8', timeout: 20000 });
  assert.equal(ended.stdout, 'answered\n');
  await client;
  assert.equal(told.out, 'answered\n');
  reference.close();
});

scenario('L42 handlers in the language', async ({ file }) => {
  const events = [];
  const reference = await startListener(file());
  reference.serve({
    connection(connection) {
      assert.equal(connection instanceof Connection, true);
      events.push('connection');
    },
    data(connection, data) {
      assert.equal(Buffer.isBuffer(data), true);
      events.push(`data ${data}`);
      assert.equal(connection.write(data), true);
    },
    end(connection) {
      events.push('end');
      connection.end('bye');
    },
    error: (connection, error) => events.push(`error ${error.code}`),
    close: (connection, hadError) => events.push(`close ${hadError} ${connection.destroyed}`),
    stop: () => events.push('stop'),
  });
  assert.deepEqual(await exchange(file(), 'hello'), Buffer.from('hellobye'));
  await until(() => events.includes('close false true'));
  reference.close();
  await until(() => events.includes('stop'));
  assert.deepEqual(events, ['connection', 'data hello', 'end', 'close false true', 'stop']);
});

scenario('without an end handler our side ends too', async ({ file }) => {
  const reference = await startListener(file());
  reference.serve(echo);
  const bytes = Buffer.alloc(300000, 'x');
  assert.deepEqual(await exchange(file(), bytes), bytes);
  reference.close();
});

scenario('much data in both directions, and the reader pauses', async ({ file }) => {
  const reference = await startListener(file());
  reference.serve({
    data(connection, data) {
      if (!connection.write(data)) connection.pause();
    },
    drain: (connection) => connection.resume(),
  });
  const bytes = crypto.randomBytes(16 * 1024 * 1024);
  const socket = await connect(file());
  const hash = crypto.createHash('sha256');
  let length = 0;
  socket.on('data', (part) => {
    hash.update(part);
    length += part.length;
    socket.pause();
    setImmediate(() => socket.resume());
  });
  for (let at = 0; at < bytes.length;) {
    const size = 1 + (bytes[at] * 997) % 200000;
    if (!socket.write(bytes.subarray(at, at + size))) await new Promise((resolve) => socket.once('drain', resolve));
    at += size;
  }
  socket.end();
  await closed(socket);
  assert.equal(length, bytes.length);
  assert.equal(hash.digest('hex'), crypto.createHash('sha256').update(bytes).digest('hex'));
  reference.close();
});

scenario('reads of every length come whole', async ({ file }) => {
  const reference = await startListener(file());
  reference.serve({ data: (connection, data) => { connection.write(data); } });
  const socket = await connect(file());
  let parts = [];
  socket.on('data', (part) => parts.push(part));
  // Many that have a buffer each of their size, then one that takes the buffer it was read to.
  const lengths = [...Array(70).fill(8_000), 60_000, 100, ...Array(70).fill(20_000), 60_000];
  for (const [i, length] of lengths.entries()) {
    const bytes = Buffer.alloc(length, `${i} `);
    socket.write(bytes);
    await until(() => parts.reduce((sum, part) => sum + part.length, 0) >= length, 'the echo');
    assert.equal(Buffer.concat(parts).equals(bytes), true, `message ${i}`);
    parts = [];
  }
  socket.destroy();
  reference.close();
});

scenario('large reads of many connections are told a few at a time', async ({ file }) => {
  const size = 64 * 1024;
  const ahead = []; // what was read and not told yet, at each event
  let opened = 0;
  let told = 0;
  const reference = await startListener(file());
  reference.serve({
    connection() { opened++; },
    data(connection, data) {
      told += data.length;
      ahead.push(reference.stats().bytesRead - told);
    },
  });
  const clients = [];
  for (let i = 0; i < 12; i++) clients.push(await connect(file()));
  await until(() => opened === clients.length, 'all connections');
  for (const client of clients) client.end(Buffer.alloc(size));
  await until(() => told === clients.length * size, 'all bytes');
  assert.ok(Math.max(...ahead) < 3 * size, `${ahead}`);
  for (const client of clients) client.destroy();
  reference.close();
});

scenario('many connections, small pieces kept by the handlers', async ({ file }) => {
  const kept = new Map();
  const reference = await startListener(file());
  reference.serve({
    connection: (connection) => kept.set(connection, []),
    data(connection, data) {
      kept.get(connection).push(data);
      connection.write(data);
    },
  });
  const texts = Array.from({ length: 150 }, (_, i) => `${i}:`.repeat(1 + i * 20));
  const answers = await Promise.all(texts.map((text) => exchange(file(), text)));
  assert.deepEqual(answers.map(String), texts);
  assert.deepEqual([...kept.values()].map((parts) => String(Buffer.concat(parts))).sort(), [...texts].sort());
  reference.close();
});

scenario('destroy and close inside handlers', async ({ file }) => {
  const events = [];
  const reference = await startListener(file());
  reference.serve({
    data(connection) {
      events.push('data');
      connection.write('dropped?');
      connection.destroy();
      connection.destroy();
      assert.equal(connection.destroyed, true);
      assert.throws(() => connection.write('x'), { code: 'ESOCKREF_CLOSED' });
      connection.end();
      connection.pause().resume();
    },
    end: () => events.push('end'),
    close() {
      events.push('close');
      reference.close();
      reference.close();
    },
    stop: () => events.push('stop'),
  });
  const socket = await connect(file());
  socket.on('error', () => {});
  socket.write('x');
  await closed(socket);
  await until(() => events.includes('stop'));
  assert.deepEqual(events, ['data', 'close', 'stop']);
  assert.equal(sockref.isSocketActive(file()), false);
});

scenario('one handler ends all connections', async ({ file }) => {
  const reference = await startListener(file());
  const open = new Set();
  let closes = 0;
  reference.serve({
    connection: (connection) => open.add(connection),
    data: () => open.forEach((connection) => connection.destroy()),
    close: () => closes++,
  });
  const sockets = await Promise.all(Array.from({ length: 30 }, () => connect(file())));
  await until(() => open.size === 30);
  for (const socket of sockets) socket.on('error', () => {}).write('x');
  await Promise.all(sockets.map(closed));
  await until(() => closes === 30);
  reference.close();
});

scenario('serving ends with the last reference, also a revoked one', async ({ file }) => {
  const reference = await startListener(file());
  const other = reference.clone();
  const events = [];
  reference.serve({ close: (connection, hadError) => events.push(`close ${hadError}`), stop: () => events.push('stop') });
  const socket = await connect(file());
  socket.on('error', () => {}).resume();
  await turn();
  reference.close();
  assert.equal(other.isActive, true);
  await new Promise((resolve) => socket.write('still served', resolve));
  sockref.cleanup(file());
  await until(() => events.includes('stop'));
  assert.deepEqual(events.at(-1), 'stop');
  other.close();
  socket.destroy();
});

scenario('a handler that throws does not eat the events of others', async ({ file }) => {
  const ended = await run([program('throwing.js'), file()]);
  assert.equal(ended.code, 0, ended.err);
  assert.deepEqual(JSON.parse(ended.out), { thrown: 30, answered: 20, closes: 40 });
});

scenario('each connection keeps its asynchronous context', async ({ file }) => {
  const storage = new AsyncLocalStorage();
  const seen = [];
  const reference = await startListener(file());
  storage.run('service', () => reference.serve({
    connection(connection) {
      assert.equal(storage.getStore(), 'service');
    },
    data(connection, data) {
      seen.push(storage.getStore());
      storage.enterWith(String(data));
      setImmediate(() => {
        connection.end(storage.getStore());
      });
    },
    end() {}, // we end when we have answered
  }));
  const answers = await Promise.all(['one', 'two', 'three'].map((text) => exchange(file(), text)));
  assert.deepEqual(answers.map(String), ['one', 'two', 'three']);
  assert.deepEqual(seen, ['service', 'service', 'service']);
  assert.equal(storage.getStore(), undefined);
  reference.close();
});

scenario('what is said of the end of a service is in its asynchronous context', async ({ file }) => {
  const storage = new AsyncLocalStorage();
  const reference = await startListener(file());
  const stopped = new Promise((resolve) => {
    storage.run('service', () => reference.serve({ stop: () => resolve(storage.getStore()) }));
  });
  reference.close();
  assert.equal(await within(stopped, 'stop'), 'service');
});

scenario('handlers are those that were given, whatever becomes of the object', async ({ file }) => {
  const reference = await startListener(file());
  const handlers = { ...echo };
  reference.serve(handlers);
  handlers.data = (connection) => connection.end('changed');
  handlers.connection = (connection) => connection.write('changed');
  assert.equal(String(await exchange(file(), 'hello')), 'hello');
  reference.close();
});

scenario('what the handler of a connection enters is no other connection\'s', async ({ file }) => {
  const storage = new AsyncLocalStorage();
  const seen = [];
  const reference = await startListener(file());
  storage.run('service', () => reference.serve({
    connection(connection) {
      seen.push(storage.getStore());
      storage.enterWith(connection);
    },
    data(connection, data) {
      const store = storage.getStore();
      seen.push(store === connection ? 'service' : store); // up to Node 22 it stays that of this one
      connection.end(data);
    },
  }));
  for (const text of ['one', 'two', 'three']) assert.equal(String(await exchange(file(), text)), text);
  reference.close();
  assert.deepEqual(seen, Array(6).fill('service'));
});

scenario('handlers and data of a wrong type', async ({ file }) => {
  const reference = await startListener(file());
  for (const wrong of [undefined, null, 1, 'x']) {
    assert.throws(() => reference.serve(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
  assert.throws(() => reference.serve({ data: 1 }), { code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => reference.serve({ dota() {} }), { code: 'ERR_INVALID_ARG_VALUE' });
  assert.throws(() => new Connection(), { code: 'ERR_ILLEGAL_CONSTRUCTOR' });
  let tried = false;
  reference.serve({
    connection(connection) {
      for (const wrong of [undefined, null, 1, {}, new Uint16Array(1)]) {
        assert.throws(() => connection.write(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
      }
      assert.equal(connection.write(new Uint8Array([65])), true);
      tried = true;
    },
  });
  assert.deepEqual(await exchange(file(), ''), Buffer.from('A'));
  assert.equal(tried, true);
  reference.close();
  const named = sockref.SocketReference.getOrCreate(file());
  assert.throws(() => named.serve({}), { code: 'ESOCKREF_CLOSED' });
  named.close();
});

scenario('the limit of buffered bytes', async ({ file }) => {
  const reference = await startListener(file(), { maxBuffered: 1024 * 1024 });
  let refused;
  reference.serve({
    connection(connection) {
      try {
        for (;;) connection.write(Buffer.alloc(256 * 1024));
      } catch (error) {
        refused = error;
      }
    },
  });
  const socket = await connect(file());
  await until(() => refused);
  assert.equal(refused.code, 'ESOCKREF_LIMIT');
  socket.destroy();
  reference.close();
});

scenario('a write that was to wait is told when all is written', async ({ file }) => {
  const reference = await startListener(file());
  const told = [];
  reference.serve({
    connection(connection) {
      while (connection.write(Buffer.alloc(64 * 1024)));
      told.push('wait');
    },
    drain(connection) {
      told.push('drain');
      connection.end();
    },
  });
  const socket = (await connect(file())).resume();
  await once(socket, 'end');
  assert.deepEqual(told, ['wait', 'drain']);
  socket.destroy();
  reference.close();
});

scenario('data stays whole when a handler keeps or transfers it', async ({ file }) => {
  const reference = await startListener(file());
  const kept = [];
  reference.serve({
    data(connection, data) {
      kept.push(data);
      try {
        structuredClone(data.buffer, { transfer: [data.buffer] });
      } catch {
        // pooled memory cannot be given away
      }
      connection.write('.');
    },
  });
  const socket = await connect(file());
  let dots = 0;
  socket.on('data', (data) => { dots += data.length; });
  for (let i = 0; i < 50; i++) {
    socket.write(`message ${i}`);
    await until(() => dots > i);
  }
  assert.deepEqual(kept.filter((data) => data.length > 0).map(String), Array.from({ length: 50 }, (_, i) => `message ${i}`));
  socket.destroy();
  reference.close();
});
