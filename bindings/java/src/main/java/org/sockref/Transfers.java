package org.sockref;

import java.nio.ByteBuffer;

/**
 * Bytes between buffers and a descriptor, in one system call: direct buffers where they lie, arrays by one copy. What
 * moved moves the buffers' positions. What is received is answered as {@link Sockets} does, with DRAINED.
 *
 * <p>A position is asked for once, and the length counted from it: what C is given lies within the buffer also where
 * another thread moves positions meanwhile.
 */
final class Transfers {
    /** As java_channel.c takes at most. */
    private static final int MOST_PIECES = 64;
    private static final int MOST_COPIED = 65536;

    private Transfers() {
    }

    /**
     * A direct buffer whose memory is there for this thread. That of an arena may not be, which only an access tells:
     * C would take the address all the same.
     *
     * @throws IllegalStateException if the arena is closed; or is another thread's, as WrongThreadException
     */
    static ByteBuffer checked(ByteBuffer direct) {
        if (direct.hasRemaining()) {
            direct.get(direct.position());
        }
        return direct;
    }

    static int remaining(ByteBuffer buffer, int position) {
        return Math.max(0, buffer.limit() - position);
    }

    static long receive(int fd, ByteBuffer to, boolean wait) {
        int position = to.position();
        int length = remaining(to, position);
        long got = to.isDirect() ? Sockets.receiveDirect(fd, checked(to), position, length, wait)
                : Sockets.receive(fd, to.array(), to.arrayOffset() + position, length, wait);
        if (got > 0) {
            to.position(position + (int) got);
        }
        return got;
    }

    static int send(int fd, ByteBuffer from, boolean wait) {
        int position = from.position();
        int length = remaining(from, position);
        int moved;
        if (from.isDirect()) {
            moved = Sockets.sendDirect(fd, checked(from), position, length, wait);
        } else if (from.hasArray()) {
            moved = Sockets.send(fd, from.array(), from.arrayOffset() + position, length, wait);
        } else {
            byte[] copy = copy(from);
            moved = Sockets.send(fd, copy, 0, copy.length, wait);
        }
        if (moved > 0) {
            from.position(position + moved);
        }
        return moved;
    }

    /** Of a read-only buffer, which does not show its array. */
    private static byte[] copy(ByteBuffer from) {
        byte[] copy = new byte[Math.min(from.remaining(), MOST_COPIED)];
        from.duplicate().get(copy);
        return copy;
    }

    static boolean hasRemaining(ByteBuffer[] buffers, int offset, int length) {
        for (int i = offset; i < offset + length; i++) {
            if (buffers[i].hasRemaining()) {
                return true;
            }
        }
        return false;
    }

    static long receive(int fd, ByteBuffer[] to, int offset, int length, boolean wait) {
        Pieces pieces = new Pieces(to, offset, length);
        long got = Sockets.receiveScattered(fd, pieces.arrays, pieces.buffers, pieces.offsets, pieces.lengths, wait);
        move(to, offset, (int) got);
        return got;
    }

    static int send(int fd, ByteBuffer[] from, int offset, int length, boolean wait) {
        Pieces pieces = new Pieces(from, offset, length);
        int moved = Sockets.sendGathered(fd, pieces.arrays, pieces.buffers, pieces.offsets, pieces.lengths, wait);
        move(from, offset, moved);
        return moved;
    }

    private static void move(ByteBuffer[] buffers, int offset, int moved) {
        int left = moved;
        for (int i = offset; left > 0; i++) {
            int here = Math.min(left, buffers[i].remaining());
            buffers[i].position(buffers[i].position() + here);
            left -= here;
        }
    }

    /** Buffers as C takes them: each is an array or a direct buffer. */
    private static final class Pieces {
        final byte[][] arrays;
        final ByteBuffer[] buffers;
        final int[] offsets;
        final int[] lengths;

        Pieces(ByteBuffer[] all, int offset, int length) {
            int first = offset;
            while (first < offset + length - 1 && !all[first].hasRemaining()) {
                first++;
            }
            int count = Math.min(offset + length - first, MOST_PIECES);
            arrays = new byte[count][];
            buffers = new ByteBuffer[count];
            offsets = new int[count];
            lengths = new int[count];
            for (int i = 0; i < count; i++) {
                set(i, all[first + i]);
            }
        }

        private void set(int index, ByteBuffer buffer) {
            int position = buffer.position();
            lengths[index] = remaining(buffer, position);
            if (buffer.isDirect()) {
                buffers[index] = checked(buffer);
                offsets[index] = position;
            } else if (buffer.hasArray()) {
                arrays[index] = buffer.array();
                offsets[index] = buffer.arrayOffset() + position;
            } else {
                arrays[index] = copy(buffer);
                lengths[index] = arrays[index].length;
            }
        }
    }
}
