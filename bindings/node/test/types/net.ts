// Compiled, never run: sockref/net where node:net is expected, and what is its own.

import * as http from 'node:http';
import * as nodeNet from 'node:net';
import { Duplex } from 'node:stream';
import * as tls from 'node:tls';
import { SocketReference } from 'sockref';
import * as net from 'sockref/net';

export async function use(reference: SocketReference): Promise<void> {
  const server: net.Server = net.createServer({ noDelay: true, keepAlive: true, blockList: new net.BlockList() }, (socket) => {
    const tos: number = socket.setTypeOfService(0).getTypeOfService();
    socket.setTimeout(tos).write('x');
  });
  server.listen({ path: '/a', readableAll: true }).listen(reference).listen({ reference }).listen(0, '::', 10, () => {});
  server.listen({ port: 0, reusePort: true, ipv6Only: true, exclusive: true }).listen({ fd: 3 });
  // @ts-expect-error neither a port nor a path
  server.listen(true);
  const asNodes: nodeNet.Server = server;
  asNodes.on('drop', (data) => data?.remoteAddress);
  const address: nodeNet.AddressInfo | string | null = server.address();

  using bound = new net.BoundSocket({ host: '::1', port: 0, ipv6Only: true, reusePort: true });
  const bind: [number, string | nodeNet.AddressInfo, boolean] = [bound.fd(), bound.address(), bound.isPipe];
  server.listen(bound, 5, () => {}).listen(bound).listen({ handle: bound, backlog: 5 });
  net.connect({ handle: bound, port: 1 }).end();
  new net.Socket({ handle: new net.BoundSocket({ path: '/b' }) }).connect('/a');
  // @ts-expect-error a port is a number
  new net.BoundSocket({ port: true });

  const socket: net.Socket = net.connect({ path: '/a', timeout: 5 }, () => {});
  const byPort: net.Socket = net.createConnection(1, 'localhost', () => {});
  const duplex: Duplex = socket;
  const nodes: nodeNet.Socket = byPort;
  const made: net.Socket = net.Socket(3);
  new net.Stream({ fd: 3, typeOfService: 4, noDelay: true }).connect('/a').end();
  // @ts-expect-error typeOfService is a number
  new net.Socket({ typeOfService: 'x' });
  socket.setKeepAlive(true, 1000, 1000, 5).setKeepAlive({ enable: true, initialDelay: 1000, interval: 1000, count: 5 });
  // @ts-expect-error a count is a number
  socket.setKeepAlive({ count: 'x' });
  const places: [net.TcpNetConnectOpts, net.IpcNetConnectOpts] = [{ port: 1, typeOfService: 4 }, { path: '/a' }];
  const parts: [net.TcpSocketConnectOpts, net.IpcSocketConnectOpts] = [{ port: 1 }, { path: '/a' }];
  const named: [net.SocketReadyState, net.IPVersion, net.SocketAddressInitOptions] = [socket.readyState, 'ipv4', { port: 1 }];
  for await (const chunk of socket) void (chunk as Buffer);
  tls.connect({ socket: made });
  new http.Agent().createConnection = net.createConnection as typeof http.Agent.prototype.createConnection;
  class Own extends net.Socket { own = 1; }
  const own: number = new Own().own;
  const family: number = net.isIP('::');
  const wanted: boolean = net.getDefaultAutoSelectFamily();
  net.setDefaultAutoSelectFamily(wanted);
  void [bind, address, duplex, nodes, own, family, places, parts, named];
}
