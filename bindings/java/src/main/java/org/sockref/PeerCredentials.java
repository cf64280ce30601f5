package org.sockref;

/**
 * Who the peer of a Unix socket was when it connected, or listened.
 *
 * @param pid its process; 0 where it is in another pid namespace
 * @param uid its effective user
 * @param gid its effective group
 */
public record PeerCredentials(long pid, long uid, long gid) {
}
