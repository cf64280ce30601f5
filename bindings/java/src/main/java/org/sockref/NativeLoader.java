package org.sockref;

import java.io.IOException;
import java.io.InputStream;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * Finds and loads libsockref_java.so, which finds the libsockref.so beside it by its own run path.
 *
 * <p>The first of these places that has it is taken: the directory (or file) named by the system property
 * {@value #PROPERTY}, and then nothing else is tried; resources of the jar, copied to a private directory; the
 * directory {@code native} beside the jar; java.library.path.
 */
final class NativeLoader {
    static final String PROPERTY = "org.sockref.library.path";
    static final String LIBRARY = "libsockref_java.so";
    /** Names the files that the jar carries for a platform, one a line. */
    static final String LIST = "natives.list";

    private static boolean loaded;
    /** Kept for the lock that it holds. */
    private static NativeCopies copies;

    private NativeLoader() {
    }

    /** Load; again it does nothing. */
    static synchronized void load() {
        if (loaded) {
            return;
        }
        String property = System.getProperty(PROPERTY);
        if (property != null) {
            loadProperty(property);
        } else {
            loadFound();
        }
        // Before check(): Shim's initializer comes back here.
        loaded = true;
        try {
            check(Shim.identity());
        } catch (Throwable t) {
            loaded = false;
            throw t;
        }
    }

    private static void loadProperty(String property) {
        Path path = Path.of(property).toAbsolutePath();
        if (Files.isDirectory(path)) {
            path = path.resolve(LIBRARY);
        }
        if (!Files.exists(path)) {
            throw new UnsatisfiedLinkError(
                    "sockref: " + path + " does not exist; system property " + PROPERTY + " names it");
        }
        try {
            System.load(path.toString());
        } catch (UnsatisfiedLinkError e) {
            throw failure(List.of(path + ": " + e.getMessage()), e);
        }
    }

    private static void loadFound() {
        List<String> tried = new ArrayList<>();
        if (loadResource(tried) || loadBeside(tried)) {
            return;
        }
        try {
            System.loadLibrary("sockref_java");
        } catch (UnsatisfiedLinkError e) {
            tried.add("java.library.path: " + e.getMessage());
            throw failure(tried, e);
        }
    }

    private static UnsatisfiedLinkError failure(List<String> tried, Throwable cause) {
        UnsatisfiedLinkError error = new UnsatisfiedLinkError("sockref: cannot load " + LIBRARY
                + " and the libsockref.so that belongs to it; tried:\n  " + String.join("\n  ", tried)
                + "\nset the system property " + PROPERTY + " to the directory that has both");
        error.initCause(cause);
        return error;
    }

    /** Such as linux-x86_64: the directory of the resources. */
    static String platform() {
        String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
        String arch = System.getProperty("os.arch");
        return (os.startsWith("linux") ? "linux" : os) + "-" + (arch.equals("amd64") ? "x86_64" : arch);
    }

    private static boolean loadResource(List<String> tried) {
        String place = "/org/sockref/native/" + platform() + "/";
        NativeCopies made = null;
        try (InputStream list = NativeLoader.class.getResourceAsStream(place + LIST)) {
            if (list == null) {
                tried.add("resource " + place + ": not in the jar");
                return false;
            }
            made = NativeCopies.create();
            made.fill(list, place);
            System.load(made.directory().resolve(LIBRARY).toString());
            copies = made;
            made.removeLoaded();
            return true;
        } catch (IOException | RuntimeException | LinkageError e) {
            // Also where native code is forbidden to us, as the next place's load says; where the locale has no
            // characters for java.io.tmpdir; or where the classes were given other names, which C does not know.
            tried.add("resource " + place + (made == null ? "" : " copied to " + made.directory()) + ": " + e);
            if (made != null) {
                made.remove();
            }
            return false;
        }
    }

    private static boolean loadBeside(List<String> tried) {
        Path file = beside();
        if (file == null || !Files.exists(file)) {
            tried.add((file == null ? "beside the jar" : file) + ": not there");
            return false;
        }
        try {
            System.load(file.toString());
            return true;
        } catch (UnsatisfiedLinkError e) {
            tried.add(file + ": " + e.getMessage());
            return false;
        }
    }

    private static Path beside() {
        CodeSource source = NativeLoader.class.getProtectionDomain().getCodeSource();
        URL location = source == null ? null : source.getLocation();
        if (location == null || !location.getProtocol().equals("file")) {
            return null;
        }
        try {
            return Path.of(location.toURI()).resolveSibling("native").resolve(LIBRARY);
        } catch (URISyntaxException | IllegalArgumentException e) {
            return null;
        }
    }

    /** Require the same binary interface and a library at least as new; see Shim.identity(). */
    static void check(String[] identity) {
        String binding = identity[0];
        String built = identity[1];
        String builtAbi = identity[2];
        String library = identity[3];
        String found = identity[4];
        String foundAbi = identity[5];
        if (!builtAbi.equals(foundAbi) || compare(found, built) < 0) {
            throw new UnsatisfiedLinkError("sockref: " + binding + " was built for version " + built
                    + " (binary interface " + builtAbi + ") of libsockref, but " + library + " is version " + found
                    + " (binary interface " + foundAbi
                    + "): install the binding again, with the library of its version");
        }
    }

    /** Compare dotted numbers; what follows a number, such as -rc1, is not looked at. */
    private static int compare(String left, String right) {
        String[] lefts = left.split("\\.");
        String[] rights = right.split("\\.");
        for (int i = 0; i < Math.max(lefts.length, rights.length); i++) {
            int order = Integer.compare(number(lefts, i), number(rights, i));
            if (order != 0) {
                return order;
            }
        }
        return 0;
    }

    private static int number(String[] parts, int index) {
        String digits = index < parts.length ? parts[index].replaceFirst("\\D.*", "") : "";
        return digits.isEmpty() ? 0 : Integer.parseInt(digits);
    }
}
