// Hold a name together with other processes, and serve it whenever this one owns it:
// java -cp sockref.jar Share.java PATH
//
// The first line of input starts the name, each further one has the program tell what it knows of it, and the end of
// the input ends it. Where the owner is killed, the name is started anew.

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.file.Path;
import org.sockref.SocketEvent;
import org.sockref.SocketReference;
import org.sockref.SockrefException;

public class Share {
    private final Path path;
    private SocketReference reference;
    private boolean serves;

    private Share(Path path) {
        this.path = path;
    }

    private static void say(String what) {
        System.out.println("Java   (" + ProcessHandle.current().pid() + "): " + what);
    }

    private synchronized void start() throws IOException {
        reference = SocketReference.listen(path);
        serves = false;
        tell();
        try {
            reference.onEvent(this::hear);
        } catch (SockrefException lost) { // in this moment
            hear(SocketEvent.LOST);
        }
        serveIfOwner();
    }

    /** On the thread of the handlers. */
    private synchronized void hear(SocketEvent event) {
        if (reference == null) {
            return;
        }
        try {
            if (event == SocketEvent.LOST) {
                say("lost the owner, start anew");
                reference.close();
                start();
            } else if (event == SocketEvent.OWNER && reference.isOwner()) {
                tell();
                serveIfOwner();
            }
        } catch (IOException error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private void serveIfOwner() throws IOException {
        if (reference.isOwner() && !serves) {
            reference.serveEcho();
            serves = true;
        }
    }

    private synchronized void tell() {
        say((reference.isOwner() ? "owner" : "joined") + ", holders: " + reference.holderCount());
    }

    private synchronized void close() {
        if (reference != null) {
            reference.close();
        }
        reference = null;
        say("released");
    }

    public static void main(String[] arguments) throws IOException {
        if (arguments.length != 1) {
            System.err.println("usage: java Share.java PATH");
            System.exit(2);
        }
        Share holder = new Share(Path.of(arguments[0]).toAbsolutePath());
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        say("ready");
        for (int lines = 0; input.readLine() != null; lines++) {
            if (lines == 0) {
                holder.start();
            } else {
                holder.tell();
            }
        }
        holder.close();
        System.exit(0); // what is served still is handed to another holder
    }
}
