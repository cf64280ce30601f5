// Compiled, never run: what must and what must not type-check.

import {
  Connection, Handlers, Health, Histogram, ListenOptions, LiveCounts, LoopStats, PathLike, PoolOptions, PoolPolicy,
  ReferenceEvent, ReferenceStats, Registry, RegistryOptions, RegistryStats, SocketPool, SocketReference, SockrefError,
  StartOptions, activeSocketCount, cleanup, cleanupAll, drain, guardStatus, isSocketActive, liveCounts, loopStats,
  metrics, registerNew, shutdown, startListener, startListenerSync, stats, sweep, version,
} from 'sockref';
import * as compat from 'sockref/compat';

export async function use(): Promise<void> {
  const options: StartOptions = {
    mode: 0o660, backlog: 10, share: false, guard: 'required', cleanupDelayMs: 1, cleanupTimeoutMs: 1, startTimeoutMs: 1,
    maxConnections: 1, maxBuffered: 1, unique: true, exclusive: true, handover: true, bindOnly: true,
    ipv6Only: true, reusePort: true, signal: new AbortController().signal,
  };
  const reference: SocketReference = await startListener('/a', options);
  await startListener();
  await startListener(undefined, { signal: undefined });
  await startListener(Buffer.from('/a'));
  await startListener(new Uint8Array(2));
  const path: string = reference.path;
  const bytes: Buffer = reference.pathBytes;
  const flags: boolean[] = [reference.isActive, reference.isOwner, reference.hasRef()];
  const counts: number[] = [reference.referenceCount, reference.holderCount, reference.fd()];
  const same: SocketReference = reference.ref().unref().serveEcho().clone();
  const event: ReferenceEvent = 'owner';
  const heard: SocketReference = reference.on('lost', () => {}).once(event, function () { this.close(); })
    .off('shutdown', () => {});
  heard.addListener('of the program', (text: string) => text).removeAllListeners('displaced');
  const found: SocketReference | null = SocketReference.getExisting(path);
  const made: SocketReference = SocketReference.getOrCreate();
  const closed: void = reference.close();
  reference[Symbol.dispose]();

  const handlers: Handlers = {
    connection(connection) { connection.write('x'); },
    data(connection, data) {
      const full: boolean = connection.write(data);
      const text: string = data.toString('utf8');
      connection.pause().resume().end(text);
      connection.end();
      if (!full && !connection.destroyed) connection.destroy();
    },
    end: (connection: Connection) => connection.end(new Uint8Array(1)),
    drain: (connection) => { connection.resume(); },
    error(connection, error: SockrefError) { connection.destroy(); throw error; },
    close(connection, hadError: boolean) { void connection.destroyed; void hadError; },
    stop() {},
  };
  reference.serve(handlers).serve({});

  const registryOptions: RegistryOptions = { directory: '/a', maxSockets: 1, maxReferences: 1, keepFile: true, mode: 0o600 };
  const registry = new Registry(registryOptions);
  const started: SocketReference = await registry.startListener('/a', { signal: AbortSignal.abort() });
  const listening: SocketReference = registry.startListenerSync('/a', { mode: -1 });
  const numbers: number[] = [registry.activeSocketCount(), registry.guardStatus(), registry.cleanupAll(), await registry.sweep()];
  await registry.drain(1);
  await registry.shutdown();
  registry.cleanup('/a');
  registry.close();
  registry[Symbol.dispose]();
  new Registry();

  const all: number[] = [activeSocketCount(), guardStatus(), cleanupAll(), await sweep('/a')];
  const live: LiveCounts = liveCounts();
  const sum: number = live.references + live.entries + live.buffers;
  const place: PathLike = version();
  const active: boolean = isSocketActive(place);
  cleanup(place);
  await drain();
  await shutdown(0);
  registerNew('/a', 3).close();
  registerNew(undefined, 3).close();
  const listen: ListenOptions = {};
  startListenerSync('/a', listen);

  const poolOptions: PoolOptions = { registry, signal: AbortSignal.abort(), mode: 0o660 };
  const pool: SocketPool = await SocketPool.start('/a', 3, poolOptions);
  await SocketPool.start(undefined, 3);
  const policy: PoolPolicy = 'least-references';
  const picked: SocketReference = pool.pick();
  pool.pick(policy).close();
  pool.add(picked);
  pool.remove(picked);
  const size: number = pool.size;
  pool.close();
  pool[Symbol.dispose]();
  new SocketPool().close();

  const counted: RegistryStats[] = [stats(), registry.stats()];
  const why: (string | null)[] = counted.map((one) => one.lastRemoveError);
  const ofName: ReferenceStats = picked.stats();
  const loops: LoopStats = loopStats();
  const histogram: Histogram = loops.connect;
  const slow: number = histogram.buckets.filter(({ le }) => le > 1e6).reduce((all, { count }) => all + count, 0);
  const text: string = metrics() + registry.metrics();
  const health: Health = picked.checkHealth();
  const isWell: boolean | null = health.isFileOurs && health.isReachable && health.isAccepting;
  void [size, why, ofName.servedNs, loops.isStarving, slow, text, isWell];

  const earlier: string = await compat.StartSocketConnection();
  const withReference: SocketReference = await compat.StartSocketConnectionWithReference('/a');
  compat.ForceCleanupSocket(earlier);
  const removed: number = compat.CleanupAllSockets() + compat.GetActiveSocketCount();
  const known: boolean = compat.IsSocketActive('/a');

  try {
    await startListener('/a');
  } catch (error) {
    if (error instanceof SockrefError) {
      const told: string = error.code;
      const errno: number = error.errno;
      const where: string | undefined = error.path ?? error.syscall;
      void [told, errno, where, error.count];
    }
  }
  void [bytes, flags, counts, same, found, made, closed, started, listening, numbers, all, sum, active, withReference, removed, known];
}

export async function misuse(reference: SocketReference, connection: Connection): Promise<void> {
  // @ts-expect-error objects come from the library
  new SocketReference();
  // @ts-expect-error objects come from serve()
  new Connection();
  // @ts-expect-error errors come from the library
  new SockrefError('EPERM', 'no');
  // @ts-expect-error null is no path
  await startListener(null);
  // @ts-expect-error a number is no path
  await startListener(1);
  // @ts-expect-error an unknown option
  await startListener('/a', { nonsense: 1 });
  // @ts-expect-error it belongs to a registry
  await startListener('/a', { directory: '/a' });
  // @ts-expect-error it belongs to the asynchronous start
  startListenerSync('/a', { signal: AbortSignal.abort() });
  // @ts-expect-error it belongs to a start
  new Registry({ signal: AbortSignal.abort() });
  // @ts-expect-error a flag
  await startListener('/a', { exclusive: 1 });
  // @ts-expect-error a path is needed
  SocketReference.getExisting();
  // @ts-expect-error it may be null
  SocketReference.getExisting('/a').close();
  // @ts-expect-error read only
  reference.path = '/b';
  // @ts-expect-error read only
  reference.isActive = true;
  // @ts-expect-error no such event
  reference.on('lots', () => {});
  // @ts-expect-error nothing comes with it
  reference.on('lost', (why: string) => why);
  // @ts-expect-error no such handler
  reference.serve({ dota() {} });
  // @ts-expect-error data is a Buffer
  reference.serve({ data(_connection, data: string) { void data; } });
  // @ts-expect-error not written
  connection.write(1);
  // @ts-expect-error a promise
  const now: number = sweep();
  // @ts-expect-error a number is needed
  await SocketPool.start('/a');
  // @ts-expect-error no such policy
  new SocketPool().pick('random');
  // @ts-expect-error a path is no member
  new SocketPool().add('/a');
  // @ts-expect-error read only
  stats().created = 0;
  // @ts-expect-error a descriptor is needed
  registerNew('/a');
  void now;
}
