package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, names that several processes hold: L46 to L55. */
class SharingTest extends Scene {
    private final List<Child> children = new ArrayList<>();

    @AfterEach
    void endChildren() throws Exception {
        for (Child child : children) {
            child.kill();
        }
    }

    /** A program that will hold a path. */
    private Child child(Map<String, String> environment, Path path, String... options) throws Exception {
        List<Object> arguments = new ArrayList<>(List.of("share", path));
        arguments.addAll(List.of(options));
        Child child = Child.startInTree(List.of(), environment, Programs.class, arguments.toArray());
        children.add(child);
        return child;
    }

    private Child child(Path path, String... options) throws Exception {
        Child child = child(Map.of(), path, options);
        child.line("ready");
        return child;
    }

    private Child owner(String... options) throws Exception {
        Child child = child(path("s"), options);
        assertEquals("owner", child.ask("start"));
        return child;
    }

    private static BlockingQueue<SocketEvent> eventsOf(SocketReference reference) throws Exception {
        BlockingQueue<SocketEvent> events = new LinkedBlockingQueue<>();
        reference.onEvent(events::add);
        return events;
    }

    private static SocketEvent next(BlockingQueue<SocketEvent> events) throws Exception {
        SocketEvent event = events.poll(LONG.toSeconds(), TimeUnit.SECONDS);
        assertNotNull(event, "no event");
        return event;
    }

    private void assertEchoes() throws IOException {
        try (SocketChannel channel = dial(path("s"))) {
            byte[] bytes = {1, 0, 2};
            send(channel, bytes);
            assertArrayEquals(bytes, receive(channel, bytes.length));
        }
    }

    @Test
    void l46TwoProcessesStartOnePath() throws Exception {
        Child child = owner();
        child.ask("serve");
        assertEchoes();
        try (SocketReference joined = SocketReference.listen(path("s"));
                SocketReference joinedToo = get(SocketReference.startListener(path("s")))) {
            assertTrue(joined.isActive());
            assertFalse(joined.isOwner());
            assertEquals(2, joinedToo.referenceCount());
            SockrefException unbound = refused("ESOCKREF_CLOSED", joined::fd);
            assertTrue(unbound.getMessage().contains("another registry owns the name"), unbound.getMessage());
            assertEquals(path("s").toString(), unbound.path());
            assertEquals(2, joined.holderCount());
            assertEquals("active owner 2", child.ask("status"));
            assertEchoes();
        }
        assertEquals("active owner 1", child.ask("status"));
        assertEquals(0, child.leave());

        Child second = child(path("s"));
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            assertTrue(reference.isOwner());
            assertEquals("joiner", second.ask("start"));
            assertEquals(2, reference.holderCount());
            assertEquals("active joiner 2", second.ask("status"));
            reference.serveEcho();
            assertEchoes();
            assertEquals(0, second.leave());
            assertEquals(1, reference.holderCount());
        }
    }

    @Test
    void l47OwnerIsKilled() throws Exception {
        Child child = owner();
        SocketReference joined = SocketReference.listen(path("s"));
        SocketReference dup = joined.dup();
        BlockingQueue<SocketEvent> events = eventsOf(joined);
        BlockingQueue<SocketEvent> eventsToo = eventsOf(dup);
        child.kill();
        assertEquals(SocketEvent.LOST, next(events));
        assertEquals(SocketEvent.LOST, next(eventsToo));
        assertFalse(joined.isActive());
        assertEquals(0, joined.holderCount());
        refused("ESOCKREF_CLOSED", joined::serveEcho);
        try (SocketReference fresh = SocketReference.listen(path("s"))) {
            assertTrue(fresh.isOwner());
            assertEquals(1, fresh.holderCount());
            joined.close();
            dup.close();
            assertTrue(fresh.isActive());
            fresh.serveEcho();
            assertEchoes();
        }
        assertEquals(List.of(), left());
        assertTrue(events.isEmpty() && eventsToo.isEmpty());
    }

    @Test
    void l48OnlyHolderIsKilled() throws Exception {
        Child child = owner();
        child.ask("serve");
        for (Path file : List.of(path("s"), beside(path("s"), ".srlock"), beside(path("s"), ".srctl"))) {
            assertTrue(exists(file), file::toString);
        }
        child.kill();
        awaitNothing();
    }

    @Test
    void l49OwnerThatDoesNotServeHandsOver() throws Exception {
        Child child = owner();
        try (SocketReference joined = SocketReference.listen(path("s"));
                SocketChannel early = dial(path("s"))) {
            BlockingQueue<SocketEvent> events = eventsOf(joined);
            long inode = inode(path("s"));
            AtomicBoolean over = new AtomicBoolean();
            AtomicInteger dials = new AtomicInteger();
            AtomicReference<Throwable> problem = new AtomicReference<>();
            Thread dialer = new Thread(() -> {
                try {
                    while (!over.get() && dials.get() < 2000) {
                        dial(path("s")).close();
                        dials.incrementAndGet();
                    }
                } catch (Throwable t) {
                    problem.set(t);
                }
            });
            dialer.start();
            await("a connection", () -> dials.get() > 0 || problem.get() != null);
            child.ask("close");
            assertEquals(SocketEvent.OWNER, next(events));
            assertTrue(joined.isOwner() && joined.isActive());
            over.set(true);
            dialer.join();
            assertEquals(null, problem.get());
            assertEquals(inode, inode(path("s")));
            await("one holder", () -> joined.holderCount() == 1);
            // What waited in the old owner's queue is served by the new one.
            send(early, new byte[] {7});
            joined.serveEcho();
            assertArrayEquals(new byte[] {7}, receive(early, 1));
            assertEquals(0, child.leave());
            assertEchoes();
        }
        assertEquals(List.of(), left());
    }

    /** What an owner becomes is served by handlers in Java as by any owner's. */
    @Test
    void l49NewOwnerServesInTheListener() throws Exception {
        Child child = owner();
        try (SocketReference joined = SocketReference.listen(path("s"))) {
            joined.onEvent(event -> {
                assertEquals(SocketEvent.OWNER, event);
                joined.serve(new Handlers() {
                    @Override
                    public void onData(Connection connection, byte[] data) throws Exception {
                        connection.write(data);
                    }
                });
            });
            child.ask("close");
            assertEchoes();
        }
    }

    @Test
    void l50OwnerThatServesGoesOn() throws Exception {
        Child child = owner();
        child.ask("serve");
        SocketReference joined = SocketReference.listen(path("s"));
        BlockingQueue<SocketEvent> events = eventsOf(joined);
        child.ask("close");
        assertEchoes();
        assertTrue(joined.isActive());
        assertFalse(joined.isOwner());
        assertEquals(1, joined.holderCount());
        assertTrue(exists(path("s")));
        joined.close();
        awaitNothing();
        assertTrue(events.isEmpty());
        assertEquals(0, child.leave());
    }

    @Test
    void l51ExclusiveStartOfAnothersPath() throws Exception {
        Child child = owner();
        child.ask("serve");
        long inode = inode(path("s"));
        Options exclusive = Options.builder().exclusive(true).build();
        SockrefException problem = refused("ESOCKREF_BUSY", () -> SocketReference.listen(path("s"), exclusive));
        assertTrue(problem.getMessage().contains(Long.toString(child.process().pid())), problem.getMessage());
        refused("ESOCKREF_BUSY", SocketReference.startListener(path("s"), exclusive));
        assertFalse(Sockref.isSocketActive(path("s")));
        assertEquals(inode, inode(path("s")));
        assertEquals("active owner 1", child.ask("status"));
        assertEchoes();
        assertEquals(0, child.leave());
    }

    @Test
    void l52NotShared() throws Exception {
        Options alone = Options.builder().share(false).build();
        try (SocketReference reference = SocketReference.listen(path("s"), alone)) {
            assertEquals(List.of(path("s")), left());
            assertTrue(reference.isOwner());
            Child child = child(path("s"), "alone");
            String answer = child.ask("start");
            assertTrue(answer.startsWith("ESOCKREF_BUSY"), answer);
            assertEquals(0, child.leave());
            // Nothing tells one that would share whose socket it is.
            Child sharing = child(path("s"));
            answer = sharing.ask("start");
            assertTrue(answer.startsWith("ESOCKREF_FOREIGN"), answer);
            assertEquals(0, sharing.leave());
            reference.serveEcho();
            assertEchoes();
            assertEquals(List.of(path("s")), left());
        }
        Child child = owner();
        SockrefException problem = refused("ESOCKREF_BUSY", () -> SocketReference.listen(path("s"), alone));
        assertTrue(problem.getMessage().contains(Long.toString(child.process().pid())), problem.getMessage());
        assertEquals("active owner 1", child.ask("status"));
        assertEquals(0, child.leave());
    }

    @Test
    void l53ManyProcessesStartAtOneMoment() throws Exception {
        int count = 6;
        List<Child> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(child(Map.of(), path("s")));
        }
        for (Child child : all) {
            child.line("ready");
        }
        for (Child child : all) {
            child.write("start");
        }
        List<String> roles = new ArrayList<>();
        for (Child child : all) {
            roles.add(child.line("start").substring("start ".length()));
        }
        assertEquals(1, roles.stream().filter("owner"::equals).count(), roles::toString);
        assertEquals(count - 1, roles.stream().filter("joiner"::equals).count(), roles::toString);
        for (int i = 0; i < count; i++) {
            assertEquals("active " + roles.get(i) + " " + count, all.get(i).ask("status"));
        }
        int owner = roles.indexOf("owner");
        for (int i = 0; i < count; i++) {
            Child child = all.get((owner + 3 + i) % count);
            if (i % 2 == 0) {
                child.kill(); // the owner is the fourth, and ends in order
            } else {
                assertEquals(0, child.leave());
            }
        }
        awaitNothing();
    }

    @Test
    void l53OwnerIsKilledAmongMany() throws Exception {
        Child owner = owner();
        List<Child> joiners = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            joiners.add(child(Map.of(), path("s")));
        }
        for (Child child : joiners) {
            child.line("ready");
            assertEquals("joiner", child.ask("start"));
            child.ask("watch");
        }
        owner.kill();
        for (Child child : joiners) {
            assertEquals("heard LOST", child.line("heard"));
        }
        // All of them at once.
        for (Child child : joiners) {
            child.write("start");
        }
        int owners = 0;
        for (Child child : joiners) {
            owners += child.line("start").equals("start owner") ? 1 : 0;
        }
        assertEquals(1, owners);
        for (Child child : joiners) {
            child.kill();
        }
        awaitNothing();
    }

    @Test
    void l54NarrowerModeIsRefused() throws Exception {
        Child child = owner("660");
        Options narrow = Options.builder().mode(0600).build();
        SockrefException problem = refused("ESOCKREF_BUSY", () -> SocketReference.listen(path("s"), narrow));
        assertTrue(problem.getMessage().contains("0660") && problem.getMessage().contains("0600"),
                problem.getMessage());
        try (SocketReference joined = SocketReference.listen(path("s"), Options.builder().mode(0666).build())) {
            assertEquals(2, joined.holderCount());
            assertEquals("rw-rw----", java.nio.file.attribute.PosixFilePermissions.toString(
                    Files.getPosixFilePermissions(path("s"))));
        }
        assertEquals(0, child.leave());
    }

    private static int parentOf(int pid) throws IOException {
        String status = Files.readString(Path.of("/proc/" + pid + "/status"));
        return Integer.parseInt(status.replaceFirst("(?s).*\nPPid:\\s*(\\d+).*", "$1"));
    }

    @Test
    void l55StatusOfTheGuard() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"), Options.builder().guard(2).build());
                Registry registry = new Registry()) {
            assertTrue(reference.isOwner());
            int guard = Sockref.guardStatus();
            assertTrue(guard > 0);
            assertTrue(ProcessHandle.of(guard).orElseThrow().isAlive());
            assertNotEquals(ProcessHandle.current().pid(), parentOf(guard));
            assertTrue(ProcessHandle.current().descendants().noneMatch(process -> process.pid() == guard));
            assertEquals(guard, registry.guardStatus());
        }
        Registry closed = new Registry();
        closed.close();
        refused("ESOCKREF_SHUTDOWN", closed::guardStatus);

        Child child = child(path("s"), "guarded");
        assertEquals("0", child.ask("guard"));
        assertEquals("owner", child.ask("start"));
        int guard = Integer.parseInt(child.ask("guard"));
        assertNotEquals(child.process().pid(), parentOf(guard));
        assertEquals(0, child.leave());
        await("the guard ends with its process", () -> !exists(Path.of("/proc/" + guard)));
    }

    @Test
    void l55GuardIsNotFound() throws Exception {
        Map<String, String> nowhere = Map.of("SOCKREF_GUARD", path("nowhere").toString());
        Child demands = child(nowhere, path("s"), "guarded");
        demands.line("ready");
        String answer = demands.ask("start");
        assertTrue(answer.startsWith("ESOCKREF_UNSUPPORTED"), answer);
        answer = demands.ask("guard");
        assertTrue(answer.startsWith("ESOCKREF_UNSUPPORTED"), answer);
        assertEquals(0, demands.leave());
        Child child = child(nowhere, path("s"));
        child.line("ready");
        assertEquals("owner", child.ask("start"));
        assertEquals(0, child.leave());
    }
}
