'use strict';

// The same test bodies for node:net and for sockref/net: what a body says of one it says of both.

const { once } = require('node:events');
const nodeNet = require('node:net');
const base = require('../harness.js');

const sockrefNet = base.inside('net.js');
const implementations = [
  { name: 'node:net', net: nodeNet, isOurs: false },
  { name: 'sockref/net', net: sockrefNet, isOurs: true },
];

/**
 * A scenario for each implementation. The body gets what a scenario gets, and: net, isOurs, peer (node:net, for the
 * other end), serve(options?, listener?, place?) and dial(server, options?); what they made is ended with the body.
 * `needs` tells of node:net whether it has what the body is about; where it has not, the body is for sockref/net alone.
 */
function both(name, body, { needs = () => true, ...options } = {}) {
  for (const implementation of implementations.filter(({ isOurs, net }) => isOurs || needs(net))) {
    base.scenario(`${implementation.name}: ${name}`, async (given) => {
      const tools = toolsFor(implementation, given);
      try {
        await body({ ...given, ...implementation, ...tools, peer: nodeNet });
      } finally {
        await tools.end();
      }
    }, options);
  }
}

function toolsFor({ net }, { file }) {
  const servers = new Set(), sockets = new Set();

  /** Listens, on a path by default, and resolves to the server. */
  async function serve(options, listener, place = { path: file() }) {
    const server = net.createServer(...[options, listener].filter(Boolean));
    servers.add(server);
    server.on('connection', (socket) => sockets.add(socket));
    server.listen(place);
    await base.within(once(server, 'listening'), 'listening');
    return server;
  }

  /** Where a server listens, for connect(). */
  function placeOf(server) {
    const address = server.address();
    return typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' };
  }

  /** Connects by the implementation, or by the one that is given. */
  async function dial(server, options = {}, by = net) {
    const socket = by.connect({ ...placeOf(server), ...options });
    sockets.add(socket);
    await base.within(once(socket, 'connect'), 'connect');
    return socket;
  }

  /** A server and a client of it: [server, the server's socket, client]. */
  async function pair(options = {}, { clientOptions, by, place } = {}) {
    const server = await serve(options, undefined, place);
    const accepted = base.within(once(server, 'connection'), 'connection');
    const client = await dial(server, clientOptions, by);
    const [socket] = await accepted;
    return [server, socket, client];
  }

  async function end() {
    for (const socket of sockets) socket.destroy();
    const open = [...servers].filter((server) => server.listening);
    await base.within(Promise.all(open.map((server) => new Promise((resolve) => { server.close(resolve); }))), 'close');
  }

  return { serve, placeOf, dial, pair, end };
}

// Sockets whose close was emitted: it may come before somebody waits for it.
const over = new WeakSet();
for (const { net } of implementations) {
  const { emit } = net.Socket.prototype;
  net.Socket.prototype.emit = function (name, ...args) {
    if (name === 'close') over.add(this);
    if (name === 'connect') over.delete(this);
    return emit.call(this, name, ...args);
  };
}

/** Waits for the close of a socket, which may have been, and minds no error. */
async function closed(socket) {
  const ignore = () => {};
  socket.on('error', ignore);
  if (!over.has(socket)) await base.within(new Promise((resolve) => { socket.once('close', resolve); }), 'close');
  socket.off('error', ignore);
}

/** All that comes until the end. */
async function received(socket) {
  const parts = [];
  socket.on('data', (part) => parts.push(part));
  await base.within(once(socket, 'end'), 'end');
  return Buffer.concat(parts);
}

/**
 * Calls a function so many times with a pause between; resolves to the longest time that passed from one to the next,
 * as the machine let it, in milliseconds.
 */
async function nowAndThen(call, times, pause) {
  let longest = 0;
  let last = performance.now();
  for (let i = 0; i < times; i++) {
    call();
    await new Promise((resolve) => { setTimeout(resolve, pause); });
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}

/** Names of events as they come, with what `note` makes of their arguments. */
function trace(emitter, names, note = () => '') {
  const events = [];
  for (const name of names) {
    emitter.on(name, (...args) => events.push([name, note(name, ...args)].filter((part) => part !== '').join(' ')));
  }
  return events;
}

/** What a program sees of an error, or of a call that has none. */
function errorOf(call) {
  try {
    call();
    return undefined;
  } catch ({ name, code, message }) {
    return { name, code, message };
  }
}

const tcp = { port: 0, host: '127.0.0.1' };

module.exports = {
  ...base, once, both, nodeNet, sockrefNet, implementations, closed, received, nowAndThen, trace, errorOf, tcp,
};
