'use strict';

const { assert, sockref, inside, scenario, run, root, limit } = require('./harness.js');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { Registry, SockrefError, startListener, startListenerSync } = sockref;

scenario('L27 options: unknown, misplaced, out of range, wrong type', async ({ file, directory }) => {
  const wrong = [
    [{ nonsense: 1 }, 'ERR_INVALID_ARG_VALUE'],
    [{ toString: 1 }, 'ERR_INVALID_ARG_VALUE'],
    [{ directory }, 'ERR_INVALID_ARG_VALUE'],
    [{ maxSockets: 3 }, 'ERR_INVALID_ARG_VALUE'],
    [{ maxReferences: 3 }, 'ERR_INVALID_ARG_VALUE'],
    [{ keepFile: true }, 'ERR_INVALID_ARG_VALUE'],
    [{ mode: 0o1000000 }, 'EINVAL'],
    [{ backlog: -5 }, 'EINVAL'],
    [{ cleanupDelayMs: -1 }, 'EINVAL'],
    [{ maxBuffered: -1 }, 'EINVAL'],
    [{ backlog: 1.5 }, 'ERR_OUT_OF_RANGE'],
    [{ backlog: NaN }, 'ERR_OUT_OF_RANGE'],
    [{ backlog: 2 ** 60 }, 'ERR_OUT_OF_RANGE'],
    [{ mode: '600' }, 'ERR_INVALID_ARG_TYPE'],
    [{ mode: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ share: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ guard: 'maybe' }, 'ERR_INVALID_ARG_TYPE'],
    [{ exclusive: 'yes' }, 'ERR_INVALID_ARG_TYPE'],
    [null, 'ERR_INVALID_ARG_TYPE'],
    ['x', 'ERR_INVALID_ARG_TYPE'],
    [[], 'ERR_INVALID_ARG_TYPE'],
  ];
  for (const [options, code] of wrong) {
    await assert.rejects(startListener(file(), options), { code }, JSON.stringify(options));
    assert.throws(() => startListenerSync(file(), options), { code }, JSON.stringify(options));
  }
  for (const [options, code] of [
    [{ signal: new AbortController().signal }, 'ERR_INVALID_ARG_VALUE'],
    [{ directory: 5 }, 'ERR_INVALID_ARG_TYPE'],
    [{ maxSockets: -1 }, 'EINVAL'],
    [{ maxReferences: 0 }, 'EINVAL'],
  ]) {
    assert.throws(() => new Registry(options), { code }, JSON.stringify(options));
  }
  assert.throws(() => new Registry({ directory: 'relative' }), { code: 'ESOCKREF_PATH' });
  assert.equal(sockref.activeSocketCount(), 0);
  assert.deepEqual(fs.readdirSync(directory), []);
});

scenario('each number sets the option of its name: the library says what it refuses', () => {
  for (const [option, value, name] of [
    ['mode', 0o1000, 'mode'],
    ['backlog', 0, 'backlog'],
    ['cleanupDelayMs', -1, 'cleanup delay'],
    ['cleanupTimeoutMs', -1, 'cleanup time-out'],
    ['startTimeoutMs', -1, 'start time-out'],
    ['maxSockets', 0, 'limit of sockets'],
    ['maxReferences', 0, 'limit of references'],
    ['maxConnections', -1, 'limit of connections'],
    ['maxBuffered', -1, 'limit of buffered bytes'],
  ]) {
    assert.throws(() => new Registry({ [option]: value }), { message: new RegExp(`: the ${name} must be `) }, option);
  }
});

scenario('L43 errors carry code, errno, syscall and path', async ({ file }) => {
  const missing = await startListener(file('missing/x.sock')).catch((error) => error);
  assert.equal(missing instanceof SockrefError, true);
  assert.equal(missing instanceof Error, true);
  assert.equal(missing.name, 'SockrefError');
  assert.equal(missing.code, 'ENOENT');
  assert.equal(missing.errno, -os.constants.errno.ENOENT);
  assert.equal(typeof missing.syscall, 'string');
  assert.equal(file('missing/x.sock').startsWith(missing.path), true);
  assert.match(missing.message, /^ENOENT: .*missing/);
  const own = await startListener('relative').catch((error) => error);
  assert.equal(own.code, 'ESOCKREF_PATH');
  assert.equal(own.errno, -os.constants.errno.EINVAL);
  assert.equal(own.syscall, undefined);
  assert.equal(own.path, 'relative');
  assert.match(own.message, /^ESOCKREF_PATH: ./);
  assert.equal(own.stack.includes('SockrefError'), true);
});

test('each status has its code and errno', () => {
  const { fromStatus } = inside('errors.js');
  const low = inside('low.js');
  [
    ['ESOCKREF_PATH', 'EINVAL'], ['ESOCKREF_PATHLEN', 'ENAMETOOLONG'], ['ESOCKREF_FOREIGN', 'EADDRINUSE'],
    ['ESOCKREF_EXISTS', 'EEXIST'], ['ESOCKREF_NOTFOUND', 'ENOENT'], ['ESOCKREF_LIMIT', 'EMFILE'], ['ESOCKREF_CLOSED', 'EBADF'],
    ['ESOCKREF_FORKED', 130 /* EOWNERDEAD */], ['ESOCKREF_SHUTDOWN', 108 /* ESHUTDOWN */], ['ESOCKREF_TIMEOUT', 'ETIMEDOUT'],
    ['ESOCKREF_CANCELED', 'ECANCELED'], ['ESOCKREF_BUSY', 'EBUSY'], ['ESOCKREF_UNTRUSTED', 'EPERM'],
    ['ESOCKREF_UNSUPPORTED', 'EOPNOTSUPP'],
  ].forEach(([code, nearest], i) => {
    const status = -20001 - i;
    const error = fromStatus(status, low.sockref_status_name(status), 'x');
    assert.deepEqual([error.code, error.errno], [code, -(os.constants.errno[nearest] ?? nearest)]);
  });
  const { code, errno } = fromStatus(-os.constants.errno.EMFILE, low.sockref_status_name(-os.constants.errno.EMFILE), 'x');
  assert.deepEqual([code, errno], ['EMFILE', -os.constants.errno.EMFILE]);
});

test('L45 library version and ABI are checked at load', async (t) => {
  const { check, build_info: info } = inside('low.js');
  const told = info();
  check(told);
  assert.equal(path.basename(told.addonFile), 'sockref_low.node');
  assert.match(path.basename(told.libraryFile), /^libsockref\.so\.\d+/);
  assert.equal(sockref.version(), told.libraryVersion);
  const both = (error) => {
    assert.equal(error.code, 'ERR_SOCKREF_LIBRARY');
    assert.equal(error.message.includes(told.addonFile) && error.message.includes(told.libraryFile), true);
    return true;
  };
  assert.throws(() => check({ ...told, libraryAbi: told.libraryAbi + 1 }), both);
  assert.throws(() => check({ ...told, addonVersion: '999.0.0' }), both);
  check({ ...told, libraryVersion: '999.0.0' });
  check({ ...told, addonVersion: '0.9.9', libraryVersion: '0.10.0' });

  await t.test('a library of another ABI', async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sockref-node-'));
    try {
      const source = path.join(directory, 'other.c');
      const soname = path.basename(told.libraryFile);
      fs.writeFileSync(source, 'const char *sockref_version(void) { return "0.0.1"; }\n' +
        'unsigned sockref_abi_version(void) { return 4711; }\n' +
        'void *sockref_acquire(void *self) { return self; }\n' + // these two are bound at load time
        'void sockref_release(void *self) { (void)self; }\n');
      const [version] = /SOCKREF_\d[\w.]*/.exec(fs.readFileSync(told.addonFile, 'latin1')) ?? [];
      const map = path.join(directory, 'other.map');
      fs.writeFileSync(map, `${version ?? 'SOCKREF_0'} { global: sockref_*; };\n`);
      execFileSync(process.env.CC ?? 'cc', ['-shared', '-fPIC', `-Wl,-soname,${soname}`, `-Wl,--version-script=${map}`,
        '-o', path.join(directory, soname), source], { timeout: limit });
      const ended = await run(['-e', `require(${JSON.stringify(root)})`], { env: { LD_LIBRARY_PATH: directory } });
      assert.notEqual(ended.code, 0);
      assert.match(ended.err, /ERR_SOCKREF_LIBRARY/);
      assert.equal(ended.err.includes(path.join(directory, soname)) && ended.err.includes('sockref_low.node'), true, ended.err);
      assert.match(ended.err, /4711/);
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  });

  await t.test('no library, and no addon', async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'sockref-node-'));
    try {
      fs.cpSync(path.join(root, 'lib'), path.join(directory, 'lib'), { recursive: true });
      const load = () => run(['-e', `require(${JSON.stringify(path.join(directory, 'lib', 'index.js'))})`],
        { env: { LD_LIBRARY_PATH: '' } });
      const without = await load();
      assert.match(without.err, /ERR_SOCKREF_LIBRARY/);
      assert.match(without.err, /sockref_low\.node is missing; build it .*install script did not run; a bundler must leave/);
      fs.mkdirSync(path.join(directory, 'build', 'Release'), { recursive: true });
      fs.copyFileSync(told.addonFile, path.join(directory, 'build', 'Release', 'sockref_low.node'));
      const lonely = await load();
      if (lonely.code !== 0) { // unless the system has the library installed
        assert.match(lonely.err, /needs libsockref\.so\.\d+, which is neither beside it/);
        assert.match(lonely.err, /ERR_SOCKREF_LIBRARY/);
      }
    } finally {
      fs.rmSync(directory, { recursive: true });
    }
  });
});
