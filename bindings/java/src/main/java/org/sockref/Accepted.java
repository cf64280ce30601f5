package org.sockref;

import java.lang.ref.WeakReference;
import java.util.concurrent.CompletableFuture;

/**
 * The open connections of a server channel: how many there are, and how many may be. They do not keep the channel,
 * which may be collected before them.
 */
final class Accepted {
    private final WeakReference<SockrefServerChannel> server;
    private final CompletableFuture<Void> last = new CompletableFuture<>();
    private long count;
    private long most;
    private boolean isEnding;

    Accepted(SockrefServerChannel server, long most) {
        this.server = new WeakReference<>(server);
        this.most = most;
    }

    synchronized long count() {
        return count;
    }

    synchronized boolean isFull() {
        return most > 0 && count >= most;
    }

    synchronized void add() {
        count++;
    }

    /** One is closed. */
    void remove() {
        SockrefServerChannel waiting;
        synchronized (this) {
            boolean hadNoRoom = isFull();
            count--;
            waiting = hadNoRoom ? server.get() : null;
        }
        if (waiting != null) {
            waiting.lookAgain();
        }
        tellLast();
    }

    synchronized void setMost(long number) {
        most = number;
    }

    /** No more are accepted: the future is completed with the last one's close. */
    CompletableFuture<Void> end() {
        synchronized (this) {
            isEnding = true;
        }
        tellLast();
        return last;
    }

    private void tellLast() {
        boolean isLast;
        synchronized (this) {
            isLast = isEnding && count == 0;
        }
        if (isLast) {
            last.complete(null);
        }
    }
}
