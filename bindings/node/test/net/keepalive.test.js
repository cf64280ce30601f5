'use strict';

// Keep-alive as the system has it. No copy of a descriptor of ours lives through a fork: a helper takes copies.

const { assert, both, tcp } = require('./harness.js');
const { spawnSync } = require('node:child_process');

// Of each TCP connection of a process: whether it is on, the idle time, the interval and the count; in order.
const program = `
import ctypes, os, socket, sys
process = int(sys.argv[1])
system_call = ctypes.CDLL(None, use_errno=True).syscall
handle = os.pidfd_open(process)
found = []
for name in os.listdir(f'/proc/{process}/fd'):
    try:
        if not os.readlink(f'/proc/{process}/fd/{name}').startswith('socket:'):
            continue
    except FileNotFoundError:
        continue
    copy = system_call(438, handle, int(name), 0)  # pidfd_getfd
    if copy < 0:
        sys.exit(f'refused: {os.strerror(ctypes.get_errno())}')
    one = socket.socket(fileno=copy)
    try:
        if one.family != socket.AF_INET or not one.getpeername():
            continue
    except OSError:
        continue
    found.append(' '.join(str(one.getsockopt(*option)) for option in (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT))))
print(','.join(sorted(found)))
`;

/** What the program tells, or undefined where it may not look. */
function options() {
  const { stdout, stderr, status, error } = spawnSync('python3', ['-c', program, process.pid], { encoding: 'utf8' });
  if (error || stderr.startsWith('refused')) return undefined;
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

both('the probes of keep-alive: ten, of which one comes a second', async ({ t, pair, isOurs }) => {
  const [, , client] = await pair({ keepAlive: true, keepAliveInitialDelay: 7000 },
    { place: tcp, clientOptions: { keepAlive: true, keepAliveInitialDelay: 5000 } });
  const first = options();
  if (first === undefined) {
    t.skip('no other process may look at this one');
    return;
  }
  assert.equal(first, '1 5 1 10,1 7 1 10');
  if (!isOurs && client.setKeepAlive.length < 4) return; // before late Node 24
  assert.equal(client.setKeepAlive(true, 3000, 2000, 4), client);
  assert.equal(options(), '1 3 2 4,1 7 1 10');
  client.setKeepAlive({ enable: true, initialDelay: 9000, count: 3 });
  assert.equal(options(), '1 7 1 10,1 9 1 3');
  client.setKeepAlive(true, 9000);
  assert.equal(options(), '1 7 1 10,1 9 1 10');
});
