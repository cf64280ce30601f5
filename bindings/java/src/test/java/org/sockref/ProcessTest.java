package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** tests/lifecycle.md, whole processes: L37, L38, L44, L45; and the example. */
class ProcessTest extends Scene {
    @ParameterizedTest
    @ValueSource(strings = {"main", "exit", "uncaught", "halt", "hook", "busy", "TERM", "INT", "HUP"})
    void l37ExitWithHandlesHeld(String end) throws Exception {
        // A VM that a script started in the background ignores INT, and so would this one.
        List<String> heeding = List.of("env", "--default-signal=TERM,INT,HUP");
        Child child = Child.startInTree(heeding, Map.of(), Programs.class, "hold", directory, end);
        child.line("held");
        switch (end) {
            case "TERM", "INT", "HUP" -> {
                assertEquals(5, sockets().size());
                long pid = child.process().pid();
                assertEquals(0, new ProcessBuilder("kill", "-" + end, Long.toString(pid)).start().waitFor());
            }
            case "busy" -> child.write("go");
            case "hook" -> child.line("late");
            default -> {
            }
        }
        int status = child.end();
        assertEquals(List.of(), left(), child::output);
        int expected = switch (end) {
            case "TERM" -> 143;
            case "INT" -> 130;
            case "HUP" -> 129;
            case "uncaught" -> 1;
            default -> 0;
        };
        assertEquals(expected, status, child::output);
    }

    @Test
    void l37ExitWithStartsUnderWay() throws Exception {
        Child child = Child.start(Programs.class, "many", directory);
        child.line("started");
        assertEquals(0, child.end());
        assertEquals(List.of(), left());
    }

    /** Its pointer would lead to what is freed. */
    @Test
    void aConnectionEndsWhereTheHeapIsFull() throws Exception {
        Child child = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"), List.of("-Xmx16m"),
                Programs.class, "full", path("s"));
        assertEquals("open false", child.line("open"), child::output);
        assertEquals(0, child.end());
    }

    /** Whoever waits for a future would do so for ever, and a reference would be nobody's. */
    @Test
    void aFutureEndsWhereTheHeapIsFull() throws Exception {
        Child child = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"),
                List.of("-Xmx8m", "-XX:+UseSerialGC"), Programs.class, "full-futures", directory);
        assertEquals("starts told told, connects told told", child.line("starts"), child::output);
        assertEquals("reads told", child.line("reads"), child::output);
        assertEquals("accepts 0 0", child.line("accepts"), child::output);
        assertEquals("left true", child.line("left"), child::output);
        assertEquals(0, child.end());
    }

    @Test
    void nothingIsLeftOrBrokenWhereNoThreadCanBeStarted() throws Exception {
        // Each thread of Java's takes so much of the address space that few fit; the library's own take little. The first
        // calls find none, and then no memory for the loop's buffer: the classes are to be usable later.
        List<String> limited = List.of("sh", "-c", "ulimit -v 12000000 && exec \"$@\"", "limited");
        List<String> options = List.of("-Xss512m", "-Xmx64m", "-XX:CompressedClassSpaceSize=16m",
                "-XX:ReservedCodeCacheSize=32m", "-XX:+UseSerialGC", "-XX:MaxDirectMemorySize=1m",
                "-XX:ActiveProcessorCount=3"); // so many that the common pool is what completes futures
        Child child = Child.start(limited, Map.of(), System.getProperty("java.class.path"), options, Programs.class,
                "no-threads", directory);
        assertEquals("at first thrown OutOfMemoryError", child.line("at first"), child::output);
        assertEquals("next told OutOfMemoryError", child.line("next"), child::output);
        for (int i = 0; i < 2; i++) {
            assertEquals("first told OutOfMemoryError, told OutOfMemoryError, thrown OutOfMemoryError,"
                    + " thrown OutOfMemoryError, told OutOfMemoryError, left 0", child.line("first"), child::output);
        }
        assertEquals("then told OutOfMemoryError, left 0", child.line("then"), child::output);
        assertEquals("at last 1", child.line("at last"), child::output);
        assertEquals(0, child.end());
    }

    @Test
    void l38OpenReferenceKeepsNoProcessAlive() throws Exception {
        Child child = Child.start(Programs.class, "open", path("s"));
        child.line("open");
        assertEquals(0, child.end());
        assertFalse(exists(path("s")));
    }

    @Test
    void l44StartWaitsWithoutBlocking() throws Exception {
        Path shim = Path.of(System.getProperty("sockref.slow.unlink", "/nonexistent"));
        Assumptions.assumeTrue(Files.exists(shim), "the preloaded slow-unlink was not built");
        Child child = Child.start(List.of(), Map.of("LD_PRELOAD", shim.toString(), "SLOW_UNLINK_MS", "500"),
                Programs.class, "slow", path("slow.sock"));
        String[] told = child.line("called ").split(" ");
        assertEquals(0, child.end());
        assertTrue(Long.parseLong(told[1]) < 400, () -> "startListener took " + told[1] + " ms");
        assertTrue(Long.parseLong(told[3]) >= 500, () -> "the start waited " + told[3] + " ms only");
        assertTrue(Long.parseLong(told[5]) >= 20, () -> told[5] + " ticks");
        assertTrue(Long.parseLong(told[7]) >= 20, () -> told[7] + " ticks of the loop");
        assertEquals("true", told[9]);
        assertFalse(exists(path("slow.sock")));
    }

    @Test
    void l32WaitingStartsAreCancelled() throws Exception {
        Path shim = Path.of(System.getProperty("sockref.slow.unlink", "/nonexistent"));
        Assumptions.assumeTrue(Files.exists(shim), "the preloaded slow-unlink was not built");
        Child child = Child.start(List.of(), Map.of("LD_PRELOAD", shim.toString(), "SLOW_UNLINK_MS", "500"),
                Programs.class, "slow-cancel", path("slow.sock"));
        String told = child.line("cancelled ");
        assertEquals(0, child.end());
        assertTrue(told.matches("cancelled true TimeoutException true (none|ESOCKREF_[A-Z]+|EADDRINUSE) true false"),
                told);
    }

    @Test
    void l45VersionsAreChecked() {
        String[] identity = Shim.identity();
        assertEquals(identity[1], identity[4]);
        assertEquals(identity[2], identity[5]);
        assertEquals(identity[4], Sockref.version());
        NativeLoader.check(identity);
        NativeLoader.check(new String[] {"/a", "0.9.0", "1", "/b", "0.10.0", "1"});
        NativeLoader.check(new String[] {"/a", "1.0", "1", "/b", "1.0.0", "1"});
        for (String[] wrong : List.of(new String[] {"/a/x.so", "0.2.0", "1", "/b/y.so", "0.1.9", "1"},
                new String[] {"/a/x.so", "0.2.0", "1", "/b/y.so", "0.2.0", "2"})) {
            String message = assertThrows(UnsatisfiedLinkError.class, () -> NativeLoader.check(wrong)).getMessage();
            for (String part : wrong) {
                assertTrue(message.contains(part), message);
            }
        }
    }

    @Test
    void l45AnotherBinaryInterfaceIsRefusedAtLoad() throws Exception {
        Files.writeString(path("other.c"), "unsigned sockref_abi_version(void) { return 4711; }\n");
        Path other = path("other.so");
        assertEquals(0, new ProcessBuilder("cc", "-shared", "-fPIC", "-o", other.toString(),
                path("other.c").toString()).inheritIO().start().waitFor());
        Child child = Child.startInTree(List.of(), Map.of("LD_PRELOAD", other.toString()), Programs.class, "load");
        assertEquals(1, child.end());
        for (String part : List.of("libsockref_java.so", "libsockref.so", "4711")) {
            assertTrue(child.output().contains(part), child.output());
        }
    }

    @Test
    void l45LoadsFromEveryPlace() throws Exception {
        Path natives = Path.of(System.getProperty("sockref.native.dir")).toRealPath();
        Child resource = Child.start(Programs.class, "load");
        assertTrue(resource.line("version ").contains("/sockref-java-"), resource::output);
        assertEquals(0, resource.end());

        Child property = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"),
                List.of("-Dorg.sockref.library.path=" + natives), Programs.class, "load");
        assertTrue(property.line("version ").contains(natives.toString()), property::output);
        assertEquals(0, property.end());

        Child nowhere = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"),
                List.of("-Dorg.sockref.library.path=" + directory), Programs.class, "load");
        assertEquals(1, nowhere.end());
        assertTrue(nowhere.output().contains(path("libsockref_java.so") + " does not exist"), nowhere.output());

        // Classes alone: beside them, then on the library path.
        Path classes = Files.createDirectory(path("classes"));
        for (Class<?> part : List.of(Sockref.class, Programs.class)) {
            Path source = Path.of(part.getProtectionDomain().getCodeSource().getLocation().toURI());
            assertEquals(0, new ProcessBuilder("cp", "-r", source + "/.", classes.toString()).start().waitFor());
        }
        Path carried = classes.resolve("org/sockref/native");
        assertEquals(0, new ProcessBuilder("mv", carried.toString(), path("carried").toString()).start().waitFor());
        Child none = Child.start(List.of(), Map.of(), classes.toString(), List.of(), Programs.class, "load");
        assertEquals(1, none.end());
        assertTrue(none.output().contains(path("native/libsockref_java.so").toString()), none.output());
        assertTrue(none.output().contains("org.sockref.library.path"), none.output());
        Child library = Child.start(List.of(), Map.of(), classes.toString(),
                List.of("-Djava.library.path=" + natives), Programs.class, "load");
        assertTrue(library.line("version ").contains(natives.toString()), library::output);
        assertEquals(0, library.end());
        Path beside = Files.createDirectory(path("native"));
        assertEquals(0, new ProcessBuilder("cp", "-r", natives + "/.", beside.toString()).start().waitFor());
        Child found = Child.start(List.of(), Map.of(), classes.toString(), List.of(), Programs.class, "load");
        assertTrue(found.line("version ").contains(beside.toString()), found::output);
        assertEquals(0, found.end());

        // One of the two is missing: the message tells which.
        Files.delete(beside.resolve("libsockref_java.so"));
        Files.copy(natives.resolve("libsockref_java.so"), beside.resolve("libsockref_java.so"));
        try (Stream<Path> files = Files.list(beside)) {
            for (Path file : files.filter(f -> f.getFileName().toString().startsWith("libsockref.so")).toList()) {
                Files.delete(file);
            }
        }
        Child half = Child.start(List.of(), Map.of(), classes.toString(), List.of(), Programs.class, "load");
        assertEquals(1, half.end());
        assertTrue(half.output().contains("libsockref.so."), half.output());
    }

    @Test
    void exampleRuns() throws Exception {
        Path example = Path.of(System.getProperty("sockref.example", "/nonexistent"));
        Assumptions.assumeTrue(Files.exists(example), "no example");
        Child child = Child.start(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xcheck:jni", "-cp", System.getProperty("java.class.path"), example.toString(),
                path("s").toString()), Map.of());
        assertEquals(0, child.end(), child::output);
    }
}
