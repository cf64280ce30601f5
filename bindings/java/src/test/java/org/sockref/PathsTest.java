package org.sockref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** tests/lifecycle.md, names and what stands in their way: L13 to L19, L24, L39, L43. */
class PathsTest extends Scene {
    /** The only entry of a directory whose name begins so. */
    private Path only(Path where, String beginning) throws Exception {
        try (Stream<Path> files = Files.list(where)) {
            List<Path> found = files.filter(file -> file.getFileName().toString().startsWith(beginning)).toList();
            assertEquals(1, found.size(), found::toString);
            return found.get(0);
        }
    }

    private byte[] bytes(String leaf, int... more) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes((directory + "/" + leaf).getBytes(StandardCharsets.UTF_8));
        for (int b : more) {
            out.write(b);
        }
        return out.toByteArray();
    }

    @Test
    void l13BadPaths() throws Exception {
        Files.createDirectory(path("d"));
        List<String> paths = new ArrayList<>(List.of("", "relative", "@", directory + "/d/../s", directory + "/..",
                directory + "/s\n", directory + "/s\u007f", directory + "/s\0", directory + "/s\0t", directory + "/s/",
                directory + "/d/", "/", directory + "/."));
        for (String path : paths) {
            for (SockrefException problem : List.of(
                    refused("ESOCKREF_PATH", () -> SocketReference.listen(path)),
                    refused("ESOCKREF_PATH", SocketReference.startListener(path)),
                    refused("ESOCKREF_PATH", () -> SocketReference.getOrCreate(path)),
                    refused("ESOCKREF_PATH", () -> SocketReference.getExisting(path)),
                    refused("ESOCKREF_PATH", () -> Sockref.cleanup(path)))) {
                assertEquals(22, problem.errno());
                assertEquals(path, problem.path());
                assertNull(problem.syscall());
            }
            assertFalse(Sockref.isSocketActive(path));
            assertFalse(Sockref.isSocketActive(path.getBytes(StandardCharsets.UTF_8)));
        }
        String tooLong = directory + "/" + "x".repeat(5000);
        assertEquals(36, refused("ESOCKREF_PATHLEN", () -> SocketReference.listen(tooLong)).errno());
        refused("ESOCKREF_PATHLEN", SocketReference.startListener(tooLong));
        assertFalse(Sockref.isSocketActive(tooLong));
        refused("ESOCKREF_PATH", () -> SocketReference.listen(directory + "/\ud800"));
        refused("ESOCKREF_PATH", () -> SocketReference.listen(Path.of("relative")));
        assertFalse(Sockref.isSocketActive((String) null));
        assertFalse(Sockref.isSocketActive((Path) null));
        assertFalse(Sockref.isSocketActive((byte[]) null));
        assertEquals(List.of(), sockets());
    }

    @Test
    void l14UnusualPaths() throws Exception {
        for (String leaf : List.of("a..b.sock", "two  words", "..s", "...", "-", "*", "%41")) {
            try (SocketReference reference = SocketReference.listen(directory + "/" + leaf);
                    SocketReference same = SocketReference.listen(path(leaf))) {
                assertEquals(directory + "/" + leaf, reference.path());
                assertEquals(2, same.referenceCount());
                dial(path(leaf)).close();
            }
        }
        byte[] odd = bytes("odd", 0xff, 0xfe, 0x80);
        try (SocketReference reference = SocketReference.listen(odd)) {
            assertArrayEquals(odd, reference.pathBytes());
            odd[odd.length - 1] = 'x';
            assertEquals((byte) 0x80, reference.pathBytes()[odd.length - 1]);
            assertTrue(Sockref.isSocketActive(reference.pathBytes()));
            // A Path that the system gave has the same bytes, whatever its text is.
            Path file = only(directory, "odd");
            assertTrue(isSocket(file));
            try (SocketReference same = SocketReference.listen(file)) {
                assertEquals(2, reference.referenceCount());
                assertArrayEquals(reference.pathBytes(), same.pathBytes());
            }
        }
        try (SocketReference reference = SocketReference.listen(directory + "/gr\u00fc\u00df")) {
            assertArrayEquals(bytes("gr", 0xc3, 0xbc, 0xc3, 0x9f), reference.pathBytes());
            assertEquals(directory + "/gr\u00fc\u00df", reference.path());
        }
    }

    @Test
    void l15LongDirectory() throws Exception {
        Path deep = directory;
        for (int i = 0; i < 4; i++) {
            deep = Files.createDirectory(deep.resolve("d".repeat(60)));
        }
        Path link = Files.createSymbolicLink(path("short"), deep);
        try (SocketReference reference = SocketReference.listen(deep.resolve("s"))) {
            assertTrue(isSocket(deep.resolve("s")));
            reference.serveEcho();
            dial(link.resolve("s")).close();
        }
        assertFalse(exists(deep.resolve("s")));
    }

    private static boolean abstractNameIsBound(String name) {
        try {
            return Files.readString(Path.of("/proc/net/unix"), StandardCharsets.ISO_8859_1).contains(name);
        } catch (java.io.IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Test
    void l16AbstractName() throws Exception {
        String name = "@sockref-java-test-" + ProcessHandle.current().pid();
        SocketReference first = get(SocketReference.startListener(name));
        assertTrue(abstractNameIsBound(name));
        SocketReference second = SocketReference.listen(name);
        assertEquals(2, first.referenceCount());
        assertEquals(1, first.holderCount());
        assertEquals(name, second.path());
        first.close();
        assertTrue(abstractNameIsBound(name));
        second.close();
        assertFalse(Sockref.isSocketActive(name));
        await("the name is free", () -> !abstractNameIsBound(name));
    }

    @Test
    void l17SomethingElseInTheWay() throws Exception {
        Files.writeString(path("file"), "mine");
        Files.createDirectory(path("directory"));
        assertEquals(0, new ProcessBuilder("mkfifo", path("fifo").toString()).start().waitFor());
        Files.createSymbolicLink(path("link"), path("nowhere"));
        Files.createSymbolicLink(path("filelink"), path("file"));
        for (String leaf : List.of("file", "directory", "fifo", "link", "filelink")) {
            long inode = inode(path(leaf));
            SockrefException problem = refused("ESOCKREF_FOREIGN", () -> SocketReference.listen(path(leaf)));
            assertEquals(98, problem.errno());
            assertEquals(path(leaf).toString(), problem.path());
            refused("ESOCKREF_FOREIGN", SocketReference.startListener(path(leaf)));
            assertEquals(inode, inode(path(leaf)));
            assertFalse(Sockref.isSocketActive(path(leaf)));
        }
        assertEquals("mine", Files.readString(path("file")));
        assertFalse(exists(path("nowhere")));
    }

    @Test
    void l18SocketsInTheWay() throws Exception {
        try (ServerSocketChannel live = foreign(path("foreign-live"))) {
            assertTrue(live.isOpen());
            long inode = inode(path("foreign-live"));
            SockrefException problem = refused("ESOCKREF_FOREIGN", () -> SocketReference.listen(path("foreign-live")));
            assertEquals(98, problem.errno());
            assertEquals(path("foreign-live").toString(), problem.path());
            refused("ESOCKREF_FOREIGN", SocketReference.startListener(path("foreign-live")));
            assertEquals(inode, inode(path("foreign-live")));
            dial(path("foreign-live")).close();
        }
        for (boolean share : List.of(true, false)) {
            foreign(path("dead")).close();
            assertTrue(isSocket(path("dead")));
            Options options = Options.builder().share(share).build();
            try (SocketReference reference = SocketReference.listen(path("dead"), options)) {
                assertTrue(reference.isOwner());
                dial(path("dead")).close();
            }
            assertFalse(exists(path("dead")));
        }
    }

    @Test
    void l19Directories() throws Exception {
        SockrefException problem = refused("ENOENT", () -> SocketReference.listen(path("missing").resolve("s")));
        assertEquals(2, problem.errno());
        assertTrue(problem.path().startsWith(directory.toString()), problem.path());
        assertNotNull(problem.syscall());
        refused("ENOENT", SocketReference.startListener(path("missing").resolve("s")));

        Path open = Files.createDirectory(path("open"));
        Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
        assertEquals(1, refused("ESOCKREF_UNTRUSTED", () -> SocketReference.listen(open.resolve("s"))).errno());
        assertEquals(List.of(), sockets());
    }

    @Test
    void l19UnwritableDirectory() throws Exception {
        Path closed = Files.createDirectory(path("closed"));
        Files.setPosixFilePermissions(closed, PosixFilePermissions.fromString("r-xr-xr-x"));
        if (!Files.isWritable(closed)) {
            assertEquals(13, refused("EACCES", () -> SocketReference.listen(closed.resolve("s"))).errno());
            return;
        }
        // The superuser may write everywhere: a program of another user's tries, with copies that it may read.
        Assumptions.assumeTrue(Files.isExecutable(Path.of("/usr/bin/setpriv")), "there is no setpriv");
        Path visible = Files.createTempDirectory("sockref-test-visible-");
        try {
            Files.setPosixFilePermissions(visible, PosixFilePermissions.fromString("rwxr-xr-x"));
            Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
            Path classes = Path.of(Programs.class.getProtectionDomain().getCodeSource().getLocation().toURI());
            Path main = Path.of(Sockref.class.getProtectionDomain().getCodeSource().getLocation().toURI());
            for (Path source : List.of(classes, main)) {
                Process copy = new ProcessBuilder("cp", "-r", source + "/.", visible.toString()).start();
                assertEquals(0, copy.waitFor());
            }
            assertEquals(0, new ProcessBuilder("chmod", "-R", "a+rX", visible.toString()).start().waitFor());
            Child child = Child.start(List.of("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
                    java.util.Map.of(), visible.toString(), List.of(), Programs.class, "refused", closed.resolve("s"));
            assertTrue(child.line("EACCES ").startsWith("EACCES 13 "));
            assertEquals(0, child.end());
        } finally {
            assertEquals(0, new ProcessBuilder("rm", "-rf", visible.toString()).start().waitFor());
        }
    }

    @Test
    void l39Sweep() throws Exception {
        Options here = Options.builder().directory(directory).guard(0).build();
        Child child = Child.startInTree(List.of(), Map.of(), Programs.class, "hold-default", directory);
        List<Path> dead = Stream.of(child.line("held ").substring(5).split(" ")).map(Path::of).toList();
        child.kill();
        assertTrue(dead.stream().allMatch(Scene::exists), "their owner was killed");
        assertEquals(2 + 3 + 2, left().size(), () -> "two of them are shared");
        Files.writeString(path("sockref-5194301-0123456789abcdef.sock"), "a regular file");
        foreign(path("foreign.sock")).close();
        try (Registry registry = new Registry(here); SocketReference live = registry.listen(path("live.sock"))) {
            assertEquals(3, registry.sweep(directory));
            assertFalse(dead.stream().anyMatch(Scene::exists));
            assertEquals(3, left().size(), "those of the live one");
            assertTrue(exists(Path.of(live.path())));
            assertTrue(exists(path("sockref-5194301-0123456789abcdef.sock")));
            assertTrue(exists(path("foreign.sock")));
            assertEquals(0, registry.sweep());
            assertEquals(0, registry.sweepAsync(directory.toString()).get());
            refused("ENOENT", registry.sweepAsync(path("missing")));
            refused("ESOCKREF_PATH", () -> registry.sweep("relative"));
        }
    }

    /** The numbers are Linux's. */
    @Test
    void eachStatusHasItsCodeAndErrno() {
        List<String> told = new ArrayList<>();
        for (int status = -20001; status >= -20014; status--) {
            SockrefException problem = SockrefException.of(status, null, "x");
            told.add(problem.code() + " " + problem.errno());
        }
        assertEquals(List.of("ESOCKREF_PATH 22", "ESOCKREF_PATHLEN 36", "ESOCKREF_FOREIGN 98", "ESOCKREF_EXISTS 17",
                "ESOCKREF_NOTFOUND 2", "ESOCKREF_LIMIT 24", "ESOCKREF_CLOSED 9", "ESOCKREF_FORKED 130",
                "ESOCKREF_SHUTDOWN 108", "ESOCKREF_TIMEOUT 110", "ESOCKREF_CANCELED 125", "ESOCKREF_BUSY 16",
                "ESOCKREF_UNTRUSTED 1", "ESOCKREF_UNSUPPORTED 95"), told);
        assertEquals(24, SockrefException.of(-24, null, "x").errno());
    }

    @Test
    void l43ErrorsKeepWhatHappened() throws Exception {
        String missing = directory + "/missing/s";
        for (SockrefException problem : List.of(refused("ENOENT", () -> SocketReference.listen(missing)),
                refused("ENOENT", SocketReference.startListener(missing)))) {
            assertEquals(2, problem.errno());
            assertNotNull(problem.syscall());
            assertTrue(missing.startsWith(problem.path()), problem.path());
            assertTrue(problem.getMessage().contains(problem.syscall()), problem.getMessage());
        }
        SockrefException own = refused("ESOCKREF_NOTFOUND", () -> Sockref.cleanup(path("s")));
        assertEquals(2, own.errno());
        assertNull(own.syscall());
        assertEquals(path("s").toString(), own.path());
        assertFalse(own.getMessage().isEmpty());
    }
}
