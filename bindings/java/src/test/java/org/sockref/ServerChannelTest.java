package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;

/** Server channels: their names, their connections, their end. */
class ServerChannelTest extends ChannelScene {
    @Test
    void theChannelIsAReference() throws Exception {
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
        assertEquals(path("s").toString(), server.path());
        assertTrue(isSocket(path("s")));
        assertEquals(1, server.reference().referenceCount());
        try (SocketReference other = SocketReference.listen(path("s"))) {
            assertEquals(2, server.reference().referenceCount());
            server.close();
            assertEquals(1, other.referenceCount());
            assertTrue(isSocket(path("s")));
            try (SockrefServerChannel again = SockrefServerChannel.of(other); SocketChannel peer = dial(path("s"))) {
                assertEquals(2, other.referenceCount());
                try (SockrefChannel channel = again.accept()) {
                    send(peer, new byte[5]);
                    assertEquals(5, receive(channel, 5).length);
                }
            }
            other.close();
            refused("ESOCKREF_CLOSED", () -> SockrefServerChannel.of(other));
        }
        assertFalse(exists(path("s")));
        assertFalse(server.reference().isActive());
    }

    @Test
    void everyKindOfNameIsListenedOn() throws Exception {
        String name = "@" + directory;
        try (SockrefServerChannel server = SockrefServerChannel.listen(name)) {
            assertEquals(UnixDomainSocketAddress.of(name), server.getLocalAddress());
        }
        try (SockrefServerChannel server = SockrefServerChannel.listen(
                Options.builder().unique(true).mode(0600).build())) {
            assertEquals(UnixDomainSocketAddress.of(server.path()), server.getLocalAddress());
        }
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s").toString())) {
            assertTrue(isSocket(path("s")));
        }
        refused("ESOCKREF_PATH", () -> SockrefServerChannel.listen("relative"));
        Files.createFile(path("file"));
        refused("ESOCKREF_FOREIGN", () -> SockrefServerChannel.listen(path("file")));
        assertThrows(NullPointerException.class, () -> SockrefServerChannel.listen((String) null));
        assertThrows(NullPointerException.class, () -> SockrefServerChannel.listen(path("s"), null));
        assertThrows(NullPointerException.class, () -> SockrefServerChannel.of(null));
    }

    @Test
    void twoChannelsShareAName() throws Exception {
        try (SockrefServerChannel one = SockrefServerChannel.listen(path("s"));
                SockrefServerChannel two = SockrefServerChannel.listen(path("s"))) {
            Call<SockrefChannel> first = new Call<>(one::accept);
            Call<SockrefChannel> second = new Call<>(two::accept);
            first.awaitInside();
            second.awaitInside();
            try (SocketChannel peer = dial(path("s")); SocketChannel other = dial(path("s"))) {
                // Whoever was faster with the one, the other one is left.
                first.get().close();
                second.get().close();
            }
        }
    }

    @Test
    void aCleanupEndsTheAccept() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"));
                SockrefServerChannel other = SockrefServerChannel.listen(path("s"))) {
            Call<SockrefChannel> call = new Call<>(server::accept);
            CompletableFuture<SockrefChannel> future = other.acceptAsync();
            call.awaitInside();
            Sockref.cleanup(path("s"));
            assertEquals("ESOCKREF_CLOSED", ((SockrefException) call.problem()).code());
            assertEquals("ESOCKREF_CLOSED", ((SockrefException) problem(future)).code());
            refused("ESOCKREF_CLOSED", server::accept);
            assertTrue(server.isOpen());
        }
    }

    @Test
    void aJoinedNameIsAcceptedFromWhenItsOwnerIsGone() throws Exception {
        try (Registry elsewhere = new Registry();
                SocketReference owner = elsewhere.listen(path("s"));
                SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            assertFalse(server.reference().isOwner());
            Call<SockrefChannel> call = new Call<>(server::accept);
            call.awaitInside();
            try (SocketChannel early = dial(path("s"))) {
                long inode = inode(path("s"));
                owner.close();
                try (SockrefChannel channel = call.get()) {
                    send(early, new byte[7]);
                    assertEquals(7, receive(channel, 7).length);
                }
                assertEquals(inode, inode(path("s")));
            }
        }
    }

    @Test
    void aListenerOfTheReferenceDoesNotReplaceTheChannels() throws Exception {
        for (boolean listens : new boolean[] {true, false}) {
            try (Registry elsewhere = new Registry();
                    SocketReference owner = elsewhere.listen(path("s"));
                    SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
                CompletableFuture<SocketEvent> told = new CompletableFuture<>();
                server.reference().onEvent(told::complete);
                if (!listens) {
                    server.reference().onEvent(null);
                }
                CompletableFuture<SockrefChannel> accept = server.acceptAsync();
                try (SocketChannel early = dial(path("s"))) {
                    owner.close();
                    get(accept, "the accept").close();
                    if (listens) {
                        assertEquals(SocketEvent.OWNER, get(told, "the event"));
                    }
                }
                assertEquals(listens, told.isDone());
            }
        }
    }

    /** Somebody removes the file, and the library makes it anew: another socket, which is accepted from. */
    @Test
    void aSocketThatWasMendedIsAcceptedFrom() throws Exception {
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"))) {
            Call<SockrefChannel> call = new Call<>(server::accept);
            call.awaitInside();
            long inode = inode(path("s"));
            Files.delete(path("s"));
            SocketChannel[] dialled = new SocketChannel[1];
            await("it listens again", () -> {
                try {
                    dialled[0] = dial(path("s"));
                    return true;
                } catch (IOException notYet) {
                    return false;
                }
            });
            assertNotEquals(inode, inode(path("s")));
            try (SocketChannel peer = dialled[0]; SockrefChannel channel = call.get()) {
                send(peer, new byte[9]);
                assertEquals(9, receive(channel, 9).length);
            }
        }
    }

    @Test
    void l66LimitsAndTheGracefulEnd() throws Exception {
        Options two = Options.builder().maxConnections(2).build();
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"), two);
        List<SocketChannel> peers = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            peers.add(dial(path("s")));
        }
        SockrefChannel first = server.accept();
        SockrefChannel second = server.accept();
        Call<SockrefChannel> third = new Call<>(server::accept);
        third.awaitInside();
        assertEquals(2, server.connectionCount());
        first.close();
        SockrefChannel waited = third.get();
        assertEquals(2, server.connectionCount());
        // Now the others are closed, until there is room.
        server.setMaxConnections(2, true);
        CompletableFuture<SockrefChannel> fourth = server.acceptAsync();
        assertEquals(0, receive(peers.get(3), 1).length);
        assertEquals(1, server.droppedConnections());
        assertFalse(fourth.isDone());
        server.setMaxConnections(3, true);
        peers.add(dial(path("s")));
        SockrefChannel last = get(fourth, "the accept");
        assertThrows(IllegalArgumentException.class, () -> server.setMaxConnections(-1, false));

        CompletableFuture<Void> end = server.shutdown();
        assertFalse(exists(path("s")));
        assertThrows(java.io.IOException.class, () -> dial(path("s")));
        assertFalse(end.isDone());
        for (SockrefChannel channel : List.of(second, waited, last)) {
            assertFalse(end.isDone());
            channel.write(ByteBuffer.wrap(new byte[3]));
            channel.close();
        }
        get(end, "the end");
        assertEquals(3, receive(peers.get(1), 4).length);
        get(server.shutdown(), "the end, again");
        for (SocketChannel peer : peers) {
            peer.close();
        }
    }

    @Test
    void theEndIsToldAlsoWhereTheExecutorRefuses() throws Exception {
        ExecutorService own = Executors.newSingleThreadExecutor();
        SockrefServerChannel server = SockrefServerChannel.listen(path("s"), Options.builder().executor(own).build());
        own.shutdown();
        get(server.shutdown(), "the end");
    }

    @Test
    void aLimitIsWaitedForWithoutAThread() throws Exception {
        Options one = Options.builder().maxConnections(1).build();
        try (SockrefServerChannel server = SockrefServerChannel.listen(path("s"), one);
                SocketChannel peer = dial(path("s")); SocketChannel other = dial(path("s"))) {
            SockrefChannel first = get(server.acceptAsync(), "the accept");
            CompletableFuture<SockrefChannel> second = server.acceptAsync();
            assertFalse(second.isDone());
            first.close();
            get(second, "the second accept").close();
        }
    }
}
