package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channel;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.GatheringByteChannel;
import java.nio.channels.NetworkChannel;
import java.nio.channels.ScatteringByteChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Random scripts on a channel of Java's own and on one of ours: results, positions, bytes and exceptions are the same. */
class SideBySideTest extends ChannelScene {
    private static final int SCRIPTS = 150;
    private static final int STEPS = 40;
    private static final int MOST = 2000;
    /** Far less than the system keeps. */
    private static final int MOST_PENDING = 10_000;
    private static final int KINDS = 40;

    /** What a subject has been through, so that no step waits for ever. */
    private static final class State {
        int pending;
        boolean peerEnded;
        boolean peerClosed;
        boolean inputShut;
    }

    /** One server and one connection of it, whichever class they are of, at whose other end is Java's own. */
    private record Subject(NetworkChannel server, Callable<? extends Channel> accept, SocketChannel peer,
            NetworkChannel channel, Callable<?> shutdownInput, Callable<?> shutdownOutput,
            Callable<SocketAddress> remote, State state) implements AutoCloseable {
        static Subject ofJava(SocketAddress address, boolean isUnix) throws IOException {
            ServerSocketChannel server = isUnix ? ServerSocketChannel.open(StandardProtocolFamily.UNIX)
                    : ServerSocketChannel.open();
            server.bind(address);
            SocketChannel peer = SocketChannel.open(server.getLocalAddress());
            SocketChannel channel = server.accept();
            return new Subject(server, server::accept, peer, channel, channel::shutdownInput, channel::shutdownOutput,
                    channel::getRemoteAddress, new State());
        }

        static Subject ofOurs(String name) throws IOException {
            SockrefServerChannel server = SockrefServerChannel.listen(name);
            SocketChannel peer = SocketChannel.open(server.getLocalAddress());
            SockrefChannel channel = server.accept();
            return new Subject(server, server::accept, peer, channel, channel::shutdownInput, channel::shutdownOutput,
                    channel::getRemoteAddress, new State());
        }

        boolean answersReads() {
            return state.pending > 0 || state.peerEnded || state.inputShut || !channel.isOpen();
        }

        ScatteringByteChannel input() {
            return (ScatteringByteChannel) channel;
        }

        GatheringByteChannel output() {
            return (GatheringByteChannel) channel;
        }

        @Override
        public void close() throws IOException {
            channel.close();
            peer.close();
            server.close();
        }
    }

    private interface Step {
        Object run(Subject subject, Random random) throws Exception;
    }

    private static ByteBuffer buffer(Random random, int length) {
        byte[] bytes = new byte[length + 7];
        random.nextBytes(bytes);
        int kind = random.nextInt(8);
        ByteBuffer made = switch (kind) {
            case 0, 1, 2 -> ByteBuffer.wrap(bytes, 3, length);
            case 3 -> ByteBuffer.wrap(bytes, 3, length).slice();
            default -> ByteBuffer.allocateDirect(length + 7).put(bytes).position(4).limit(4 + length);
        };
        return kind == 7 ? made.asReadOnlyBuffer() : made;
    }

    private static ByteBuffer[] buffers(Random random) {
        ByteBuffer[] made = new ByteBuffer[random.nextInt(5)];
        Arrays.setAll(made, i -> buffer(random, random.nextInt(4) == 0 ? 0 : random.nextInt(MOST / 5)));
        return made;
    }

    /** A result, and where it left the buffers. */
    private static String told(Object result, ByteBuffer... buffers) {
        StringBuilder text = new StringBuilder().append(result);
        for (ByteBuffer buffer : buffers) {
            byte[] all = new byte[buffer.limit()];
            buffer.get(0, all);
            text.append(' ').append(buffer.position()).append('/').append(Arrays.hashCode(all));
        }
        return text.toString();
    }

    private static String read(Subject subject, long got, ByteBuffer... to) {
        subject.state.pending -= (int) Math.max(got, 0);
        return told(got, to);
    }

    /** With what the peer got of it. */
    private static String written(Subject subject, long sent, ByteBuffer... from) throws IOException {
        String told = told(sent, from);
        return subject.state.peerClosed ? told : told + " " + Arrays.hashCode(receive(subject.peer, (int) sent));
    }

    private static Step read() {
        return (subject, random) -> {
            ByteBuffer to = buffer(random, random.nextInt(5) == 0 ? 0 : random.nextInt(MOST));
            if (to.hasRemaining() && !to.isReadOnly() && !subject.answersReads()) {
                return "it would wait";
            }
            if (to.isReadOnly() && (subject.state.inputShut || Thread.currentThread().isInterrupted())) {
                return "wrong in two ways";
            }
            return read(subject, subject.input().read(to), to);
        };
    }

    private static Step scatter() {
        return (subject, random) -> {
            ByteBuffer[] to = buffers(random);
            int offset = random.nextInt(4) - 1;
            int length = random.nextInt(4);
            boolean isWhole = random.nextBoolean();
            boolean isWrong = Arrays.stream(to).anyMatch(ByteBuffer::isReadOnly);
            if (!subject.answersReads() && !(isWhole && isWrong)) {
                return "it would wait";
            }
            if (subject.state.inputShut && isWrong) {
                return "wrong in two ways";
            }
            return read(subject, isWhole ? subject.input().read(to) : subject.input().read(to, offset, length), to);
        };
    }

    private static Step write() {
        return (subject, random) -> {
            ByteBuffer from = buffer(random, random.nextInt(MOST));
            return written(subject, subject.output().write(from), from);
        };
    }

    private static Step gather() {
        return (subject, random) -> {
            ByteBuffer[] from = buffers(random);
            int offset = random.nextInt(4) - 1;
            int length = random.nextInt(4);
            long sent = random.nextBoolean() ? subject.output().write(from)
                    : subject.output().write(from, offset, length);
            return written(subject, sent, from);
        };
    }

    /** It closes the channel, so it comes seldom. */
    private static Step interrupted(Step step, Random choice) {
        return choice.nextInt(4) > 0 ? step :  (subject, random) -> {
            Thread.currentThread().interrupt();
            try {
                return step.run(subject, random);
            } finally {
                assertTrue(Thread.interrupted() || !subject.channel.isOpen(), "the interrupt was lost");
            }
        };
    }

    private static <T> Step option(SocketOption<T> option, T value) {
        return (subject, random) -> {
            subject.channel.setOption(option, value);
            return subject.channel.getOption(option);
        };
    }

    private static Step accept() {
        return (subject, random) -> {
            SocketAddress address = subject.server.getLocalAddress();
            try (SocketChannel dialled = SocketChannel.open(address);
                    Channel accepted = subject.accept.call()) {
                return accepted.isOpen() && dialled.isOpen();
            }
        };
    }

    private static Step peerSends() {
        return (subject, random) -> {
            byte[] bytes = new byte[random.nextInt(MOST)];
            random.nextBytes(bytes);
            if (subject.state.peerEnded || subject.state.inputShut || !subject.channel.isOpen()
                    || subject.state.pending > MOST_PENDING) {
                return "nobody reads it";
            }
            send(subject.peer, bytes);
            subject.state.pending += bytes.length;
            return bytes.length;
        };
    }

    private static Step choose(Random random, boolean isUnix) {
        return switch (random.nextInt(KINDS)) {
            case 0, 1, 2, 3, 4, 5, 6 -> peerSends();
            case 7, 8, 9, 10, 11, 12 -> read();
            case 13, 14, 15 -> scatter();
            case 16, 17, 18, 19, 20 -> write();
            case 21, 22, 23 -> gather();
            case 24 -> (subject, same) -> shut(subject.shutdownInput, () -> subject.state.inputShut = true);
            case 25 -> (subject, same) -> shut(subject.shutdownOutput, () -> { });
            case 26 -> (subject, same) -> {
                if (!subject.state.peerClosed) {
                    subject.peer.shutdownOutput();
                }
                subject.state.peerEnded = true;
                return "the peer ended";
            };
            case 27 -> (subject, same) -> {
                // A TCP peer that is sent more resets: when that is seen is a matter of time.
                if (isUnix) {
                    subject.peer.close();
                    subject.state.peerClosed = true;
                    subject.state.peerEnded = true;
                }
                return "the peer closed";
            };
            case 28 -> interrupted(read(), random);
            case 29 -> interrupted(write(), random);
            case 30 -> option(StandardSocketOptions.SO_SNDBUF, 1000 * (1 + random.nextInt(100)));
            case 31 -> option(StandardSocketOptions.SO_RCVBUF, 1000 * (50 + random.nextInt(100)));
            case 32 -> isUnix ? option(StandardSocketOptions.IP_MULTICAST_TTL, 1)
                    : option(random.nextBoolean() ? StandardSocketOptions.TCP_NODELAY
                            : StandardSocketOptions.SO_KEEPALIVE, random.nextBoolean());
            case 33 -> option(StandardSocketOptions.SO_SNDBUF, -1);
            case 34 -> (subject, same) -> subject.input().read((ByteBuffer) null);
            case 35 -> (subject, same) -> subject.output().write((ByteBuffer) null);
            case 36 -> accept();
            case 37 -> (subject, same) -> subject.remote.call().getClass() + " "
                    + subject.channel.getLocalAddress().getClass() + subject.channel.isOpen();
            case 38 -> (subject, same) -> {
                if (same.nextInt(3) == 0) {
                    subject.channel.close();
                }
                return subject.channel.isOpen();
            };
            default -> (subject, same) -> {
                subject.server.close();
                return subject.server.isOpen();
            };
        };
    }

    private static Object shut(Callable<?> call, Runnable done) throws Exception {
        call.call();
        done.run();
        return "shut";
    }

    private static String outcome(Subject subject, Step step, long seed) {
        try {
            return String.valueOf(step.run(subject, new Random(seed)));
        } catch (ClosedByInterruptException e) {
            return "closed by the interrupt";
        } catch (ClosedChannelException e) {
            return "closed"; // Java's own say after shutdownOutput() that it was closed by another thread
        } catch (IOException e) {
            return "an IOException";
        } catch (Exception e) {
            return e.getClass().getName();
        }
    }

    private static void run(Subject java, Subject ours, boolean isUnix, long seed) {
        Random random = new Random(seed);
        List<String> history = new ArrayList<>();
        for (int i = 0; i < STEPS; i++) {
            long step = random.nextLong();
            String expected = outcome(java, choose(new Random(step), isUnix), step);
            history.add(new Random(step).nextInt(KINDS) + ": " + expected);
            String found = outcome(ours, choose(new Random(step), isUnix), step);
            assertEquals(expected, found, () -> "seed " + seed + ": " + history);
            assertEquals(java.channel.isOpen(), ours.channel.isOpen(), () -> "seed " + seed + ": " + history);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void scriptsHaveTheSameOutcomes(boolean isUnix) throws Exception {
        for (long seed = 0; seed < SCRIPTS; seed++) {
            Path foreign = path("foreign" + seed);
            SocketAddress address = isUnix ? UnixDomainSocketAddress.of(foreign)
                    : new InetSocketAddress(InetAddress.getLoopbackAddress(), 0);
            try (Subject java = Subject.ofJava(address, isUnix);
                    Subject ours = Subject.ofOurs(isUnix ? path("ours").toString() : "tcp:127.0.0.1:0")) {
                run(java, ours, isUnix, seed);
            }
            Files.deleteIfExists(foreign);
        }
    }
}
