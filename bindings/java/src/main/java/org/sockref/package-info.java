/**
 * Reference-counted Unix sockets: the first listen on a path binds it, later ones share it, and with the last
 * reference the file goes.
 */
package org.sockref;
