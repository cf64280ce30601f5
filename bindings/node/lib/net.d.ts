/// <reference types="node" />

// node:net over the sockets of this library. The types are Node's, with what newer versions of it have.

import * as net from 'node:net';
import { SocketReference } from './index.js';

export interface BoundSocketOptions {
  /** Numeric; by default 0.0.0.0, or :: with ipv6Only. */
  host?: string | undefined;
  port?: number | undefined;
  ipv6Only?: boolean | undefined;
  reusePort?: boolean | undefined;
  /** In place of all the others. */
  path?: string | undefined;
}
/** A name that is bound before it is known whether a server or a socket is to have it. */
export class BoundSocket {
  constructor(options?: BoundSocketOptions);
  address(): net.AddressInfo | string;
  fd(): number;
  close(): void;
  readonly isPipe: boolean;
  [Symbol.dispose](): void;
}

interface FromBoundSocket {
  /** What it is to be connected from; it is taken. */
  handle?: BoundSocket | undefined;
}
interface NewerSocketOptions {
  /** Type of service (IPv4) or traffic class (IPv6) of what is sent, 0 to 255. */
  typeOfService?: number | undefined;
  /** Addresses that are not connected to. */
  blockList?: net.BlockList | undefined;
}

export type SocketConstructorOpts = Omit<net.SocketConstructorOpts, 'handle'> & NewerSocketOptions & FromBoundSocket & {
  noDelay?: boolean | undefined;
  keepAlive?: boolean | undefined;
  /** In milliseconds. */
  keepAliveInitialDelay?: number | undefined;
  onread?: net.OnReadOpts | undefined;
  highWaterMark?: number | undefined;
};
export type TcpSocketConnectOpts = net.TcpSocketConnectOpts & NewerSocketOptions;
export type IpcSocketConnectOpts = net.IpcSocketConnectOpts & NewerSocketOptions;
export type SocketConnectOpts = TcpSocketConnectOpts | IpcSocketConnectOpts;
export type TcpNetConnectOpts = Omit<net.TcpNetConnectOpts, 'handle'> & NewerSocketOptions & FromBoundSocket;
export type IpcNetConnectOpts = Omit<net.IpcNetConnectOpts, 'handle'> & NewerSocketOptions & FromBoundSocket;
export type NetConnectOpts = TcpNetConnectOpts | IpcNetConnectOpts;
export type ServerOpts = net.ServerOpts & {
  /** Peers whose connections are closed at once. */
  blockList?: net.BlockList | undefined;
};
export type ListenOptions = Omit<net.ListenOptions, 'handle'> & {
  /** Let several sockets bind the port, if all of them say so. */
  reusePort?: boolean | undefined;
  /** A socket of which the program has the descriptor. */
  fd?: number | undefined;
  /** A name that listens already; it stays the caller's. */
  reference?: SocketReference | undefined;
  /** What it is to listen on, in place of a port or a path; it is taken. */
  handle?: BoundSocket | undefined;
};
export type {
  AddressInfo, DropArgument, IPVersion, LookupFunction, OnReadOpts, SocketAddressInitOptions, SocketReadyState,
} from 'node:net';

/** Of the probes that are sent while nothing comes. */
export interface SetKeepAliveOptions {
  enable?: boolean | undefined;
  /** Until the first one, in milliseconds; 0: as it was. */
  initialDelay?: number | undefined;
  /** From one to the next, in milliseconds; 1000 by default. */
  interval?: number | undefined;
  /** How many go without an answer; 10 by default. */
  count?: number | undefined;
}

/** One end of a connection: a stream.Duplex as net.Socket is. It is no instance of net.Socket. */
export interface Socket extends net.Socket {
  setKeepAlive(enable?: boolean, initialDelay?: number, interval?: number, count?: number): this;
  setKeepAlive(options: SetKeepAliveOptions): this;
  getTypeOfService(): number;
  setTypeOfService(tos: number): this;
  connect(options: SocketConnectOpts, connectionListener?: () => void): this;
  connect(port: number, host: string, connectionListener?: () => void): this;
  connect(port: number, connectionListener?: () => void): this;
  connect(path: string, connectionListener?: () => void): this;
}
export interface SocketConstructor {
  new (options?: SocketConstructorOpts | number): Socket;
  (options?: SocketConstructorOpts | number): Socket;
  readonly prototype: Socket;
}
export const Socket: SocketConstructor;
export { Socket as Stream };

/** Listens on a name; its file goes when it is closed. It is no instance of net.Server. */
export interface Server extends net.Server {
  dropMaxConnection?: boolean | undefined;
  listen(port?: number, hostname?: string, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number, hostname?: string, listeningListener?: () => void): this;
  listen(port?: number, backlog?: number, listeningListener?: () => void): this;
  listen(port?: number, listeningListener?: () => void): this;
  listen(path: string, backlog?: number, listeningListener?: () => void): this;
  listen(path: string, listeningListener?: () => void): this;
  listen(options: ListenOptions, listeningListener?: () => void): this;
  listen(reference: SocketReference, listeningListener?: () => void): this;
  listen(bound: BoundSocket, backlog?: number, listeningListener?: () => void): this;
  listen(bound: BoundSocket, listeningListener?: () => void): this;
}
export interface ServerConstructor {
  new (connectionListener?: (socket: Socket) => void): Server;
  new (options?: ServerOpts | null, connectionListener?: (socket: Socket) => void): Server;
  (connectionListener?: (socket: Socket) => void): Server;
  (options?: ServerOpts | null, connectionListener?: (socket: Socket) => void): Server;
  readonly prototype: Server;
}
export const Server: ServerConstructor;

export function createServer(connectionListener?: (socket: Socket) => void): Server;
export function createServer(options?: ServerOpts | null, connectionListener?: (socket: Socket) => void): Server;

export function connect(options: NetConnectOpts, connectionListener?: () => void): Socket;
export function connect(port: number, host?: string, connectionListener?: () => void): Socket;
export function connect(path: string, connectionListener?: () => void): Socket;
export { connect as createConnection };

export function getDefaultAutoSelectFamily(): boolean;
export function setDefaultAutoSelectFamily(value: boolean): void;
export function getDefaultAutoSelectFamilyAttemptTimeout(): number;
export function setDefaultAutoSelectFamilyAttemptTimeout(value: number): void;

/** Node's own. */
export { BlockList, SocketAddress, isIP, isIPv4, isIPv6 } from 'node:net';
