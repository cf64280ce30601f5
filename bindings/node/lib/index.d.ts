/// <reference types="node" />

import { EventEmitter } from 'node:events';

/** A path: text, or its exact bytes. */
export type PathLike = string | Uint8Array;

/** Options of a registry or of one start. What is left out has the registry's value, there the default. */
export interface ListenOptions {
  /** Permission bits of the socket file; -1: the umask decides. Default 0o600. */
  mode?: number | undefined;
  /** Connections waiting to be accepted. Default 4096. */
  backlog?: number | undefined;
  /** Join across processes; false: own it alone, with no lock file beside it. Default true. */
  share?: boolean | undefined;
  /** Have a guard process remove the file after a crash; 'required': fail without one. Default true. */
  guard?: boolean | 'required' | undefined;
  /** How long a listener outlives its last reference. Default 0. */
  cleanupDelayMs?: number | undefined;
  /** How long a cleanup may wait. Default 5000. */
  cleanupTimeoutMs?: number | undefined;
  /** How long a start may wait for another one. Default 5000. */
  startTimeoutMs?: number | undefined;
  /** Open connections of a served name; 0: no limit. Default 0. */
  maxConnections?: number | undefined;
  /** Unsent bytes kept for one connection. Default 16 MiB. */
  maxBuffered?: number | undefined;
  /** A name without a path is fresh at each start. Default false. */
  unique?: boolean | undefined;
  /** Own the name or fail. Default false. */
  exclusive?: boolean | undefined;
  /** The listener may be passed to another holder when this one ends. Default true. */
  handover?: boolean | undefined;
  /** TCP, IPv6: no connections by IPv4. Default false. */
  ipv6Only?: boolean | undefined;
  /** TCP: the port may be bound by several listeners that all say so. Default false. */
  reusePort?: boolean | undefined;
  /** Bind the name, and listen only when it is served; it is never shared. Default false. */
  bindOnly?: boolean | undefined;
}

export interface StartOptions extends ListenOptions {
  /** Cancels the start: the promise is rejected with an AbortError whose cause is the signal's reason. */
  signal?: AbortSignal | undefined;
}

export interface RegistryOptions extends ListenOptions {
  /** Where names without a path are put. */
  directory?: PathLike | undefined;
  /** Names of the registry. Default 1024. */
  maxSockets?: number | undefined;
  /** References to one name. Default 65536. */
  maxReferences?: number | undefined;
  /** Files of descriptors that are registered stay where they are at the end. Default false. */
  keepFile?: boolean | undefined;
}

/** What the library or the system refused. */
export class SockrefError extends Error {
  private constructor();
  /** Such as 'EACCES' or 'ESOCKREF_LIMIT'. */
  readonly code: string;
  /** Negative, as everywhere in Node; for sockref's own codes the nearest number of the system. */
  readonly errno: number;
  readonly syscall?: string;
  readonly path?: string;
  /** How many were removed nevertheless: of cleanupAll() and sweep(). */
  readonly count?: number;
}

/** One peer of a name served in JavaScript. */
export class Connection {
  private constructor();
  /** True after destroy(), and from the close event on. */
  get destroyed(): boolean;
  /** Writes; false: all is taken, but wait for drain before more. */
  write(data: string | Uint8Array): boolean;
  /** Writes what is given, and sends no more: the peer sees the end when all is written. */
  end(data?: string | Uint8Array): void;
  /** No data events until resume(). */
  pause(): this;
  resume(): this;
  /** Ends it at once; what is queued is dropped. Only the close event comes after. */
  destroy(): void;
}

/**
 * What a served name calls, on the thread that called serve(). For one connection: connection first, close
 * exactly once and last, right after error if there was one. A handler that throws makes an uncaughtException,
 * and the next event still comes.
 */
export interface Handlers {
  connection?: ((connection: Connection) => void) | undefined;
  data?: ((connection: Connection, data: Buffer) => void) | undefined;
  /** The peer will send no more. Without this handler our side is ended too when all is written. */
  end?: ((connection: Connection) => void) | undefined;
  /** What was queued is written, after a write() that returned false. */
  drain?: ((connection: Connection) => void) | undefined;
  error?: ((connection: Connection, error: SockrefError) => void) | undefined;
  close?: ((connection: Connection, hadError: boolean) => void) | undefined;
  /** Nothing of this service comes any more. */
  stop?: (() => void) | undefined;
}

/**
 * What happens to a name: it is lost (no longer active), another registry owns it (or this one, where isOwner
 * says so), somebody has removed its file (it has been made again, unless the program had bound it) or replaced it
 * (start it again), its registry shuts down.
 */
export type ReferenceEvent = 'lost' | 'owner' | 'displaced' | 'shutdown';

/**
 * One counted reference to a name. The last one closes the listener and removes its file. It belongs to its
 * thread: send its path to another one, not the object.
 *
 * It emits what happens to the name until it is closed: from the event loop of its thread, never from inside a call.
 * Of a loss each listener hears once, also one that was added after it. Listeners keep neither the process alive nor
 * the reference from being collected.
 */
export class SocketReference extends EventEmitter {
  private constructor();
  /** Counts a reference to a name of the default registry; nothing is bound. Without a path: the default name. */
  static getOrCreate(path?: PathLike): SocketReference;
  /** A reference to a name that is active in the default registry, or null. */
  static getExisting(path: PathLike): SocketReference | null;

  /** The name as it was first spelled; stays after close(). */
  get path(): string;
  /** The exact bytes of it. */
  get pathBytes(): Buffer;
  get isActive(): boolean;
  /** Whether this registry listens, and not another one that has the name. */
  get isOwner(): boolean;
  /** References to the name in this registry. */
  get referenceCount(): number;
  /** Registries, over all processes, that hold the name. */
  get holderCount(): number;
  /** What is counted of the name, now. */
  stats(): ReferenceStats;
  /** Whether the name is well; no connection is made. Throws where nothing was started. */
  checkHealth(): Health;
  /** One more reference, closed on its own. */
  clone(): SocketReference;
  /** Gives the reference back at once; a second call does nothing. */
  close(): void;
  [Symbol.dispose](): void;
  /** A duplicate of the listening descriptor; the caller closes it. */
  fd(): number;
  /** Has the library's own thread echo what peers send, also while JavaScript is busy. */
  serveEcho(): this;
  /** Serves the name by functions of this thread, until the last reference to it is closed. */
  serve(handlers: Handlers): this;
  /** Keeps the process alive until unref() or close(). */
  ref(): this;
  unref(): this;
  hasRef(): boolean;
  on(event: ReferenceEvent, listener: (this: this) => void): this;
  once(event: ReferenceEvent, listener: (this: this) => void): this;
  off(event: ReferenceEvent, listener: (this: this) => void): this;
}

/** A registry of its own: for tests, and for several tenants in one process. */
export class Registry {
  constructor(options?: RegistryOptions);
  getOrCreate(path?: PathLike): SocketReference;
  getExisting(path: PathLike): SocketReference | null;
  registerNew(path: PathLike | undefined, fd: number): SocketReference;
  startListener(path?: PathLike, options?: StartOptions): Promise<SocketReference>;
  startListenerSync(path?: PathLike, options?: ListenOptions): SocketReference;
  isSocketActive(path: PathLike): boolean;
  activeSocketCount(): number;
  guardStatus(): number;
  stats(): RegistryStats;
  metrics(): string;
  cleanup(path: PathLike): void;
  cleanupAll(): number;
  sweep(directory?: PathLike): Promise<number>;
  drain(timeoutMs?: number): Promise<void>;
  shutdown(timeoutMs?: number): Promise<void>;
  /** Frees it: pending starts are cancelled, references that live stay valid. */
  close(): void;
  [Symbol.dispose](): void;
}

/** How a member is picked: one after the other, or the one with the fewest references in its registry. */
export type PoolPolicy = 'round-robin' | 'least-references';

export interface PoolOptions extends StartOptions {
  /** Where the names are started. By default the default registry. */
  registry?: Registry | undefined;
}

/**
 * Several names, of which one is picked at a time. A pool holds a reference of its own to each of its members, and
 * belongs to its thread, as references do.
 */
export class SocketPool {
  constructor();
  /**
   * A pool of so many names, 1 to 1024, that are started side by side: all of them, or none. They are the path with
   * .0, .1 and so on behind it; of tcp:HOST:PORT the ports from PORT on; without a path fresh names.
   */
  static start(path: PathLike | undefined, count: number, options?: PoolOptions): Promise<SocketPool>;
  /** Makes a name a member, in the place of one of that name that was revoked; the reference stays the caller's. */
  add(reference: SocketReference): void;
  remove(reference: SocketReference): void;
  /** A reference of the caller's own to a member that is active: close it when what it was for is over. */
  pick(policy?: PoolPolicy): SocketReference;
  /** Members, active or not. */
  get size(): number;
  /** Gives the references of the pool back at once; those that were picked stay as they are. */
  close(): void;
  [Symbol.dispose](): void;
}

export interface HistogramBucket {
  /** The bound, in nanoseconds. */
  readonly le: number;
  /** How many were no longer than that, and longer than the bound before. */
  readonly count: number;
}

/** How long something took. */
export interface Histogram {
  /** How many times it was measured; those above the last bound are in here only. */
  readonly count: number;
  readonly sumNs: number;
  readonly buckets: readonly HistogramBucket[];
}

/** What a registry has counted since it was made. */
export interface RegistryStats {
  /** Names that were bound, or registered. */
  readonly created: number;
  /** Names of other registries that were joined. */
  readonly joined: number;
  /** Starts that found their name started here already. */
  readonly reused: number;
  /** Starts that failed, or were cancelled. */
  readonly failed: number;
  /** Started names that ended with their last reference. */
  readonly closed: number;
  readonly revoked: number;
  /** Names whose files are removed. */
  readonly removed: number;
  /** Those where the system refused that. */
  readonly removeFailed: number;
  /** Ends that had to wait for another process, and were left to the worker. */
  readonly deferred: number;
  /** Why the system refused last, such as 'EACCES'; null: it never did. */
  readonly lastRemoveError: string | null;
  /** From the last close(), or the call that revokes, until nothing is left of the name. */
  readonly removal: Histogram;
}

/** What is counted of one name, while it is served here. */
export interface ReferenceStats {
  /** References of this registry, now. */
  readonly references: number;
  /** Connections, now. */
  readonly connections: number;
  readonly accepted: number;
  /** Connections that were closed at once, for there were too many, or no descriptor or memory was left. */
  readonly refused: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** For how long it is served; 0 where it is not. */
  readonly servedNs: number;
}

/** What the loops of the process have counted: those of all threads together, also of threads that ended. */
export interface LoopStats {
  readonly callbacks: number;
  /** What waits for the next turn. */
  readonly pending: number;
  /** For how long the oldest of it has waited; 0: nothing waits. */
  readonly oldestNs: number;
  readonly newestNs: number;
  /** How many turns came so late that something had waited for longer than a second. */
  readonly starved: number;
  /** Something has waited for longer than a second now. */
  readonly isStarving: boolean;
  readonly accepted: number;
  readonly refused: number;
  readonly connected: number;
  readonly connectFailed: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Until it was connected, of those that succeeded. */
  readonly connect: Histogram;
}

/** How a name is: null where it can't be told from here. */
export interface Health {
  /** The path leads to the socket that was bound or joined; null: the name has no file. */
  readonly isFileOurs: boolean | null;
  /** The system would queue a connection to it. */
  readonly isReachable: boolean | null;
  /** It is served and takes connections; null: another registry owns it. */
  readonly isAccepting: boolean | null;
}

export interface LiveCounts {
  /** References and connections. */
  references: number;
  /** Names in any state. */
  entries: number;
  /** Pieces of unsent data. */
  buffers: number;
}

/**
 * Listens on a name, or shares it where it is listened on already: by this process, or by another one, which then
 * is joined. Without a path: the default name.
 */
export function startListener(path?: PathLike, options?: StartOptions): Promise<SocketReference>;
/** The same, blocking while another start or removal of the name is under way. */
export function startListenerSync(path?: PathLike, options?: ListenOptions): SocketReference;
/**
 * Takes a listening socket that the caller bound, and its file; fd is the library's from then on. Without a path
 * (undefined): where the socket says that it is bound.
 */
export function registerNew(path: PathLike | undefined, fd: number): SocketReference;
/** Whether a name is active here; false for anything that is no name. */
export function isSocketActive(path: PathLike): boolean;
export function activeSocketCount(): number;
/**
 * The process id of the guard, which removes what this process leaves when it is killed; 0: none was needed yet.
 * Throws why it could not be started.
 */
export function guardStatus(): number;
/** What the default registry has counted. */
export function stats(): RegistryStats;
/** What the loops of the process have counted: what waits in them, and connections. */
export function loopStats(): LoopStats;
/** All that is counted as OpenMetrics text: the default registry, its names, and the loops of the process. */
export function metrics(): string;
/** Revokes a name: its file goes now, its references stay valid and become inactive. */
export function cleanup(path: PathLike): void;
/** Revokes every name, and tells how many there were. */
export function cleanupAll(): number;
/** Removes what dead processes left in a directory, and tells how many names. */
export function sweep(directory?: PathLike): Promise<number>;
/** Waits until nothing is on its way out; default 5000 ms, -1 or Infinity: without end. */
export function drain(timeoutMs?: number): Promise<void>;
/** Refuses new references, waits for the holders, then revokes. The next call makes a fresh default registry. */
export function shutdown(timeoutMs?: number): Promise<void>;
/** What is alive in this process, all threads together. */
export function liveCounts(): LiveCounts;
/** The version of the library. */
export function version(): string;
