'use strict';

// What it is to the program around it: Node's own sockets are not used, what is kept alive and what is not, contexts,
// exceptions, threads, memory, and other work in the same loop.

const { assert, root, sockref, sockrefNet: net, nodeNet, scenario, both, once, within, closed, received, trace, until, isSocket, collect,
  run } = require('./harness.js');
const { AsyncLocalStorage, createHook } = require('node:async_hooks');
const { fork, spawn } = require('node:child_process');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const file = path.join(root, 'lib', 'net.js');
const end = (server) => within(new Promise((resolve) => { server.close(resolve); }), 'close');

async function serve(place, listener, options = {}) {
  const server = net.createServer(options, listener).listen(place);
  await within(once(server, 'listening'), 'listening');
  return server;
}

async function dial(place, by = net) {
  const socket = by.connect(place);
  await within(once(socket, 'connect'), 'connect');
  return socket;
}

scenario('decision 50: no socket of Node is underneath', async ({ file: place }) => {
  const server = await serve(place());
  const tcp = await serve({ port: 0, host: '127.0.0.1' });
  const sockets = [await dial(place()), await dial(tcp.address().port)];
  const used = process.getActiveResourcesInfo().filter((name) => /TCP|Pipe/.test(name));
  const withOne = nodeNet.createServer().listen(place('other'));
  const more = process.getActiveResourcesInfo().filter((name) => /TCP|Pipe/.test(name));
  assert.equal(more.length, used.length + 1, 'and Node does tell of its own');
  // The standard streams of a test may be pipes; nothing came to them.
  const { out } = await run(['-e', `
    const net = require(process.argv[1]);
    const server = net.createServer().listen(process.argv[2], () => net.connect(process.argv[2], () => {
      console.log(JSON.stringify(process.getActiveResourcesInfo().filter((name) => /TCP|PipeServer|PipeConnect/.test(name))));
      process.exit(0);
    }));
  `, file, place('own')]);
  assert.equal(out, '[]\n');
  await end(withOne);
  for (const socket of sockets) socket.destroy();
  await Promise.all(sockets.map(closed));
  await end(server);
  await end(tcp);
});

scenario('decision 50: it is no instance of Node\'s, and cannot be sent to a child', async ({ file: place }) => {
  const server = await serve(place());
  const socket = await dial(place());
  assert.equal(socket instanceof nodeNet.Socket, false);
  assert.equal(server instanceof nodeNet.Server, false);
  const child = fork('-e', [], { execArgv: ['-e', 'process.on("message", () => {})'], stdio: 'ignore' });
  for (const handle of [server, socket]) {
    assert.throws(() => child.send('x', handle), { code: 'ERR_INVALID_HANDLE_TYPE' });
  }
  child.kill();
  await within(once(child, 'exit'), 'exit');
  socket.destroy();
  await closed(socket);
  await end(server);
});

const program = (body) => ['-e', `const net = require(process.argv[1]); const place = process.argv[2]; ${body}`, file];

scenario('J11 J12 what keeps the process alive', async ({ file: place }) => {
  const ends = async (body) => {
    const { code, out, err } = await run([...program(body), place()]);
    assert.deepEqual([code, err], [0, '']);
    return out;
  };
  assert.equal(await ends('net.createServer().listen(place).unref();'), '', 'an unreferenced server does not');
  assert.equal(await ends(`
    const server = net.createServer((socket) => socket.unref())
      .listen(0, '127.0.0.1', () => net.connect(server.address()).unref()); // before it has a connection
    server.unref();
    setTimeout(() => console.log('later'), 50);
  `), 'later\n');
  assert.equal(await ends(`
    const server = net.createServer((socket) => { setTimeout(() => socket.end('x'), 50).unref(); server.close(); })
      .listen(place, () => net.connect(place).on('data', (data) => console.log(String(data))));
  `), 'x\n', 'an open socket does');
  assert.equal(await ends(`
    const server = net.createServer((socket) => {
      socket.unref().unref();
      setTimeout(() => { console.log('open'); server.close(); socket.destroy(); }, 50).unref();
    }).listen(place, () => net.connect(place).unref().unref());
  `), 'open\n', 'to unreference twice takes nothing from others');
  assert.equal(await ends('new net.Socket().setTimeout(100000).unref();'), '');
  assert.equal(await ends(`
    const server = net.createServer((socket) => socket.unref())
      .listen(place, () => net.connect(place, () => console.log('connected')).unref());
    server.unref();
  `), 'connected\n', 'what connects does');
  assert.equal(await ends(`
    const server = net.createServer((socket) => socket.unref().resume()).listen(place, () => {
      const socket = net.connect(place, () => socket.unref().destroy()).on('close', () => console.log('close'));
    }).unref();
  `), 'close\n', 'what is destroyed does, until it is told');
  for (const body of ['', 'socket.on("end", () => console.log("end")).resume();']) {
    assert.equal(await ends(`
      const server = net.createServer((socket) => socket.unref().end('x')).listen(place, () => {
        const socket = net.connect({ path: place, allowHalfOpen: true });
        ${body}
      }).unref();
    `), body && 'end\n', 'one that waits for nothing more does not, also where what came is not read');
  }
  assert.equal(await ends(`
    const server = net.createServer((socket) => socket.unref()).listen(place, () => {
      const socket = net.connect(place, () => socket.pause());
    }).unref();
  `), '', 'a paused one does not');
  assert.equal(await ends(`
    const server = net.createServer((socket) => socket.end('x')).listen(place, () => {
      server.unref();
      const socket = net.connect(place, () => {
        socket.pause();
        setTimeout(() => socket.resume().on('data', (data) => console.log(String(data))), 50);
      }).on('close', () => console.log('close'));
    });
  `), 'x\nclose\n', 'until it is resumed');
  const reader = nodeNet.createServer().listen(place());
  const taken = once(reader, 'connection').then(([socket]) => received(socket));
  await ends('const socket = net.connect(place, () => socket.unref().write(Buffer.alloc(2 ** 23)));');
  assert.equal((await within(taken, 'all that was written')).length, 2 ** 23, 'what writes does');
  await end(reader);
});

both('a server that is closed, or cannot listen, before the exit brings another beforeExit', async ({ isOurs, file: place }) => {
  const { code, out, err } = await run(['-e', `
    const net = require(process.argv[1]), place = process.argv[2];
    const ways = [
      () => net.createServer().listen(place).close(),
      () => net.createServer().listen(place).unref().close(),
      () => net.createServer().listen(place, function () { this.close(); }),
      () => net.createServer().on('error', () => {}).listen('/nowhere/x'),
    ];
    process.on('beforeExit', () => ways.shift()?.()).on('exit', () => console.log(ways.length));
  `, isOurs ? file : 'node:net', place()]);
  assert.deepEqual([code, out, err], [0, '0\n', '']);
});

scenario('decision 49: each socket has its context, also after a throw between', async ({ file: place }) => {
  const { out, code, err } = await run([...program(`
    const { AsyncLocalStorage } = require('node:async_hooks');
    const storage = new AsyncLocalStorage();
    const seen = [];
    process.on('uncaughtException', (error) => seen.push('threw ' + error.message));
    const server = net.createServer((socket) => {
      seen.push('connection in ' + storage.getStore());
      socket.on('data', (data) => socket.write(data));
    });
    storage.run('server', () => server.listen(place));
    const sockets = ['a', 'b'].map((name) => storage.run(name, () => {
      const socket = net.connect(place);
      let count = 0;
      socket.on('data', () => {
        if (storage.getStore() !== name) seen.push('wrong ' + name + ' ' + storage.getStore());
        if (++count % 10 === 5) throw new Error(name + count);
      });
      return socket;
    }));
    let sent = 0;
    const timer = setInterval(() => {
      for (const socket of sockets) socket.write('x');
      if (++sent < 30) return;
      clearInterval(timer);
      setTimeout(() => {
        for (const socket of sockets) socket.destroy();
        server.close(() => console.log(JSON.stringify(seen.sort())));
      }, 50);
    }, 5);
  `), place()]);
  assert.deepEqual([code, err], [0, '']);
  const seen = JSON.parse(out);
  assert.equal(seen.filter((line) => line === 'connection in server').length, 2);
  assert.deepEqual(seen.filter((line) => line.startsWith('wrong')), []);
  assert.equal(seen.filter((line) => /^threw a\d+$/.test(line)).length >= 2, true, out);
  assert.equal(seen.filter((line) => /^threw b\d+$/.test(line)).length >= 2, true, out);
});

scenario('the only busy socket keeps its context, and so does the next one', async ({ file: place }) => {
  const server = nodeNet.createServer((socket) => socket.pipe(socket)).listen(place());
  const storage = new AsyncLocalStorage();
  const made = [];
  const hook = createHook({ init: (id, type) => { if (type === 'SOCKREFREAD') made.push(id); } }).enable();
  const seen = new Set();
  const trip = async (socket) => {
    socket.write('x');
    await within(once(socket, 'told'), 'data');
  };
  const sockets = await Promise.all(['a', 'b'].map((name) => storage.run(name, async () => {
    const socket = await dial(place());
    return socket.on('data', () => {
      seen.add(`${name} in ${storage.getStore()}`);
      process.nextTick(() => { seen.add(`${name} later in ${storage.getStore()}`); });
      setImmediate(() => { socket.emit('told'); });
    });
  })));
  for (const socket of [...sockets, ...sockets]) for (let i = 0; i < 40; i++) await trip(socket);
  hook.disable();
  const ends = sockets.map(closed);
  for (const socket of sockets) socket.end();
  await Promise.all(ends);
  await end(server);
  assert.deepEqual([...seen], ['a in a', 'a later in a', 'b in b', 'b later in b']);
  assert.equal(made.length, 4, 'each in turn was told of in a context of its own');
});

scenario('where no socket can be made of a connection each is an exception, and closed', async ({ file: place }) => {
  const { out, code, err } = await run([...program(`
    const seen = [];
    process.on('uncaughtException', ({ code, message }) => seen.push(code ?? message));
    const server = net.createServer({ highWaterMark: 1.5 }).listen(place, () => {
      let left = 2;
      for (let i = 0; i < 2; i++) {
        net.connect(place).resume().on('close', () => {
          if (--left === 0) server.close(() => console.log(seen.join()));
        });
      }
    });
  `), place()]);
  assert.deepEqual([out, code, err], ['ERR_INVALID_ARG_VALUE,ERR_INVALID_ARG_VALUE\n', 0, '']);
});

scenario('a handler that throws does not take the data of others', async ({ file: place }) => {
  const { out, code, err } = await run([...program(`
    process.on('uncaughtException', () => {});
    const counts = Array(20).fill(0);
    let connections = 0;
    const server = net.createServer((socket) => {
      const own = connections++;
      socket.on('data', (data) => { counts[own] += data.length; throw new Error('always'); });
    }).listen(place, () => {
      const sockets = counts.map(() => net.connect(place));
      for (const socket of sockets) socket.end(Buffer.alloc(3000));
      const timer = setInterval(() => {
        if (counts.some((count) => count < 3000)) return;
        console.log(counts.join());
        process.exit(0);
      }, 5);
    });
  `), place()]);
  assert.deepEqual([code, err], [0, '']);
  assert.equal(out, `${Array(20).fill(3000).join()}\n`);
});

scenario('D39 setters in chains, then the collector', async ({ file: place }) => {
  const server = await serve(place());
  const socket = await dial(place());
  for (let i = 0; i < 1e5; i++) socket.setTimeout(0).setKeepAlive(true, 1000).setNoDelay(true).pause().resume().ref().unref();
  socket.ref();
  const weak = [];
  for (let i = 0; i < 100; i++) weak.push(new WeakRef(new net.Socket().setTimeout(0).setNoDelay().setKeepAlive().ref().unref()));
  await collect(() => weak.every((one) => one.deref() === undefined));
  socket.destroy();
  await closed(socket);
  await end(server);
});

scenario('D40 a socket and its descriptor go with the close event', async ({ file: place }) => {
  const fs = require('node:fs');
  const server = await serve(place(), (socket) => socket.resume());
  const count = () => fs.readdirSync('/proc/self/fd').length;
  const before = count();
  const weak = await (async () => { // in a function of its own, which keeps none of them
    const sockets = await Promise.all(Array.from({ length: 50 }, () => dial(place())));
    await Promise.all(sockets.map((socket) => closed(socket.resume().end('x'))));
    return sockets.map((socket) => new WeakRef(socket));
  })();
  await until(() => count() <= before + 1, 'descriptors'); // a busy listener holds one in reserve
  await collect(() => weak.filter((one) => one.deref()).length <= 1);
  await end(server);
});

scenario('decision 48: small chunks that are kept keep little else', async ({ file: place }) => {
  const kept = [];
  const server = await serve(place(), (socket) => socket.once('data', (chunk) => {
    kept.push(chunk);
    socket.end();
  }));
  const connections = 10000, size = 1024;
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < connections; i += 50) {
    const sockets = await Promise.all(Array.from({ length: 50 }, () => dial(place())));
    await Promise.all(sockets.map((socket) => {
      socket.end(Buffer.alloc(size, i));
      return closed(socket.resume());
    }));
  }
  await until(() => kept.length === connections);
  await collect(() => process.memoryUsage().arrayBuffers - before <= 4 * connections * size);
  assert.equal(kept.every((chunk) => chunk.length === size), true);
  await end(server);
});

scenario('a pool cannot be transferred away; large chunks are the program\'s', async ({ file: place }) => {
  const parts = [];
  const server = await serve(place(), (socket) => socket.on('data', (chunk) => {
    parts.push(chunk.length);
    try {
      structuredClone(chunk, { transfer: [chunk.buffer] });
    } catch (error) {
      assert.equal(error.name, 'DataCloneError');
    }
  }));
  const socket = await dial(place());
  for (const size of [10, 3000, 20000, 65536, 10, 65536]) await new Promise((resolve) => socket.write(Buffer.alloc(size), resolve));
  socket.end();
  await closed(socket.resume());
  assert.equal(parts.reduce((sum, size) => sum + size, 0), 10 + 3000 + 20000 + 65536 + 10 + 65536);
  await end(server);
});

scenario('others get their turn beside busy sockets of ours, and we beside theirs', async ({ file: place }) => {
  for (const [busy, other] of [[net, nodeNet], [nodeNet, net]]) {
    const busyPlace = place(busy === net ? 'busy1' : 'busy2'), otherPlace = `${busyPlace}.other`;
    const servers = [[busy, busyPlace], [other, otherPlace]].map(([by, where]) => by.createServer((socket) => {
      socket.on('data', (data) => socket.write(data)).on('error', () => {});
    }).listen(where));
    await Promise.all(servers.map((server) => within(once(server, 'listening'), 'listening')));
    let trips = 0;
    const loads = await Promise.all(Array.from({ length: 40 }, () => dial(busyPlace, busy)));
    for (const socket of loads) {
      socket.on('data', () => {
        trips++;
        socket.write('again');
      });
      socket.write('begin');
    }
    const one = await dial(otherPlace, other);
    let own = 0, ticks = 0;
    one.on('data', () => {
      own++;
      one.write('again');
    }).write('begin');
    const timer = setInterval(() => ticks++, 1);
    const before = trips; // some went round while that one was dialled
    await until(() => trips >= before + 4000 && own >= 20 && ticks >= 5);
    const meanwhile = trips - before;
    clearInterval(timer);
    for (const socket of [...loads, one]) socket.destroy();
    await Promise.all([...loads, one].map(closed));
    await Promise.all(servers.map(end));
    assert.equal(meanwhile < 200000, true, `${meanwhile} trips for 20 of the other socket and 5 ticks`);
  }
});

/** What comes meanwhile is to be told when this turn is over. */
function stay() {
  const start = performance.now();
  while (performance.now() - start < 0.3);
}

scenario('immediates come between what one peer tells another of the process', async ({ file: place }) => {
  let told = 0, most = 0, trips = 0;
  const count = () => { most = Math.max(most, ++told); };
  const server = await serve(place(), (socket) => socket.on('data', (data) => {
    count();
    socket.write(data);
  }));
  const socket = await dial(place());
  const turned = () => {
    told = 0;
    if (trips < 100) setImmediate(turned);
  };
  turned();
  await within(new Promise((resolve) => {
    socket.on('data', () => {
      count();
      process.nextTick(stay);
      if (++trips === 100) resolve();
      else socket.write('again');
    }).write('begin');
  }), 'the trips');
  socket.destroy();
  await closed(socket);
  await end(server);
  assert.equal(most < 5, true, `${most} messages in one turn`);
});

scenario('a side that has ended is over when its peer in this process hears of that', async ({ file: place }) => {
  const server = await serve(place(), (socket) => socket.resume().on('end', () => process.nextTick(stay)));
  const accepted = within(once(server, 'connection'), 'connection');
  const client = await dial(place());
  const [socket] = await accepted;
  const heard = within(once(client.resume(), 'end'), 'end').then(() => socket.destroyed);
  client.end();
  const isOver = await heard;
  await closed(client);
  await end(server);
  assert.equal(isOver, true);
});

const inWorker = `
  const { workerData, parentPort } = require('node:worker_threads');
  const net = require(workerData.file);
  const server = net.createServer((socket) => socket.pipe(socket)).listen(workerData.place, () => {
    const socket = net.connect(workerData.place);
    let count = 0;
    socket.on('data', (data) => {
      if (++count === 20) parentPort.postMessage('twenty');
      socket.write(data);
    });
    socket.write(Buffer.alloc(workerData.size));
  });
`;

scenario('workers serve and connect, and are ended at any moment', async ({ file: place }) => {
  const begin = (i, size) => new Worker(inWorker, { eval: true, workerData: { file, place: place(`w${i}`), size } });
  const first = begin(0, 100);
  await within(once(first, 'message'), 'message');
  await first.terminate();
  for (let i = 1; i <= 12; i++) {
    const worker = begin(i, i % 2 ? 100 : 200_000);
    worker.on('error', (error) => assert.fail(error));
    await new Promise((resolve) => { setTimeout(resolve, (i * 17) % 90); });
    await worker.terminate();
  }
  await until(() => sockref.activeSocketCount() === 0);
});

scenario('server.listen with a reference leaves the reference to its owner', async ({ file: place }) => {
  const reference = sockref.startListenerSync(place());
  for (const form of [reference, { reference }]) {
    const server = net.createServer((socket) => socket.end('x')).listen(form);
    await within(once(server, 'listening'), 'listening');
    assert.equal(server.address(), place());
    assert.equal(String(await received(nodeNet.connect(place()))), 'x');
    await end(server);
    assert.equal(reference.isActive, true);
  }
  const busy = net.createServer();
  reference.serveEcho();
  busy.listen(reference);
  assert.equal((await within(once(busy, 'error'), 'error'))[0].code, 'EADDRINUSE');
  reference.close();
});

scenario('a server that is killed leaves no file, and its place is free', async ({ file: place }) => {
  const child = spawn(process.execPath, [...program(`
    net.createServer().listen(place, () => console.log('listening'));
  `), place()], { stdio: ['ignore', 'pipe', 'inherit'] });
  await within(once(child.stdout, 'data'), 'listening');
  assert.equal(isSocket(place()), true);
  child.kill('SIGKILL');
  await within(once(child, 'exit'), 'exit');
  await until(() => !isSocket(place()), 'the guard');
  const server = await serve(place());
  await end(server);
});

scenario('a block list: outbound and inbound', async () => {
  const list = new net.BlockList();
  list.addAddress('127.0.0.1');
  const server = await serve({ port: 0, host: '127.0.0.1' }, () => assert.fail('it was let in'), { blockList: list });
  const refused = net.connect({ port: server.address().port, host: '127.0.0.1', blockList: list });
  const events = trace(refused, ['connectionAttempt', 'error', 'close'], (name, value) => value.code ?? value);
  await closed(refused);
  assert.deepEqual(events, ['connectionAttempt 127.0.0.1', 'error ERR_IP_BLOCKED', 'close true']);
  await closed(net.connect(server.address().port, '127.0.0.1').resume());
  await end(server);
});

scenario('the type of service', async () => {
  const server = await serve({ port: 0, host: '127.0.0.1' });
  const socket = new net.Socket({ typeOfService: 0x10 });
  assert.equal(socket.getTypeOfService(), 0x10);
  socket.connect(server.address().port, '127.0.0.1');
  await within(once(socket, 'connect'), 'connect');
  assert.equal(socket.getTypeOfService(), 0x10);
  assert.equal(socket.setTypeOfService(0x20).getTypeOfService(), 0x20);
  socket.destroy();
  await closed(socket);
  await end(server);
});

scenario('the channels of diagnostics', async ({ file: place }) => {
  const channel = require('node:diagnostics_channel');
  const seen = [];
  const listeners = ['net.client.socket', 'net.server.socket'].map((name) => {
    const listener = ({ socket }) => seen.push(`${name} ${socket instanceof net.Socket}`);
    channel.subscribe(name, listener);
    return () => channel.unsubscribe(name, listener);
  });
  const server = await serve(place(), (socket) => socket.end());
  await closed((await dial(place())).resume());
  await closed(new net.Socket().connect(place()).resume());
  for (const stop of listeners) stop();
  await end(server);
  assert.deepEqual(seen, Array(2).fill(['net.client.socket true', 'net.server.socket true']).flat());
});

