'use strict';

const { assert, sockref, inside, isSocket, sockets, scenario, canConnect, until } = require('./harness.js');
const fs = require('node:fs');
const { SocketReference, Registry, SockrefError, startListener } = sockref;

scenario('L01 start a listener on a path', async ({ file }) => {
  const before = sockref.activeSocketCount();
  const reference = await startListener(file());
  assert.equal(fs.lstatSync(file()).isSocket(), true);
  assert.equal(fs.lstatSync(file()).mode & 0o777, 0o600);
  assert.equal(reference.path, file());
  assert.equal(reference.isActive, true);
  assert.equal(reference.isOwner, true);
  assert.equal(reference.referenceCount, 1);
  assert.equal(reference.holderCount, 1);
  assert.equal(sockref.activeSocketCount(), before + 1);
  assert.equal(sockref.isSocketActive(file()), true);
  reference.close();
});

scenario('L02 start the same path again', async ({ file, directory }) => {
  const first = await startListener(file());
  const second = await startListener(file());
  assert.equal(first.referenceCount, 2);
  assert.equal(second.referenceCount, 2);
  assert.equal(sockref.activeSocketCount(), 1);
  assert.deepEqual(sockets(directory), ['a.sock']);
  first.close();
  second.close();
});

scenario('L03 two references, one closed', async ({ file }) => {
  const first = await startListener(file());
  const second = await startListener(file());
  first.close();
  assert.equal(second.referenceCount, 1);
  assert.equal(isSocket(file()), true);
  assert.equal(await canConnect(file()), true);
  second.close();
});

scenario('L04 the last reference is closed', async ({ file }) => {
  const before = sockref.activeSocketCount();
  const reference = await startListener(file());
  reference.close();
  assert.equal(isSocket(file()), false);
  assert.equal(sockref.isSocketActive(file()), false);
  assert.equal(sockref.activeSocketCount(), before);
});

scenario('L05 open, close, open again, connect', async ({ file }) => {
  (await startListener(file())).close();
  const again = await startListener(file());
  assert.equal(again.referenceCount, 1);
  assert.equal(await canConnect(file()), true);
  again.close();
});

scenario('L07 close twice', async ({ file }) => {
  const first = await startListener(file());
  const second = first.clone();
  first.close();
  first.close();
  first[Symbol.dispose]();
  assert.equal(second.referenceCount, 1);
  second.close();
});

// A handle belongs to its thread here, so the calls that can meet a close are those that call back or run elsewhere.
scenario('L08 close while a call of the same handle is under way', async ({ file }) => {
  const registry = new Registry();
  const reference = await registry.startListener(file());
  const started = registry.startListener(file('b.sock')).then((other) => other.close(), (error) => error.code);
  const drained = registry.drain(0).then(() => 'drained', (error) => error.code);
  const shut = registry.shutdown(0).then(() => 'shut', (error) => error.code);
  registry.close();
  assert.throws(() => registry.cleanupAll(), { code: 'ESOCKREF_CLOSED' });
  assert.match(await drained, /^(drained|ESOCKREF_\w+)$/);
  assert.match(await shut, /^(shut|ESOCKREF_\w+)$/);
  assert.match(String(await started), /^(undefined|ESOCKREF_(CANCELED|SHUTDOWN))$/);
  assert.equal(reference.path, file());
  reference.close();
  assert.equal(reference.isActive, false);
});

scenario('L11 clone', async ({ file }) => {
  const first = await startListener(file());
  const second = first.clone();
  assert.notEqual(first, second);
  assert.equal(first.referenceCount, 2);
  first.close();
  assert.equal(second.isActive, true);
  assert.equal(isSocket(file()), true);
  second.close();
  assert.equal(isSocket(file()), false);
});

scenario('L12 wrong handle', async ({ file }) => {
  const low = inside('low.js');
  const reference = await startListener(file());
  assert.throws(() => new SocketReference(), { name: 'TypeError', code: 'ERR_ILLEGAL_CONSTRUCTOR' });
  assert.throws(() => Reflect.construct(SocketReference, [Symbol('reference'), {}]), { code: 'ERR_ILLEGAL_CONSTRUCTOR' });
  for (const wrong of [null, undefined, {}, 1, 'x', new Registry(), Object.create(SocketReference.prototype)]) {
    for (const method of ['clone', 'close', 'fd', 'serveEcho', 'ref', 'unref', 'hasRef', 'on', 'prependListener']) {
      assert.throws(() => SocketReference.prototype[method].call(wrong), { name: 'TypeError', code: 'ERR_INVALID_THIS' });
    }
    const { get } = Object.getOwnPropertyDescriptor(SocketReference.prototype, 'isActive');
    assert.throws(() => get.call(wrong), { name: 'TypeError', code: 'ERR_INVALID_THIS' });
  }
  // The module below, as well: a wrapped object of another class, and none at all.
  const native = low.sockref_registry_get_existing(null, Buffer.from(file()));
  const options = new low.sockref_options();
  for (const wrong of [options, {}, null, undefined, 3]) {
    assert.throws(() => low.close_reference(wrong), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    assert.throws(() => native.is_active.call(wrong), TypeError);
  }
  assert.throws(() => low.sockref_registry_active_socket_count(native), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => low.serve(options, false), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => low.serve(), TypeError);
  assert.throws(() => new low.sockref().is_active(), { code: 'ESOCKREF_CLOSED' });
  assert.throws(() => low.sockref_registry_listen(native, Buffer.from(file()), options), TypeError);
  low.close_reference(native);
  low.close_reference(native);
  assert.throws(() => native.is_active(), { code: 'ESOCKREF_CLOSED' });
  reference.close();
  for (const method of ['clone', 'fd', 'serveEcho', 'ref']) {
    assert.throws(() => reference[method](), (error) => error instanceof SockrefError &&
      error.code === 'ESOCKREF_CLOSED' && error.path === file(), method);
  }
  assert.throws(() => reference.serve({}), { code: 'ESOCKREF_CLOSED' });
});

scenario('after close the path stays, and the rest says closed', async ({ file }) => {
  const reference = await startListener(file());
  reference.close();
  assert.equal(reference.path, file());
  assert.deepEqual(reference.pathBytes, Buffer.from(file()));
  assert.equal(reference.isActive, false);
  assert.equal(reference.isOwner, false);
  assert.equal(reference.referenceCount, 0);
  assert.equal(reference.holderCount, 0);
  assert.equal(reference.hasRef(), false);
  assert.equal(reference.unref(), reference);
});

scenario('fd() is a duplicate of the caller', async ({ file }) => {
  const reference = await startListener(file());
  const fd = reference.fd();
  assert.equal(fs.fstatSync(fd).isSocket(), true);
  fs.closeSync(fd);
  assert.equal(await canConnect(file()), true);
  reference.close();
  const named = SocketReference.getOrCreate(file());
  assert.throws(() => named.fd(), { code: 'ESOCKREF_CLOSED' });
  named.close();
});

scenario('a reference is not sent to another thread', async ({ file }) => {
  const reference = await startListener(file());
  let copy;
  try {
    copy = structuredClone(reference);
  } catch (error) {
    assert.equal(error.name, 'DataCloneError');
  }
  assert.equal(copy instanceof SocketReference, false);
  assert.equal(reference.referenceCount, 1);
  reference.close();
});

scenario('L20 three spellings of one path', async ({ file, directory }) => {
  const real = file('real');
  fs.mkdirSync(real, { mode: 0o700 });
  fs.symlinkSync(real, file('link'));
  const first = await startListener(`${real}/a.sock`);
  const second = await startListener(`${directory}//real/./a.sock`);
  const third = await startListener(`${directory}/link/a.sock`);
  assert.equal(first.referenceCount, 3);
  assert.equal(sockref.activeSocketCount(), 1);
  for (const reference of [first, second, third]) reference.close();
  assert.deepEqual(fs.readdirSync(real), []);
});

scenario('L21 getOrCreate and getExisting', async ({ file }) => {
  assert.equal(SocketReference.getExisting(file()), null);
  const named = SocketReference.getOrCreate(file());
  assert.equal(named.isActive, true);
  assert.equal(named.isOwner, false);
  assert.equal(named.referenceCount, 1);
  assert.equal(fs.existsSync(file()), false);
  const found = SocketReference.getExisting(file());
  assert.equal(found.referenceCount, 2);
  const again = SocketReference.getOrCreate(file());
  assert.equal(again.referenceCount, 3);
  for (const reference of [named, found, again]) reference.close();
  assert.equal(SocketReference.getExisting(file()), null);
  await until(() => !sockref.isSocketActive(file()));
});
