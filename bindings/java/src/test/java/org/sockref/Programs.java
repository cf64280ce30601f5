package org.sockref;

import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;

/** What children of the tests run. */
public final class Programs {
    private static final List<Object> HELD = new ArrayList<>();

    private Programs() {
    }

    /**
     * Run one.
     *
     * @param arguments its name, and what it takes
     * @throws Exception what it did not expect
     */
    public static void main(String[] arguments) throws Exception {
        switch (arguments[0]) {
            case "refused" -> refused(arguments[1]);
            case "hold-default" -> holdDefault(arguments[1]);
            case "hold" -> hold(arguments[1], arguments[2]);
            case "open" -> open(arguments[1]);
            case "slow" -> slow(Path.of(arguments[1]));
            case "slow-cancel" -> slowCancel(Path.of(arguments[1]));
            case "load" -> load();
            case "many" -> many(Path.of(arguments[1]));
            case "full" -> full(Path.of(arguments[1]));
            case "full-futures" -> fullFutures(Path.of(arguments[1]));
            case "no-threads" -> noThreads(Path.of(arguments[1]));
            case "share" -> share(Path.of(arguments[1]), List.of(arguments).subList(2, arguments.length));
            default -> throw new IllegalArgumentException(arguments[0]);
        }
    }

    private static void say(String line) {
        byte[] bytes = (line + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }

    private static void refused(String path) {
        try {
            SocketReference.listen(path).close();
            say("listened");
        } catch (SockrefException e) {
            say(e.code() + " " + e.errno() + " " + e.path());
        }
    }

    private static void holdDefault(String directory) throws Exception {
        Registry registry = new Registry(Options.builder().directory(directory).guard(0).build());
        Options alone = Options.builder().share(false).unique(true).build();
        List<SocketReference> references = List.of(registry.listen(), registry.listen(alone),
                registry.listen(directory + "/chosen"));
        HELD.add(references);
        say("held " + String.join(" ", references.stream().map(SocketReference::path).toList()));
        System.in.read();
    }

    /** Hold a name in every way, and end in one. */
    private static void hold(String directory, String end) throws Exception {
        HELD.add(SocketReference.listen(directory + "/plain"));
        SocketReference echo = SocketReference.startListener(directory + "/echo").get();
        echo.serveEcho();
        HELD.add(echo);
        SocketReference served = SocketReference.listen(directory + "/served");
        served.serve(new Handlers() {
            @Override
            public void onData(Connection connection, byte[] data) throws Exception {
                connection.write(data);
            }
        });
        HELD.add(served);
        HELD.add(Scene.dial(Path.of(directory, "served")));
        HELD.add(SocketReference.listen(directory + "/delayed", Options.builder().cleanupDelayMs(60_000).build()));
        Registry registry = new Registry();
        HELD.add(registry);
        HELD.add(registry.listen(directory + "/other"));
        say("held");
        switch (end) {
            case "main" -> {
            }
            case "exit" -> System.exit(0);
            case "uncaught" -> throw new IllegalStateException("as intended");
            case "halt" -> Runtime.getRuntime().halt(0);
            case "hook" -> {
                Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                    try {
                        HELD.add(SocketReference.listen(directory + "/late"));
                        say("late");
                    } catch (SockrefException e) {
                        say("late: " + e);
                    }
                }));
                System.exit(0);
            }
            case "busy" -> {
                // Threads are in the middle of everything when the end comes.
                for (int i = 0; i < 4; i++) {
                    String path = directory + "/busy" + i;
                    Thread thread = new Thread(() -> {
                        while (true) {
                            try {
                                SocketReference.startListener(path).thenAccept(SocketReference::close);
                                SocketReference.listen(path).close();
                            } catch (Exception ending) {
                                // ESOCKREF_SHUTDOWN.
                            }
                        }
                    });
                    thread.setDaemon(true);
                    thread.start();
                }
                System.in.read();
                System.exit(0);
            }
            default -> System.in.read();
        }
    }

    /** A service is open, and main returns. */
    private static void open(String path) throws Exception {
        SocketReference reference = SocketReference.startListener(path).get();
        reference.serve(new Handlers() { });
        HELD.add(reference);
        say("open");
    }

    /** A start waits for a removal that takes 500 ms; neither this thread nor the loop's is blocked meanwhile. */
    private static void slow(Path path) throws Exception {
        SocketReference old = SocketReference.listen(path);
        EventLoop loop = EventLoop.get();
        long began = System.nanoTime();
        Thread closer = new Thread(old::close);
        closer.start();
        while (Sockref.isSocketActive(path)) {
            Thread.onSpinWait();
        }
        long starting = System.nanoTime();
        CompletableFuture<SocketReference> start = SocketReference.startListener(path);
        long called = System.nanoTime() - starting;
        AtomicLong loopTicks = new AtomicLong();
        long ticks = 0;
        while (!start.isDone()) {
            loop.execute(loopTicks::incrementAndGet);
            Thread.sleep(1);
            ticks++;
        }
        long waited = System.nanoTime() - began;
        try (SocketReference reference = start.get()) {
            say("called " + called / 1_000_000 + " waited " + waited / 1_000_000 + " ticks " + ticks + " loop "
                    + loopTicks.get() + " active " + reference.isActive());
        }
        closer.join();
    }

    /** Starts that wait are cancelled, in the three ways of a future. */
    private static void slowCancel(Path path) throws Exception {
        LiveCounts before = Sockref.liveCounts();
        SocketReference old = SocketReference.listen(path);
        Thread closer = new Thread(old::close);
        closer.start();
        while (Sockref.isSocketActive(path)) {
            Thread.onSpinWait();
        }
        CompletableFuture<SocketReference> cancelled = SocketReference.startListener(path);
        CompletableFuture<SocketReference> late = SocketReference.startListener(path).orTimeout(50, MILLISECONDS);
        Registry registry = new Registry();
        CompletableFuture<SocketReference> other = registry.startListener(path);
        boolean won = cancelled.cancel(true);
        String problem = "none";
        try {
            late.get();
        } catch (ExecutionException e) {
            problem = e.getCause().getClass().getSimpleName();
        }
        boolean waiting = closer.isAlive();
        closer.join();
        registry.close();
        String closed = "none";
        try {
            other.get().close();
        } catch (ExecutionException e) {
            closed = ((SockrefException) e.getCause()).code();
        }
        Sockref.drain(Scene.LONG);
        // The other registry's start has told its end, but its last moves may still be under way on the loop.
        long until = System.nanoTime() + Scene.LONG.toNanos();
        while (!Sockref.liveCounts().equals(before) && System.nanoTime() < until) {
            Thread.sleep(1);
        }
        say("cancelled " + won + " " + problem + " " + waiting + " " + closed + " "
                + Sockref.liveCounts().equals(before) + " " + Scene.exists(path));
    }

    private static void load() {
        NativeLoader.load();
        NativeLoader.load();
        say("version " + Sockref.version() + " " + String.join(" ", Shim.identity()));
    }

    private static Options options(List<String> words) {
        Options.Builder options = Options.builder();
        for (String word : words) {
            switch (word) {
                case "alone" -> options.share(false);
                case "bound" -> options.bindOnly(true);
                case "exclusive" -> options.exclusive(true);
                case "guarded" -> options.guard(2);
                default -> options.mode(Integer.parseInt(word, 8));
            }
        }
        return options.build();
    }

    /** Hold a path as the lines of standard input say; its answers begin with their words. */
    private static void share(Path path, List<String> words) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        SocketReference reference = SocketReference.getOrCreate("@unused-" + ProcessHandle.current().pid());
        say("ready");
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            switch (command) {
                case "start" -> {
                    try {
                        SocketReference old = reference;
                        reference = SocketReference.listen(path, options(words));
                        old.close();
                        say("start " + (reference.isOwner() ? "owner" : "joiner"));
                    } catch (SockrefException e) {
                        say("start " + e.code() + ": " + e.getMessage());
                    }
                }
                case "status" -> say("status " + (reference.isActive() ? "active " : "inactive ")
                        + (reference.isOwner() ? "owner " : "joiner ") + reference.holderCount());
                case "watch" -> {
                    reference.onEvent(event -> say("heard " + event));
                    say("watch");
                }
                case "serve" -> {
                    reference.serveEcho();
                    say("serve");
                }
                case "guard" -> {
                    try {
                        say("guard " + Sockref.guardStatus());
                    } catch (SockrefException e) {
                        say("guard " + e.code() + ": " + e.getMessage());
                    }
                }
                case "close" -> {
                    reference.close();
                    say("close");
                }
                default -> throw new IllegalArgumentException(command);
            }
        }
    }

    /** Starts that nobody waits for. */
    private static void many(Path directory) throws Exception {
        for (int i = 0; i < 500; i++) {
            HELD.add(SocketReference.startListener(directory.resolve("s" + i)));
        }
        say("started");
    }

    private static volatile boolean isFull;
    private static Object[] heap;

    /** Not an object more has room. */
    private static void fillHeap() {
        for (int size = 1 << 20; size > 0; size /= 16) {
            try {
                while (true) {
                    Object[] more = new Object[size];
                    more[0] = heap;
                    heap = more;
                }
            } catch (OutOfMemoryError full) {
                // Smaller ones may have room.
            }
        }
    }

    /** A connection ends where the heap is full: nobody can be told, but it is closed. */
    private static void full(Path path) throws Exception {
        List<Connection> seen = new CopyOnWriteArrayList<>();
        try (SocketReference reference = SocketReference.listen(path)) {
            reference.serve(new Handlers() {
                @Override
                public void onConnection(Connection connection) {
                    seen.add(connection);
                    if (seen.size() == 2) {
                        fillHeap();
                    }
                    connection.destroy();
                    isFull = seen.size() == 2;
                }
            });
            // All that is needed is loaded by the first one.
            Scene.receive(Scene.dial(path), 1);
            SocketChannel peer = Scene.dial(path);
            while (!isFull) {
                Thread.onSpinWait();
            }
            Connection connection = seen.get(1);
            long until = System.nanoTime() + 5_000_000_000L;
            while (connection.isOpen() && System.nanoTime() < until) {
                Thread.onSpinWait();
            }
            heap = null;
            Scene.receive(peer, 1);
            say("open " + connection.isOpen());
        }
    }

    /** What becomes of futures where the heap is full when their outcome is there. */
    private static void fullFutures(Path directory) throws Exception {
        SocketReference.startListener(directory.resolve("first")).get().close();
        LiveCounts before = Sockref.liveCounts();
        try (SockrefServerChannel server = SockrefServerChannel.listen(directory.resolve("s"))) {
            // All that is needed is loaded by the first ones.
            SockrefChannel.connectAsync(server.path()).get().close();
            server.accept().close();
            Full full = new Full();
            List<CompletableFuture<?>> starts = List.of(SocketReference.startListener(directory.resolve("a")),
                    SocketReference.startListener(directory.resolve("none/b")));
            List<CompletableFuture<?>> connects = List.of(SockrefChannel.connectAsync(server.path()),
                    SockrefChannel.connectAsync(directory + "/none"));
            full.end();
            say("starts " + outcomes(starts) + ", connects " + outcomes(connects));
            say("reads " + fullRead(server));
            say("accepts " + fullAccepts(server));
        }
        long until = System.nanoTime() + Scene.LONG.toNanos();
        while (!Sockref.liveCounts().equals(before) && System.nanoTime() < until) {
            System.gc();
        }
        say("left " + Sockref.liveCounts().equals(before));
    }

    /** The loop's thread, which goes on when the heap is full. */
    private static final class Full {
        private final CountDownLatch goesOn = new CountDownLatch(1);
        private volatile Thread loop;
        private volatile boolean hasGoneOn;

        Full() throws SockrefException {
            EventLoop own = EventLoop.get();
            own.execute(() -> {
                loop = Thread.currentThread(); // asked for its state before, for what that needs is loaded then
                Scene.uninterrupted(goesOn);
                own.execute(() -> hasGoneOn = true); // when outcomes have been told
                fillHeap();
                isFull = true;
            });
            while (loop == null || isWaiting()) {
                Thread.onSpinWait();
            }
        }

        private boolean isWaiting() {
            return loop != null && loop.getState() == Thread.State.TIMED_WAITING;
        }

        /** Until all is told, or waits for memory: then there is some. */
        void end() {
            goesOn.countDown();
            while (!hasGoneOn && !(isFull && isWaiting())) {
                Thread.onSpinWait();
            }
            isFull = false;
            heap = null;
        }
    }

    private static String fullRead(SockrefServerChannel server) throws Exception {
        ByteBuffer one = ByteBuffer.allocateDirect(1);
        try (SocketChannel peer = Scene.dial(Path.of(server.path())); SockrefChannel channel = server.accept()) {
            for (int i = 0; i < 2; i++) {
                CompletableFuture<Integer> read = channel.readAsync(ByteBuffer.allocateDirect(1));
                if (i == 1) {
                    fillHeap();
                }
                peer.write(one.clear());
                long until = System.nanoTime() + 5_000_000_000L;
                while (!read.isDone() && System.nanoTime() < until) {
                    Thread.onSpinWait();
                }
                heap = null;
                if (i == 1) {
                    return outcomes(List.of(read));
                }
            }
        }
        return "nothing";
    }

    /** How many connections and descriptors are left of those that could not be told. */
    private static String fullAccepts(SockrefServerChannel server) throws Exception {
        List<SocketChannel> peers = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            peers.add(Scene.dial(Path.of(server.path())));
        }
        long before = ChannelScene.descriptors();
        SockrefChannel[] accepted = new SockrefChannel[peers.size()];
        fillHeap();
        for (int i = 0; i < accepted.length; i++) {
            try {
                accepted[i] = server.accept();
            } catch (OutOfMemoryError full) {
                continue;
            }
        }
        heap = null;
        for (int i = 0; i < accepted.length; i++) {
            if (accepted[i] != null) {
                accepted[i].close();
            }
        }
        String left = server.connectionCount() + " " + (ChannelScene.descriptors() - before);
        for (SocketChannel peer : peers) {
            peer.close();
        }
        return left;
    }

    private static String outcomes(List<CompletableFuture<?>> futures) throws Exception {
        StringBuilder told = new StringBuilder();
        for (CompletableFuture<?> future : futures) {
            try {
                if (future.get(5, SECONDS) instanceof AutoCloseable opened) {
                    opened.close();
                }
                told.append("told ");
            } catch (ExecutionException e) {
                told.append("told ");
            } catch (TimeoutException e) {
                told.append("lost ");
            }
        }
        return told.toString().trim();
    }

    /** Take all that the system has for threads; give it back by the latch. */
    private static List<Thread> takeAllThreads(CountDownLatch end) {
        List<Thread> taken = new ArrayList<>();
        try {
            while (true) {
                Thread thread = new Thread(() -> Scene.uninterrupted(end));
                thread.setDaemon(true);
                thread.start();
                taken.add(thread);
            }
        } catch (OutOfMemoryError none) {
            return taken;
        }
    }

    private static String refusal(Callable<?> call) {
        try {
            return "nothing, but " + call.call();
        } catch (ExecutionException e) {
            return "told " + e.getCause().getClass().getSimpleName();
        } catch (Throwable t) {
            return "thrown " + t.getClass().getSimpleName();
        }
    }

    private static String noDirectMemory(Path directory, Options options) {
        ByteBuffer most = ByteBuffer.allocateDirect(1_000_000); // what is left of 1 MiB is less than a loop needs
        String told = refusal(() -> SocketReference.startListener(directory.resolve("next"), options).get());
        return most.capacity() > 0 ? told : "nothing";
    }

    /** What is left of calls that no thread could be started for. */
    private static void noThreads(Path directory) throws Exception {
        CountDownLatch begin = new CountDownLatch(1);
        List<Thread> first = takeAllThreads(begin);
        say("at first " + refusal(() -> SocketReference.listen(directory.resolve("first"))));
        begin.countDown();
        for (Thread thread : first) {
            thread.join();
        }
        SocketReference.listen(directory.resolve("first")).close();
        Options direct = Options.builder().executor(Runnable::run).build();
        say("next " + noDirectMemory(directory, direct));
        String path = directory + "/s";
        for (int i = 0; i < 2; i++) {
            long before = ChannelScene.descriptors();
            CountDownLatch end = new CountDownLatch(1);
            List<Thread> taken = takeAllThreads(end);
            String start = refusal(() -> SocketReference.startListener(directory.resolve("t"), direct).get());
            String connect = refusal(() -> SockrefChannel.connectAsync(path).get());
            String blocking = refusal(() -> SockrefChannel.connect(path));
            String server = refusal(() -> SockrefServerChannel.listen(path));
            String sweep = refusal(() -> Registry.DEFAULT.sweepAsync(directory).get());
            long left = ChannelScene.descriptors() - before;
            end.countDown();
            for (Thread thread : taken) {
                thread.join();
            }
            say("first " + start + ", " + connect + ", " + blocking + ", " + server + ", " + sweep + ", left " + left);
        }
        try (SockrefServerChannel server = SockrefServerChannel.listen(path, direct);
                SocketChannel peer = Scene.dial(Path.of(path)); SockrefChannel channel = server.accept()) {
            CountDownLatch end = new CountDownLatch(1);
            List<Thread> taken = takeAllThreads(end);
            long before = ChannelScene.descriptors();
            String read = refusal(() -> channel.readAsync(ByteBuffer.allocate(1)).get());
            long left = ChannelScene.descriptors() - before;
            end.countDown();
            for (Thread thread : taken) {
                thread.join();
            }
            say("then " + read + ", left " + left);
            CompletableFuture<Integer> next = channel.readAsync(ByteBuffer.allocate(1));
            peer.write(ByteBuffer.allocate(1));
            say("at last " + next.get());
        }
    }
}
