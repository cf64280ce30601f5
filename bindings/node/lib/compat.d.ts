import { PathLike, SocketReference } from './index.js';

export { SocketReference };

/** @deprecated Use startListener(), and keep the reference. */
export function StartSocketConnection(path?: PathLike): Promise<string>;
/** @deprecated Use startListener(). */
export function StartSocketConnectionWithReference(path?: PathLike): Promise<SocketReference>;
/** @deprecated Use isSocketActive(). */
export function IsSocketActive(path: PathLike): boolean;
/** @deprecated Use activeSocketCount(). */
export function GetActiveSocketCount(): number;
/** @deprecated Use cleanupAll(). */
export function CleanupAllSockets(): number;
/** @deprecated Use cleanup(). */
export function ForceCleanupSocket(path: PathLike): void;
