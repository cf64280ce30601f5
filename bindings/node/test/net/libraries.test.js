'use strict';

// What others have built on node:net, over sockref/net.

const { assert, root, sockrefNet: net, scenario, once, within, closed, until } = require('./harness.js');
const { spawn, spawnSync } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const http2 = require('node:http2');
const path = require('node:path');
const tls = require('node:tls');

function find(name) {
  try {
    return require(require.resolve(name, { paths: [path.join(__dirname, '..', '..'), root] }));
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    return undefined;
  }
}

const messages = 10_000;

/** An http.Server that gets its connections from a server of ours, as it does from Node's own. */
async function serveHttp(file, listener, options = {}) {
  const site = http.createServer(options, listener);
  const server = net.createServer({ allowHalfOpen: true }, (socket) => site.emit('connection', socket));
  server.listen(file);
  await within(once(server, 'listening'), 'listening');
  site.emit('listening'); // from now on it looks for requests that take too long
  return { site, server };
}

const end = (server) => within(new Promise((resolve) => { server.close(resolve); }), 'close');

function agentFor(file, options) {
  const agent = new http.Agent({ keepAlive: true, ...options });
  agent.createConnection = (_, connected) => net.connect(file, connected);
  return agent;
}

function ask(agent, request, body) {
  return new Promise((resolve, reject) => {
    const asked = http.request({ agent, ...request }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part)).on('end', () => resolve(Buffer.concat(parts))).on('error', reject);
    });
    asked.on('error', reject).end(body);
  });
}

scenario('decision 50: http: client and server, with kept connections', async ({ file }) => {
  const { site, server } = await serveHttp(file(), (request, response) => {
    const hash = crypto.createHash('sha256');
    request.on('data', (part) => hash.update(part)).on('end', () => response.end(hash.digest('hex')));
  });
  const agent = agentFor(file(), { maxSockets: 20 });
  let asked = 0;
  await Promise.all(Array.from({ length: 20 }, async (_, worker) => {
    for (let i = worker; i < messages; i += 20) {
      const body = Buffer.alloc(i % 10 ? i % 300 : (i * 37) % 5000, i);
      const answer = await ask(agent, { method: 'POST', path: `/${i}` }, body);
      assert.equal(String(answer), crypto.createHash('sha256').update(body).digest('hex'));
      asked++;
    }
  }));
  assert.equal(asked, messages);
  agent.destroy();
  await end(server);
  site.close();
});

scenario('decision 50: http: its time-outs come', async ({ file }) => {
  const { site, server } = await serveHttp(file(), (request, response) => response.end('late'), {
    connectionsCheckingInterval: 20, headersTimeout: 60, requestTimeout: 60, keepAliveTimeout: 30,
  });
  const slow = net.connect(file());
  let text = '';
  slow.on('data', (part) => { text += part; });
  slow.write('GET / HTTP/1.1\r\nHost: x\r\n'); // and no end of the headers
  await closed(slow);
  assert.match(text, /^HTTP\/1\.1 408 /);
  const kept = net.connect(file());
  kept.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await within(once(kept, 'data'), 'data');
  await closed(kept.resume()); // by keepAliveTimeout
  site.closeAllConnections();
  site.close();
  await end(server);
});

scenario('decision 50: http: the time-out of a request', async ({ file }) => {
  const { site, server } = await serveHttp(file(), () => {}); // which never answers
  const agent = agentFor(file());
  const request = http.request({ agent, path: '/', timeout: 20 });
  request.on('error', () => {}).end();
  await within(once(request, 'timeout'), 'timeout');
  await within(new Promise((resolve) => { request.once('close', resolve).destroy(); }), 'close');
  agent.destroy();
  site.close();
  await end(server);
});

scenario('decision 50: tls over both ends', async ({ t, file, directory }) => {
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
    '-keyout', file('key'), '-out', file('cert'), '-days', '1', '-subj', '/CN=localhost'], { cwd: directory, encoding: 'utf8' });
  if (made.status !== 0) {
    t.skip('there is no openssl');
    return;
  }
  const context = tls.createSecureContext({ key: fs.readFileSync(file('key')), cert: fs.readFileSync(file('cert')) });
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    const secure = new tls.TLSSocket(socket, { isServer: true, secureContext: context });
    secure.pipe(secure);
    secure.on('error', () => {});
  }).listen(file());
  await within(once(server, 'listening'), 'listening');
  const secure = tls.connect({
    socket: net.connect({ path: file(), allowHalfOpen: true }), ca: fs.readFileSync(file('cert')), servername: 'localhost', checkServerIdentity: () => undefined,
  });
  await within(once(secure, 'secureConnect'), 'secureConnect');
  assert.equal(secure.authorized, true);
  const bytes = crypto.randomBytes(1024 * 1024);
  const parts = [];
  secure.on('data', (part) => parts.push(part));
  secure.end(bytes); // and the rest of the echo comes after that
  await within(once(secure, 'close'), 'close');
  assert.equal(Buffer.concat(parts).equals(bytes), true);
  await end(server);
});

const ws = find('ws');

for (const allowHalfOpen of [true, false]) {
  const kind = allowHalfOpen ? 'half-open sockets' : 'sockets that end with their peer';
  scenario(`http2: a server over ${kind} outlives clients that are gone at any moment`, async ({ file }) => {
    const site = http2.createServer((request, response) => response.end('x'));
    const server = net.createServer({ allowHalfOpen }, (socket) => site.emit('connection', socket));
    server.listen(file());
    await within(once(server, 'listening'), 'listening');
    for (let turns = 0; turns < 8; turns++) {
      const session = http2.connect('http://localhost', { createConnection: () => net.connect({ path: file(), allowHalfOpen }) });
      session.request({ ':path': '/' }).on('error', () => {}).resume();
      await within(once(session, 'connect'), 'connect');
      for (let i = 0; i < turns; i++) await new Promise(setImmediate);
      session.destroy();
      await within(once(session, 'close'), 'close');
    }
    await end(server); // what Node throws of its own accord fails the test
  });
}

scenario('ws: 10,000 messages, and a reconnect after all was cut', async ({ file }) => {
  const { site, server } = await serveHttp(file(), (request, response) => response.end());
  const sockets = new ws.WebSocketServer({ server: site });
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
  const dial = async () => {
    const client = new ws.WebSocket('ws://localhost/', { createConnection: () => net.connect(file()) });
    await within(once(client, 'open'), 'open');
    return client;
  };
  const exchange = async (client, count) => {
    const [sent, got] = [crypto.createHash('sha256'), crypto.createHash('sha256')];
    let received = 0;
    const all = new Promise((resolve) => {
      client.on('message', (data) => {
        got.update(data);
        if (++received === count) resolve();
      });
    });
    for (let i = 0; i < count; i++) {
      const message = Buffer.alloc(i % 300, i);
      sent.update(message);
      client.send(message);
    }
    await within(all, 'messages');
    assert.equal(got.digest('hex'), sent.digest('hex'));
  };
  const first = await dial();
  await exchange(first, messages / 2);
  const cut = within(once(first, 'close'), 'close');
  for (const socket of sockets.clients) socket.terminate();
  await cut;
  const second = await dial();
  await exchange(second, messages / 2);
  second.terminate();
  sockets.close();
  await end(server);
  site.close();
}, { skip: ws ? false : 'ws is not installed: run npm ci in bindings/node' });

const ioredis = find('ioredis');
const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

async function startRedis(directory, file) {
  const child = spawn('redis-server', ['--port', '0', '--unixsocket', file, '--save', '', '--appendonly', 'no', '--dir', directory],
    { stdio: 'ignore' });
  await until(async () => {
    const socket = net.connect(file);
    return new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    }).finally(() => socket.destroy());
  }, 'redis-server');
  return child;
}

async function killed(child) {
  child.kill('SIGKILL');
  await within(once(child, 'exit'), 'exit');
}

/** ioredis with its sockets from us. It asks its connector for a stream. */
function redisOver(file) {
  const { AbstractConnector } = ioredis;
  class Connector extends AbstractConnector {
    connect() {
      this.stream = net.connect(file);
      return Promise.resolve(this.stream);
    }
  }
  return new ioredis.Redis({ Connector, retryStrategy: () => 20, maxRetriesPerRequest: null });
}

scenario('ioredis and redis-server: 10,000 messages, and a reconnect after a kill', async ({ file, directory }) => {
  let child = await startRedis(directory, file('redis.sock'));
  const client = redisOver(file('redis.sock'));
  client.on('error', () => {});
  try {
    const exchange = async (count) => {
      const values = Array.from({ length: count }, (_, i) => `${i}:${'x'.repeat(i % 200)}`);
      await within(Promise.all(values.map((value, i) => client.set(`k${i}`, value))), 'set');
      const got = await within(Promise.all(values.map((_, i) => client.get(`k${i}`))), 'get');
      assert.deepEqual(got, values);
    };
    await exchange(messages / 2);
    const again = within(once(client, 'reconnecting'), 'reconnecting');
    await killed(child);
    await again;
    child = await startRedis(directory, file('redis.sock'));
    await exchange(messages / 2);
  } finally {
    client.disconnect();
    await killed(child);
    fs.rmSync(file('redis.sock'), { force: true });
  }
}, { skip: !ioredis ? 'ioredis is not installed: run npm ci in bindings/node' : hasRedis ? false : 'there is no redis-server' });

