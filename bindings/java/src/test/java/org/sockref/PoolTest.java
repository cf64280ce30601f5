package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.channels.ServerSocketChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.sockref.SocketPool.Policy;

/** Several names behind one. */
class PoolTest extends Scene {
    private static final int ROUNDS = 200;

    private static SocketPool pool(CompletableFuture<SocketPool> future) throws Exception {
        return future.get(LONG.toSeconds(), TimeUnit.SECONDS);
    }

    /** The path of a member that is picked, and given back. */
    private static String next(SocketPool pool) throws SockrefException {
        try (SocketReference picked = pool.pick()) {
            return picked.path();
        }
    }

    private static List<String> next(SocketPool pool, int count) throws SockrefException {
        List<String> picked = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            picked.add(next(pool));
        }
        return picked;
    }

    private List<String> paths(int count) {
        List<String> paths = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            paths.add(path("s." + i).toString());
        }
        return paths;
    }

    private void assertMembers(SocketPool pool) throws Exception {
        assertEquals(3, pool.size());
        assertEquals(paths(3), next(pool, 3));
        for (String path : paths(3)) {
            dial(Path.of(path)).close();
        }
        try (SocketReference one = pool.pick()) {
            assertEquals(2, one.referenceCount());
        }
        pool.close();
        assertEquals(List.of(), left());
    }

    @Test
    void g42NamesAreStartedOneAfterTheOther() throws Exception {
        assertMembers(SocketPool.listen(path("s"), 3, Options.NONE));
        assertMembers(SocketPool.listen(path("s").toString(), 3, Options.NONE));
        assertMembers(SocketPool.listen(path("s").toString().getBytes(), 3, Options.NONE));
    }

    @Test
    void g42NamesAreStartedSideBySide() throws Exception {
        assertMembers(pool(SocketPool.start(path("s"), 3, Options.NONE)));
        assertMembers(pool(SocketPool.start(path("s").toString(), 3, Options.NONE)));
        assertMembers(pool(SocketPool.start(path("s").toString().getBytes(), 3, Options.NONE)));
    }

    @Test
    void l72TwoNamesInTurn() throws Exception {
        SocketPool pool = SocketPool.listen(path("s"), 2, Options.NONE);
        assertEquals(paths(2), next(pool, 2));
        try (SocketReference picked = pool.pick()) {
            assertEquals(path("s.0").toString(), picked.path());
            pool.close();
            assertEquals(List.of(path("s.0")), sockets());
        }
        assertEquals(List.of(), left());
    }

    @Test
    void g42FreshNamesOfARegistry() throws Exception {
        Options inDirectory = Options.builder().directory(directory).build();
        try (Registry registry = new Registry(inDirectory);
                SocketPool listened = registry.listenPool(4, Options.NONE);
                SocketPool started = pool(registry.startPool(4, Options.NONE))) {
            assertEquals(8, registry.activeSocketCount());
            assertEquals(8, sockets().size());
            assertEquals(4, new HashSet<>(next(listened, 4)).size());
            assertEquals(4, new HashSet<>(next(started, 4)).size());
            assertFalse(Sockref.isSocketActive(next(started)));
        }
    }

    private static List<String> ports(int first, int count) {
        List<String> names = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            names.add("tcp:127.0.0.1:" + (first + i));
        }
        return names;
    }

    /** Where nobody listens on so many ports in a row, both ways take them. */
    private static void assertPortsInARow(int first) throws Exception {
        try (SocketPool pool = SocketPool.listen("tcp:127.0.0.1:" + first, 3, Options.NONE)) {
            assertEquals(ports(first, 3), next(pool, 3));
        }
        try (SocketPool pool = pool(SocketPool.start("tcp:127.0.0.1:" + first, 3, Options.NONE))) {
            assertEquals(ports(first, 3), next(pool, 3));
        }
        try (SocketPool pool = pool(SocketPool.start("tcp:127.0.0.1:00" + first, 3, Options.NONE))) {
            assertEquals(ports(first, 3), next(pool, 3));
        }
    }

    private static int freePort() throws Exception {
        try (SocketReference any = SocketReference.listen("tcp:127.0.0.1:0")) {
            return Integer.parseInt(any.path().substring(any.path().lastIndexOf(':') + 1));
        }
    }

    @Test
    void g42PortsInARow() throws Exception {
        AtomicReference<Throwable> last = new AtomicReference<>();
        await("ports that are free", () -> {
            try {
                assertPortsInARow(freePort());
                return true;
            } catch (Exception e) {
                last.set(e);
                return false;
            }
        }, last::get);
    }

    @Test
    void g42PortsThatTheSystemChooses() throws Exception {
        try (SocketPool listened = SocketPool.listen("tcp:127.0.0.1:0", 3, Options.NONE);
                SocketPool started = pool(SocketPool.start("tcp:127.0.0.1:0", 3, Options.NONE))) {
            List<String> names = next(listened, 3);
            names.addAll(next(started, 3));
            assertEquals(6, new HashSet<>(names).size());
        }
    }

    @Test
    void g42WhatHasNoNameIsNotBegun() throws Exception {
        RegistryStats before = Sockref.stats();
        refused("ESOCKREF_PATH", () -> SocketPool.listen("tcp:127.0.0.1:65534", 3, Options.NONE));
        refused("ESOCKREF_PATH", SocketPool.start("tcp:127.0.0.1:65534", 3, Options.NONE));
        String text = "tcp:\u00e4:65534";
        assertEquals(text, refused("ESOCKREF_PATH", SocketPool.start(text, 3, Options.NONE)).path());
        assertEquals(before, Sockref.stats());
        refused("ESOCKREF_PATH", SocketPool.start("tcp:127.0.0.1", 3, Options.NONE));
    }

    /** Of eleven, ten have room in a socket's address. */
    @Test
    void g42NamesOfWhichOneIsTooLongAreNotBegun() throws Exception {
        RegistryStats before = Sockref.stats();
        String leaf = directory.getFileName().toString();
        String text = "@" + leaf + "x".repeat(104 - leaf.length());
        refused("ESOCKREF_PATHLEN", () -> SocketPool.listen(text, 11, Options.NONE));
        assertEquals(text + ".10", refused("ESOCKREF_PATHLEN", SocketPool.start(text, 11, Options.NONE)).path());
        assertEquals(before, Sockref.stats());
        pool(SocketPool.start(text, 10, Options.NONE)).close();
    }

    @Test
    void g42WhatNamesAreMadeOfIsAName() throws Exception {
        for (String wrong : List.of("", "relative", "@", directory + "/", directory + "/..", directory + "/.")) {
            refused("ESOCKREF_PATH", SocketPool.start(wrong, 2, Options.NONE));
        }
        try (Registry registry = new Registry(Options.builder().maxReferences(2).build());
                SocketReference held = registry.listen(path("s"), Options.NONE);
                SocketReference used = held.dup();
                SocketPool pool = pool(registry.startPool(path("s"), 2, Options.NONE))) {
            assertEquals(2, pool.size()); // it is one, though it may have no more references
            assertEquals(2, used.referenceCount());
        }
    }

    @Test
    void g42AllOrNone() throws Exception {
        try (ServerSocketChannel server = foreign(path("foreign.2"))) {
            assertTrue(server.isOpen());
            refused("ESOCKREF_FOREIGN", () -> SocketPool.listen(path("foreign"), 4, Options.NONE));
            assertEquals(0, left().size());
            refused("ESOCKREF_FOREIGN", SocketPool.start(path("foreign"), 4, Options.NONE));
            await("the others are released", () -> !Sockref.isSocketActive(path("foreign.0"))
                    && !Sockref.isSocketActive(path("foreign.1")) && !Sockref.isSocketActive(path("foreign.3")));
        }
    }

    @Test
    void g42ACancelledStartLeavesNothing() throws Exception {
        for (int i = 0; i < ROUNDS / 10; i++) {
            CompletableFuture<SocketPool> future = SocketPool.start(path("s"), 10, Options.NONE);
            if (i % 2 == 0) {
                Thread.yield();
            }
            if (future.cancel(true)) {
                assertThrows(CancellationException.class, future::join);
            } else {
                future.join().close();
            }
        }
        Sockref.drain(LONG);
        await("no name is active", () -> paths(10).stream().noneMatch(Sockref::isSocketActive));
    }

    /** No outcome of a start is told meanwhile. */
    @Test
    void g42CancellingEndsStartsWhoseOutcomeWaits() throws Exception {
        long failed = Sockref.stats().failed();
        try (Blocked blocked = new Blocked(path("blocks"))) {
            CompletableFuture<SocketPool> future = SocketPool.start(path("s"), 3, Options.NONE);
            await("all are started", () -> paths(3).stream().allMatch(Sockref::isSocketActive));
            assertTrue(future.cancel(false));
        }
        await("none is active", () -> paths(3).stream().noneMatch(Sockref::isSocketActive));
        assertEquals(failed + 3, Sockref.stats().failed());
    }

    @Test
    void g42APoolThatComesTooLateIsClosed() throws Exception {
        try (SocketReference member = SocketReference.listen(path("s"))) {
            SocketPool pool = new SocketPool();
            pool.add(member);
            PoolOperation.give(pool, CompletableFuture.completedFuture(null));
            assertEquals(1, member.referenceCount());
            refused("ESOCKREF_CLOSED", pool::pick);
        }
    }

    @Test
    void g42CountsAreChecked() throws Exception {
        for (int count : new int[] {Integer.MIN_VALUE, -1, 0, 1025}) {
            assertThrows(IllegalArgumentException.class, () -> SocketPool.listen(path("s"), count, Options.NONE));
            assertTrue(problem(SocketPool.start(path("s"), count, Options.NONE)) instanceof IllegalArgumentException);
        }
    }

    @Test
    void g42MembersComeAndGo() throws Exception {
        try (SocketPool pool = new SocketPool(); Registry other = new Registry();
                SocketReference a = SocketReference.listen(path("a"));
                SocketReference b = other.listen(path("b"))) {
            refused("ESOCKREF_NOTFOUND", pool::pick);
            pool.add(a);
            pool.add(b);
            assertEquals(2, a.referenceCount());
            refused("ESOCKREF_EXISTS", () -> pool.add(a));
            assertEquals(2, pool.size());
            pool.remove(a);
            assertEquals(1, a.referenceCount());
            refused("ESOCKREF_NOTFOUND", () -> pool.remove(a));
            assertEquals(List.of(b.path(), b.path()), next(pool, 2));
            SocketReference closed = a.dup();
            closed.close();
            refused("ESOCKREF_CLOSED", () -> pool.add(closed));
            refused("ESOCKREF_CLOSED", () -> pool.remove(closed));
        }
    }

    @Test
    void g42AClosedPoolSaysSo() throws Exception {
        try (SocketReference reference = SocketReference.listen(path("s"))) {
            SocketPool pool = new SocketPool();
            pool.add(reference);
            SocketReference picked = pool.pick();
            pool.close();
            pool.close();
            assertEquals(2, reference.referenceCount());
            assertTrue(picked.isActive());
            picked.close();
            assertEquals(0, pool.size());
            refused("ESOCKREF_CLOSED", pool::pick);
            refused("ESOCKREF_CLOSED", () -> pool.add(reference));
            refused("ESOCKREF_CLOSED", () -> pool.remove(reference));
        }
    }

    private void listenAndDrop() throws Exception {
        assertEquals(2, SocketPool.listen(path("s"), 2, Options.NONE).size());
        assertEquals(2, pool(SocketPool.start(path("s"), 2, Options.NONE)).size());
    }

    @Test
    void g42ADroppedPoolIsReleased() throws Exception {
        listenAndDrop();
        awaitCollected("its members are released", () -> paths(2).stream().noneMatch(Sockref::isSocketActive));
    }

    @Test
    void g42CloseRacesPicks() throws Exception {
        for (int i = 0; i < ROUNDS; i++) {
            SocketPool pool = SocketPool.listen(path("s"), 2, Options.NONE);
            onThreads(3, () -> {
                while (true) {
                    try (SocketReference picked = pool.pick(Policy.LEAST_REFERENCES)) {
                        assertTrue(picked.isActive());
                    } catch (SockrefException e) {
                        assertEquals("ESOCKREF_CLOSED", e.code());
                        return null;
                    }
                    pool.close();
                }
            });
            assertEquals(List.of(), left());
        }
    }

    @Test
    void g43OneAfterTheOtherAndPastWhatIsOver() throws Exception {
        try (SocketPool pool = SocketPool.listen(path("s"), 3, Options.NONE)) {
            List<String> all = paths(3);
            List<String> twice = new ArrayList<>(all);
            twice.addAll(all);
            assertEquals(twice, next(pool, 6));
            Sockref.cleanup(all.get(1));
            assertEquals(List.of(all.get(0), all.get(2), all.get(0)), next(pool, 3));
            assertEquals(3, pool.size());
            Sockref.cleanup(all.get(0));
            Sockref.cleanup(all.get(2));
            refused("ESOCKREF_NOTFOUND", pool::pick);
        }
    }

    @Test
    void g43TheOneWithTheFewestReferences() throws Exception {
        try (SocketPool pool = SocketPool.listen(path("s"), 3, Options.NONE);
                SocketReference first = pool.pick(Policy.LEAST_REFERENCES);
                SocketReference second = pool.pick(Policy.LEAST_REFERENCES)) {
            assertEquals(paths(2), List.of(first.path(), second.path()));
            try (SocketReference third = pool.pick(Policy.LEAST_REFERENCES)) {
                assertEquals(paths(3).get(2), third.path());
                second.close();
                for (int i = 0; i < 3; i++) {
                    try (SocketReference again = pool.pick(Policy.LEAST_REFERENCES)) {
                        assertEquals(second.path(), again.path());
                    }
                }
            }
        }
    }

    @Test
    void g43EveryMemberIsAtItsLimit() throws Exception {
        try (Registry registry = new Registry(Options.builder().maxReferences(2).build());
                SocketPool pool = registry.listenPool(path("s"), 2, Options.NONE);
                SocketReference one = pool.pick(); SocketReference two = pool.pick()) {
            assertEquals(paths(2), List.of(one.path(), two.path()));
            refused("ESOCKREF_LIMIT", pool::pick);
            one.close();
            assertEquals(one.path(), next(pool));
        }
    }
}
