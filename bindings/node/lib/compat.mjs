import compat from './compat.js';

export const {
  SocketReference,
  StartSocketConnection,
  StartSocketConnectionWithReference,
  IsSocketActive,
  GetActiveSocketCount,
  CleanupAllSockets,
  ForceCleanupSocket,
} = compat;
