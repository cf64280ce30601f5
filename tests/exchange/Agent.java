import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.zip.CRC32;
import org.sockref.SockrefChannel;
import org.sockref.SockrefServerChannel;

/** One end of a connection, for exchanges between two languages; agent.c tells what it does. */
final class Agent {
    private static final int HEAD = 9;
    private static final int PIECE = 65536;

    private final SockrefChannel channel;
    private final boolean isClient;
    private char mode;
    private long bytes;
    private long sent;
    private long received;
    private final CRC32 sentSum = new CRC32();
    private final CRC32 receivedSum = new CRC32();
    private boolean endSeen;
    private volatile boolean failed;

    private Agent(SockrefChannel channel, boolean isClient, char mode, long bytes) {
        this.channel = channel;
        this.isClient = isClient;
        this.mode = mode;
        this.bytes = bytes;
    }

    private boolean isEndless() {
        return mode == 'a' || mode == 'b';
    }

    private void writeAll(ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }

    private void pour() {
        SplittableRandom random = new SplittableRandom();
        byte[] piece = new byte[PIECE];
        ByteBuffer buffer = ByteBuffer.allocateDirect(PIECE);
        try {
            while (isEndless() || sent < bytes) {
                int length = isEndless() ? PIECE : (int) Math.min(PIECE, bytes - sent);
                random.nextBytes(piece);
                buffer.clear().put(piece, 0, length).flip();
                sentSum.update(piece, 0, length);
                sent += length;
                writeAll(buffer);
            }
            channel.shutdownOutput();
        } catch (IOException error) {
            fail(error);
        }
    }

    private void fail(IOException error) {
        failed = true;
        if (!isEndless()) {
            error.printStackTrace();
        }
    }

    private void readHead() throws IOException {
        ByteBuffer head = ByteBuffer.allocate(HEAD);
        while (head.hasRemaining()) {
            if (channel.read(head) < 0) {
                throw new IOException("the peer ended too early");
            }
        }
        mode = (char) head.get(0);
        bytes = head.getLong(1);
    }

    private void writeHead() throws IOException {
        writeAll(ByteBuffer.allocate(HEAD).put(0, (byte) mode).putLong(1, bytes));
    }

    private void readToEnd() throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(PIECE);
        while (channel.read(buffer.clear()) >= 0) {
            buffer.flip();
            received += buffer.remaining();
            receivedSum.update(buffer);
            if (mode == (isClient ? 'a' : 'b') && received >= bytes) {
                channel.close();
                return;
            }
        }
        endSeen = true;
    }

    private void run() throws InterruptedException {
        Thread writer = new Thread(this::pour);
        try (channel) {
            if (isClient) {
                writeHead();
            } else {
                readHead();
            }
            if (isClient || mode != 'h') {
                writer.start();
            }
            readToEnd();
            if (isEndless()) {
                channel.close();
            } else if (!isClient && mode == 'h') {
                writer.start();
            }
            writer.join();
        } catch (IOException error) {
            fail(error);
        }
        writer.join();
        synchronized (Agent.class) {
            System.out.printf(
                    "{\"mode\":\"%c\",\"sent\":%d,\"sent_crc\":%d,\"received\":%d,\"received_crc\":%d,\"closes\":%d,"
                            + "\"end\":%b,\"error\":%b}%n",
                    mode, sent, sentSum.getValue(), received, receivedSum.getValue(), channel.isOpen() ? 0 : 1, endSeen,
                    failed);
        }
    }

    private static void serve(String name, int count) throws Exception {
        List<Thread> threads = new ArrayList<>();
        try (SockrefServerChannel server = SockrefServerChannel.listen(name)) {
            System.out.println("ready " + server.path());
            for (int i = 0; i < count; i++) {
                Agent agent = new Agent(server.accept(), false, ' ', 0);
                Thread thread = new Thread(() -> {
                    try {
                        agent.run();
                    } catch (InterruptedException end) {
                        Thread.currentThread().interrupt();
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("serve")) {
            serve(arguments[1], Integer.parseInt(arguments[2]));
        } else {
            new Agent(SockrefChannel.connect(arguments[1]), true, arguments[2].charAt(0), Long.parseLong(arguments[3])).run();
        }
    }
}
