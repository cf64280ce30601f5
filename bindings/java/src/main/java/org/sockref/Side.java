package org.sockref;

import java.util.concurrent.Executor;
import java.util.concurrent.Semaphore;

/** One direction of a channel: whose turn it is, how many bytes went, and whether it is shut. */
final class Side {
    final Descriptor socket;
    /** Of {@link Readiness}. */
    final int direction;
    /** Where the futures of this side are completed. */
    final Executor executor;
    /** Of a call, or of an operation until it is over: no thread owns it. */
    final Semaphore turn = new Semaphore(1);
    /** Written by who has the turn. */
    private volatile long bytes;
    private volatile boolean isShut;

    Side(Descriptor socket, int direction, Executor executor) {
        this.socket = socket;
        this.direction = direction;
        this.executor = executor;
    }

    /** With the turn. */
    void count(long moved) {
        bytes += moved;
    }

    long bytes() {
        return bytes;
    }

    boolean isBusy() {
        return turn.availablePermits() == 0;
    }

    boolean isShut() {
        return isShut;
    }

    void setShut() {
        isShut = true;
    }
}
