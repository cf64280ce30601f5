package org.sockref;

import java.nio.ByteBuffer;

/** {@link SockrefChannel#writeAsync}. */
final class WriteOperation extends Operation<Integer> {
    private SockrefChannel channel;
    private ByteBuffer from;
    private final int first;

    WriteOperation(Side output, SockrefChannel channel, ByteBuffer from) {
        super(output);
        this.channel = channel;
        this.from = from;
        first = from.position();
    }

    @Override
    Integer attempt(int fd) throws Exception {
        return channel.tryWrite(fd, from) ? (Integer) (from.position() - first) : null;
    }

    @Override
    void letGo() {
        channel = null;
        from = null;
    }
}
