package org.sockref;

/** What happens to a name that a reference holds: see {@link SocketReference#onEvent}. */
public enum SocketEvent {
    /** The reference is no longer active: revoked, or the process that listened is gone. Start the name anew. */
    LOST(1),
    /**
     * Somebody has removed or replaced a file of the name. What was removed has been made again, unless the program had
     * bound it; where that is so, or another file stands now, nobody finds the listener by its path any more.
     */
    DISPLACED(2),
    /** Another registry listens now; or this one, if {@link SocketReference#isOwner} says so: serve the name then. */
    OWNER(3),
    /** The registry shuts down: close soon. */
    SHUTDOWN(4);

    /** Is told what happens to a name. */
    @FunctionalInterface
    public interface Listener {
        /**
         * Something happened.
         *
         * @param event what
         * @throws Exception anything; it is reported, and the listener is told of the next event all the same
         */
        void onEvent(SocketEvent event) throws Exception;
    }

    private final int number;

    SocketEvent(int number) {
        this.number = number;
    }

    /** C's sockref_watch_event; null for one that is newer than this. */
    static SocketEvent of(long number) {
        for (SocketEvent event : values()) {
            if (event.number == number) {
                return event;
            }
        }
        return null;
    }
}
