'use strict';

// Classes that are derived from Socket: what they override is called for all that comes and goes.

const { assert, both, once, within, closed, until } = require('./harness.js');

both('_write and push of its own', async ({ net, serve, placeOf }) => {
  const calls = [];
  class Own extends net.Socket {
    _write(chunk, encoding, callback) {
      calls.push(`_write ${chunk.length}`);
      super._write(chunk, encoding, callback);
    }

    push(chunk, encoding) {
      calls.push(`push ${chunk?.length}`);
      return super.push(chunk, encoding);
    }
  }
  const server = await serve({}, (socket) => socket.pipe(socket));
  const socket = new Own();
  socket.connect(placeOf(server));
  await within(once(socket, 'connect'), 'connect');
  socket.on('data', () => {});
  socket.write(Buffer.from('abc'));
  await until(() => calls.includes('push 3'), 'the echo');
  socket.end('d');
  await closed(socket);
  assert.deepEqual(calls, ['_write 3', 'push 3', '_write 1', 'push 1', 'push undefined']);
});
