import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.sockref.SocketReference;
import org.sockref.Sockref;

/** A front end of the core: it has a reference to the name that the core has started. */
class Front {
    static String say(String path, String words) throws IOException {
        try (SocketChannel peer = SocketChannel.open(UnixDomainSocketAddress.of(path))) {
            peer.write(ByteBuffer.wrap(words.getBytes(StandardCharsets.UTF_8)));
            ByteBuffer answer = ByteBuffer.allocate(100);
            peer.read(answer);
            return new String(answer.array(), 0, answer.position(), StandardCharsets.UTF_8);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 1) {
            throw new IllegalArgumentException("usage: java Front PATH");
        }
        String path = arguments[0];
        Sockref.version(); // before the core: where the library is not installed, the one of the jar is taken
        System.load(Path.of("libcore.so").toAbsolutePath().toString());
        if (core.core_start(path) < 0) {
            throw new IOException(core.core_error());
        }
        try (SocketReference reference = SocketReference.getExisting(path).orElseThrow()) {
            System.out.println("references: " + core.core_references()); // the core's and ours
            core.core_stop();
            System.out.println("without the core's: " + reference.referenceCount());
            System.out.println("the core says " + say(path, "still here"));
        }
        System.out.println("active: " + Sockref.isSocketActive(path));
    }
}
