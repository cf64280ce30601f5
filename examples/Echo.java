// One name, shared and served: java -cp sockref.jar Echo.java PATH
//
// Starts a listener, has the library serve it, starts the same path again and so shares it, dials it, lets one
// reference go to the collector and closes the other, and shows that the file is gone. Exits with 1 if anything
// is not as it should be.

import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.sockref.SocketReference;
import org.sockref.Sockref;

public class Echo {
    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) {
            System.err.println("usage: java Echo.java PATH");
            System.exit(2);
        }
        Path path = Path.of(arguments[0]).toAbsolutePath();
        System.out.println("sockref " + Sockref.version());

        SocketReference first = SocketReference.startListener(path).get();
        first.serveEcho();
        System.out.println("started " + first.path() + ", owner: " + first.isOwner());
        expect("references", 1, first.referenceCount());
        expect("active names", 1, Sockref.activeSocketCount());

        share(path, first);

        String told = dial(path, "round and round");
        System.out.println("sent and came back: " + told);
        expect("the echo", "round and round", told);

        // The second reference was dropped without close: the collector's Cleaner releases it.
        long deadline = System.nanoTime() + 10_000_000_000L;
        while (first.referenceCount() > 1 && System.nanoTime() < deadline) {
            System.gc();
            Thread.onSpinWait();
        }
        expect("references after the collection", 1, first.referenceCount());
        expect("the file is there", true, Files.exists(path, LinkOption.NOFOLLOW_LINKS));

        first.close();
        expect("references after close", 0, first.referenceCount());
        expect("active names", 0, Sockref.activeSocketCount());
        List<String> left = list(path.getParent());
        System.out.println("left in " + path.getParent() + ": " + left);
        expect("the file is there", false, left.contains(path.getFileName().toString()));
    }

    private static void share(Path path, SocketReference first) throws IOException {
        SocketReference second = SocketReference.listen(path);
        System.out.println("started again " + second.path());
        expect("references", 2, second.referenceCount());
        expect("references, the first says", 2, first.referenceCount());
        expect("active names", 1, Sockref.activeSocketCount());
    }

    private static String dial(Path path, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        ByteBuffer answer = ByteBuffer.allocate(bytes.length);
        try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(path))) {
            channel.write(ByteBuffer.wrap(bytes));
            while (answer.hasRemaining() && channel.read(answer) >= 0) {
                continue;
            }
        }
        return new String(answer.array(), 0, answer.position(), StandardCharsets.UTF_8);
    }

    private static List<String> list(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    private static void expect(String what, Object expected, Object seen) {
        System.out.println(what + ": " + seen);
        if (!expected.toString().equals(seen.toString())) {
            System.err.println("expected: " + expected);
            System.exit(1);
        }
    }
}
