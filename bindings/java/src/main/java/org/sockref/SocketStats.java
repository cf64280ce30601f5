package org.sockref;

/**
 * What is counted of one name, while it is served here.
 *
 * @param references references of its registry, now
 * @param connections connections of its service, now
 * @param accepted connections that its service accepted
 * @param refused connections that were closed at once, for there were too many, or no descriptor or memory was left
 * @param bytesRead bytes that its connections received
 * @param bytesWritten bytes that its connections gave to the system
 * @param servedNanos for how long it is served, in nanoseconds; 0 where it is not
 */
public record SocketStats(long references, long connections, long accepted, long refused, long bytesRead,
        long bytesWritten, long servedNanos) {
    static SocketStats of(long[] numbers) {
        return new SocketStats(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]);
    }
}
