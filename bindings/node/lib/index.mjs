import sockref from './index.js';

export const {
  SocketReference,
  Registry,
  Connection,
  SockrefError,
  startListener,
  startListenerSync,
  registerNew,
  isSocketActive,
  activeSocketCount,
  guardStatus,
  stats,
  loopStats,
  metrics,
  cleanup,
  cleanupAll,
  sweep,
  drain,
  shutdown,
  liveCounts,
  version,
} = sockref;
