'use strict';

// One end of a connection, for exchanges between two languages; agent.c tells what it does.

const { randomFillSync } = require('node:crypto');
const net = require('sockref/net');
const { crc32 } = require('./crc32.js');

const head = 9;

class End {
  constructor(socket, mode, bytes) {
    Object.assign(this, {
      socket, isClient: mode !== undefined, mode, bytes, head: Buffer.alloc(0), sent: 0, sentCrc: 0, received: 0, receivedCrc: 0,
      closes: 0, endSeen: false, failed: false,
    });
    this.done = new Promise((resolve) => {
      socket.on('close', () => {
        this.closes++;
        setImmediate(() => {
          this.report();
          resolve();
        });
      });
    });
    socket.on('data', (data) => this.take(data));
    socket.on('end', () => this.ended());
    socket.on('drain', () => this.pour());
    socket.on('error', (error) => {
      this.failed = true;
      if (!this.endless) process.stderr.write(`agent.js: ${error.stack}\n`);
    });
  }

  get endless() {
    return this.mode === 'a' || this.mode === 'b';
  }

  pour() {
    while (!this.socket.writableEnded && !this.socket.destroyed) {
      const length = this.endless ? 65536 : Math.min(65536, this.bytes - this.sent);
      if (length === 0) {
        this.socket.end();
        return;
      }
      const piece = randomFillSync(Buffer.allocUnsafe(length));
      this.sent += length;
      this.sentCrc = crc32(piece, this.sentCrc);
      if (!this.socket.write(piece)) return;
    }
  }

  begin() {
    if (this.isClient) {
      const first = Buffer.alloc(head);
      first.write(this.mode, 0, 'latin1');
      first.writeBigUInt64BE(BigInt(this.bytes), 1);
      this.socket.write(first);
    }
    if (this.isClient || this.mode !== 'h') this.pour();
  }

  take(data) {
    if (!this.isClient && this.mode === undefined) {
      this.head = Buffer.concat([this.head, data]);
      if (this.head.length < head) return;
      this.mode = this.head.toString('latin1', 0, 1);
      this.bytes = Number(this.head.readBigUInt64BE(1));
      data = this.head.subarray(head);
      this.begin();
    }
    this.received += data.length;
    this.receivedCrc = crc32(data, this.receivedCrc);
    if (this.mode === (this.isClient ? 'a' : 'b') && this.received >= this.bytes) this.socket.destroy();
  }

  ended() {
    this.endSeen = true;
    if (this.endless) this.socket.destroy();
    else if (!this.isClient && this.mode === 'h') this.pour();
  }

  report() {
    process.stdout.write(`${JSON.stringify({
      mode: this.mode, sent: this.sent, sent_crc: this.sentCrc, received: this.received, received_crc: this.receivedCrc,
      closes: this.closes, end: this.endSeen, error: this.failed,
    })}\n`);
  }
}

function options(name) {
  if (!name.startsWith('tcp:')) return { path: name };
  const [, host, port] = /^tcp:\[?(.*?)\]?:(\d+)$/.exec(name);
  return { host, port: Number(port) };
}

function serve(name, count) {
  const server = net.createServer({ allowHalfOpen: true }, async (socket) => {
    if (--count === 0) server.close();
    await new End(socket).done;
  });
  server.listen(options(name), () => {
    const at = server.address();
    process.stdout.write(`ready ${typeof at === 'string' ? at : `tcp:${at.address}:${at.port}`}\n`);
  });
}

function dial(name, mode, bytes) {
  const socket = net.connect({ ...options(name), allowHalfOpen: true });
  const end = new End(socket, mode, bytes);
  socket.on('connect', () => end.begin());
}

const [, , what, name, ...rest] = process.argv;
if (what === 'serve') serve(name, Number(rest[0]));
else dial(name, rest[0], Number(rest[1]));
