/**
 * Reference-counted sockets: the first listen on a name binds it, later ones share it, and with the last reference the
 * socket's file goes.
 *
 * <p>{@link org.sockref.SocketReference} is a reference, and {@link org.sockref.Registry} a set of names apart. What
 * connects to a name is met in one of two styles: {@link org.sockref.SockrefServerChannel} and
 * {@link org.sockref.SockrefChannel} are channels, which wait on the thread that asks or give futures;
 * {@link org.sockref.Handlers} are called on one thread for all connections.
 */
package org.sockref;
