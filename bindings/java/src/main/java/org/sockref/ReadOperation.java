package org.sockref;

import java.nio.ByteBuffer;

/** {@link SockrefChannel#readAsync}. */
final class ReadOperation extends Operation<Integer> {
    private SockrefChannel channel;
    private ByteBuffer to;

    ReadOperation(Side input, SockrefChannel channel, ByteBuffer to) {
        super(input);
        this.channel = channel;
        this.to = to;
    }

    @Override
    Integer attempt(int fd) throws Exception {
        return channel.tryRead(fd, to);
    }

    @Override
    void letGo() {
        channel = null;
        to = null;
    }
}
