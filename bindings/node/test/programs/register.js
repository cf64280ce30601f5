'use strict';

// Gives a socket of node:net's to sockref, and tells how that went. It ends before node:net would notice.

const fs = require('node:fs');
const net = require('node:net');
const sockref = require(process.env.SOCKREF_PACKAGE);

const [bound, other] = process.argv.slice(2);
const listen = (place) => new Promise((resolve) => {
  const server = net.createServer().listen(place, () => resolve(server._handle.fd));
});
const code = (call) => {
  try {
    call();
    return 'none';
  } catch (error) {
    return error.code;
  }
};

(async () => {
  const fd = await listen(bound);
  const otherFd = await listen(other);
  const kept = await listen(`${other}.kept`);
  const unnamed = await listen(`${other}.unnamed`);
  await listen(`${other}.third`);
  const file = fs.openSync('/dev/null');
  const reference = sockref.registerNew(bound, fd);
  const told = {
    owner: reference.isOwner,
    count: reference.referenceCount,
    again: code(() => sockref.registerNew(bound, otherFd)),
    foreign: [code(() => sockref.registerNew(other, file)), code(() => sockref.registerNew(`${other}.third`, otherFd))],
    bad: [code(() => sockref.registerNew(other, 999999)), code(() => sockref.registerNew(other, 'x')),
      code(() => sockref.registerNew(other, -1))],
  };
  const itself = sockref.registerNew(undefined, unnamed);
  told.itself = [itself.path === `${other}.unnamed`, code(() => sockref.registerNew(undefined, file)),
    code(() => sockref.registerNew(null, otherFd))];
  itself.close();
  reference.close();
  told.left = fs.existsSync(bound);
  const registry = new sockref.Registry({ keepFile: true });
  registry.registerNew(`${other}.kept`, kept).close();
  registry.close();
  told.kept = fs.existsSync(`${other}.kept`);
  told.live = sockref.liveCounts();
  fs.unlinkSync(other);
  fs.unlinkSync(`${other}.third`);
  fs.rmSync(`${other}.kept`, { force: true });
  fs.writeSync(1, JSON.stringify(told));
  process.kill(process.pid, 'SIGKILL');
})();
