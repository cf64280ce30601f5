'use strict';

// An echo server, by Node's own sockets or by ours:
//
//   echo.js PATH MODULE [SHAPE]   MODULE: node:net, or the file of another one with its interface
//   echo.js PATH FILE serve       FILE: of the package sockref; connections by handlers, without streams
//
// SHAPE: data (the default), pipe, iterate (for await), writes (16 pieces of each chunk).

const [, , path, name, shape = 'data'] = process.argv;

function echo(socket) {
  socket.on('data', (chunk) => {
    if (socket.write(chunk)) return;
    socket.pause();
    socket.once('drain', () => socket.resume());
  });
}

function inPieces(socket) {
  socket.on('data', (chunk) => {
    const size = Math.ceil(chunk.length / 16);
    for (let at = 0; at < chunk.length; at += size) socket.write(chunk.subarray(at, at + size));
  });
}

async function iterate(socket) {
  for await (const chunk of socket) {
    if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve));
  }
}

const shapes = {
  data: echo,
  pipe: (socket) => socket.pipe(socket),
  iterate: (socket) => { iterate(socket).catch(() => {}); },
  writes: inPieces,
};

function serve() {
  const reference = require(name).startListenerSync(path, { share: false });
  reference.serve({
    data(connection, chunk) {
      if (!connection.write(chunk)) connection.pause();
    },
    drain: (connection) => connection.resume(),
  }).ref();
}

function listen() {
  const server = require(name).createServer((socket) => {
    socket.on('error', () => {}); // a load that is killed
    shapes[shape](socket);
  });
  server.listen({ path, backlog: 4096 });
}

if (shape === 'serve') serve();
else listen();
