package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.spi.ToolProvider;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.condition.JRE;

/** What a VM copies out of the jar: the libraries, and the guard's program beside them. */
class CopiesTest extends Scene {
    private final List<Child> children = new ArrayList<>();
    private Path copies;

    @BeforeEach
    void makePlace() throws IOException {
        copies = Files.createDirectory(path("copies"));
    }

    @AfterEach
    void endChildren() throws Exception {
        for (Child child : children) {
            child.kill();
        }
    }

    /** A program that holds the path "s" and may not be without a guard. */
    private Child child(String classPath) throws Exception {
        Child child = Child.start(List.of(), Map.of(), classPath, List.of("-Djava.io.tmpdir=" + copies),
                Programs.class, "share", path("s"), "guarded");
        children.add(child);
        child.line("ready");
        return child;
    }

    private Child child() throws Exception {
        return child(System.getProperty("java.class.path"));
    }

    private static Set<Path> list(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.collect(Collectors.toCollection(TreeSet::new));
        }
    }

    /** The one directory that is there and was not. */
    private Path added(Set<Path> before) throws IOException {
        Set<Path> now = list(copies);
        now.removeAll(before);
        assertEquals(1, now.size(), now::toString);
        return now.iterator().next();
    }

    private static void assertHasGuardOnly(Path directory) throws IOException {
        assertEquals(Set.of(directory.resolve("lock"), directory.resolve("sockref-guard")), list(directory));
        assertTrue(Files.isExecutable(directory.resolve("sockref-guard")));
        assertEquals("rwx------", java.nio.file.attribute.PosixFilePermissions.toString(
                Files.getPosixFilePermissions(directory)));
    }

    private void assertGuardIsFrom(Path directory, Child child) throws Exception {
        assertEquals("owner", child.ask("start"));
        int guard = Integer.parseInt(child.ask("guard"));
        assertTrue(guard > 0);
        assertEquals(directory.resolve("sockref-guard"), Files.readSymbolicLink(Path.of("/proc/" + guard + "/exe")));
    }

    /** A jar as Maven packages it. */
    private String jar() throws Exception {
        Path jar = path("sockref.jar");
        Path classes = Path.of(Sockref.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        ToolProvider tool = ToolProvider.findFirst("jar").orElseThrow();
        assertEquals(0, tool.run(System.out, System.err, "--create", "--file", jar.toString(), "-C",
                classes.toString(), "."));
        return jar.toString();
    }

    @Test
    void jarCarriesTheGuard() throws Exception {
        Path tests = Path.of(Programs.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        Child child = child(String.join(File.pathSeparator, jar(), tests.toString(),
                System.getProperty("java.class.path")));
        Path directory = added(Set.of());
        assertHasGuardOnly(directory);
        assertGuardIsFrom(directory, child);
        assertEquals(0, child.leave());
        assertEquals(Set.of(), list(copies));
        assertFalse(exists(path("s")));
    }

    @Test
    void killedOnesCopiesGoWithTheNext() throws Exception {
        Child killed = child();
        Path first = added(Set.of());
        assertGuardIsFrom(first, killed);
        killed.kill();
        awaitNothing();
        assertHasGuardOnly(first);

        Child next = child();
        Path second = added(Set.of());
        assertFalse(second.equals(first));
        Child third = child();
        Path theirs = added(Set.of(second));
        // The living ones' directories are as they were.
        assertHasGuardOnly(second);
        assertHasGuardOnly(theirs);
        assertGuardIsFrom(second, next);
        assertEquals(0, third.leave());
        assertEquals(0, next.leave());
        assertEquals(Set.of(), list(copies));
    }

    @Test
    @EnabledForJreRange(min = JRE.JAVA_24, max = JRE.OTHER)
    void nothingIsLeftWhereNativeCodeIsForbidden() throws Exception {
        Child child = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"),
                List.of("-Djava.io.tmpdir=" + copies, "--illegal-native-access=deny"), Programs.class, "load");
        assertEquals(1, child.end());
        assertTrue(child.output().contains("java.lang.IllegalCallerException"), child::output);
        assertEquals(Set.of(), list(copies));
    }

    /** No Path can be made of what java.io.tmpdir names: the next place is looked at, and the error tells of this one. */
    @Test
    void aDirectoryThatTheLocaleCannotNameIsTold() throws Exception {
        Child child = Child.start(List.of(), Map.of("LC_ALL", "C"), System.getProperty("java.class.path"),
                List.of("-Djava.io.tmpdir=" + copies + "-\u00e9"), Programs.class, "load");
        assertEquals(1, child.end());
        assertTrue(child.output().contains("sockref: cannot load libsockref_java.so"), child::output);
        assertTrue(child.output().contains("java.library.path: "), child::output);
    }

    @Test
    void aRelativeDirectoryWillDo() throws Exception {
        Path relative = Path.of("").toAbsolutePath().relativize(copies);
        Child child = Child.start(List.of(), Map.of(), System.getProperty("java.class.path"),
                List.of("-Djava.io.tmpdir=" + relative), Programs.class, "load");
        assertTrue(child.line("version ").contains(copies.toString()), child::output);
        assertEquals(0, child.end(), child::output);
        assertEquals(Set.of(), list(copies));
    }

    /** The VM that was killed had the number that this one has, as both have 1 in a container that was started again. */
    @Test
    void aNumberThatCameAgainIsNoReasonToKeep() throws Exception {
        String left = "d=\"$1/sockref-java-$$-1\"; mkdir \"$d\"; touch \"$d/lock\"; shift; exec \"$@\"";
        Child child = Child.start(List.of("sh", "-c", left, "sh", copies.toString()), Map.of(),
                System.getProperty("java.class.path"), List.of("-Djava.io.tmpdir=" + copies), Programs.class, "load");
        assertEquals(0, child.end(), child::output);
        assertEquals(Set.of(), list(copies));
    }

    @Test
    void onlyWhatADeadOneLeftIsRemoved() throws Exception {
        Path halfMade = Files.createDirectory(copies.resolve("sockref-java-1-made"));
        Path unlocked = Files.createDirectory(copies.resolve("sockref-java-1-dead"));
        Files.createFile(unlocked.resolve("lock"));
        Files.createFile(unlocked.resolve("sockref-guard"));
        Path file = Files.createFile(copies.resolve("sockref-java-file"));
        Path others = Files.createDirectory(copies.resolve("sockref-java-others"));
        Files.createFile(others.resolve("something"));
        Path target = Files.createDirectory(path("target"));
        Files.createFile(target.resolve("lock"));
        Path link = Files.createSymbolicLink(copies.resolve("sockref-java-link"), target);
        Child child = child();
        assertFalse(exists(halfMade));
        assertFalse(exists(unlocked));
        assertEquals(0, child.leave());
        assertEquals(new TreeSet<>(List.of(file, others, link)), list(copies));
        assertTrue(exists(target.resolve("lock")));
    }
}
