/** Reference-counted Unix sockets. */
module org.sockref {
    exports org.sockref;
}
