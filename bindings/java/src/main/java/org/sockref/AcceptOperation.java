package org.sockref;

import java.io.IOException;

/** {@link SockrefServerChannel#acceptAsync}. */
final class AcceptOperation extends Operation<SockrefChannel> {
    private SockrefServerChannel server;

    AcceptOperation(Side input, SockrefServerChannel server) {
        super(input);
        this.server = server;
    }

    @Override
    SockrefChannel attempt(int fd) throws Exception {
        return server.tryAccept(fd);
    }

    @Override
    void letGo() {
        server = null;
    }

    @Override
    void discard(SockrefChannel late) {
        try {
            late.close();
        } catch (IOException e) {
            EventLoop.report(e);
        }
    }
}
