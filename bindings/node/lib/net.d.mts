import * as net from './net.js';

export * from './net.js';
export default net;
