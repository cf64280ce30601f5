package org.sockref;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;

/**
 * What the jar carries, copied to a private directory below java.io.tmpdir.
 *
 * <p>Once loaded, libraries need no name. The guard's program stays until the VM ends: it is started later, and again
 * when it is killed. A VM that is killed cannot remove it, so each holds a lock in its directory as long as it lives,
 * and the next one to make such a directory removes those that nobody holds.
 */
final class NativeCopies {
    private static final String PREFIX = "sockref-java-";
    /**
     * POSIX locks do not tell this VM's own: another class loader of it may have a directory too. A process before may
     * have had the same number, as the first one of a container always has; it had not the same start.
     */
    private static final String OWN = own();
    private static final String LOCK = "lock";
    /** The program that the library starts, from beside itself. */
    private static final String GUARD = "sockref-guard";

    private final Path directory;
    private final FileChannel lock;

    private NativeCopies(Path directory, FileChannel lock) {
        this.directory = directory;
        this.lock = lock;
    }

    private static String own() {
        String start;
        try {
            String told = Files.readString(Path.of("/proc/self/stat"), StandardCharsets.ISO_8859_1);
            start = told.substring(told.lastIndexOf(')')).split(" ")[20];
        } catch (IOException | RuntimeException untold) {
            start = "0";
        }
        return PREFIX + ProcessHandle.current().pid() + "-" + start + "-";
    }

    /** Make a new, empty directory, and remove those of dead VMs. */
    static NativeCopies create() throws IOException {
        Path directory;
        FileChannel lock;
        do {
            directory = Files.createTempDirectory(OWN).toAbsolutePath(); // as a library must be named
            lock = hold(directory);
        } while (lock == null);
        // The last that is named goes first.
        directory.toFile().deleteOnExit();
        directory.resolve(LOCK).toFile().deleteOnExit();
        removeDead(directory);
        return new NativeCopies(directory, lock);
    }

    Path directory() {
        return directory;
    }

    /** Hold the lock of a new directory; null if another VM took it for a dead one's before. */
    private static FileChannel hold(Path directory) throws IOException {
        Path file = directory.resolve(LOCK);
        FileChannel channel;
        try {
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        } catch (NoSuchFileException removed) {
            return null;
        }
        try {
            if (channel.tryLock() != null && Files.exists(file)) {
                return channel;
            }
        } catch (IOException noLocks) {
            return channel; // nobody else gets one there
        }
        channel.close();
        return null;
    }

    private static void removeDead(Path own) {
        try (DirectoryStream<Path> all = Files.newDirectoryStream(own.getParent(), PREFIX + "*")) {
            for (Path other : all) {
                if (!other.getFileName().toString().startsWith(OWN) && isOfSameUser(other, own)) {
                    removeUnlessHeld(other);
                }
            }
        } catch (IOException | RuntimeException unreadable) {
            // They stay for the next one.
        }
    }

    private static boolean isOfSameUser(Path other, Path own) throws IOException {
        try {
            return Files.isDirectory(other, LinkOption.NOFOLLOW_LINKS)
                    && Files.getOwner(other, LinkOption.NOFOLLOW_LINKS).equals(Files.getOwner(own));
        } catch (NoSuchFileException removed) {
            return false;
        }
    }

    private static void removeUnlessHeld(Path directory) {
        try (FileChannel channel = FileChannel.open(directory.resolve(LOCK), StandardOpenOption.WRITE);
                FileLock lock = channel.tryLock()) {
            if (lock != null) {
                delete(directory);
            }
        } catch (NoSuchFileException neverHeld) {
            directory.toFile().delete(); // unless something is in it
        } catch (IOException | OverlappingFileLockException held) {
            // It stays.
        }
    }

    private static void delete(Path directory) throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
            for (Path file : files) {
                Files.deleteIfExists(file);
            }
        }
        Files.deleteIfExists(directory);
    }

    /** Copy the resources of a place whose names the list has, one a line. */
    void fill(InputStream list, String place) throws IOException {
        BufferedReader names = new BufferedReader(new InputStreamReader(list, StandardCharsets.UTF_8));
        for (String name = names.readLine(); name != null; name = names.readLine()) {
            if (!name.isBlank()) {
                copy(name, place);
            }
        }
    }

    private void copy(String name, String place) throws IOException {
        Path copy = directory.resolve(name);
        try (InputStream file = NativeCopies.class.getResourceAsStream(place + name)) {
            if (file == null) {
                throw new IOException("resource " + place + name + " is missing");
            }
            Files.copy(file, copy);
        }
        if (name.equals(GUARD)) {
            copy.toFile().deleteOnExit();
            Files.setPosixFilePermissions(copy, PosixFilePermissions.fromString("rwx------"));
        }
    }

    /** The libraries are loaded: remove all but what is needed later. */
    void removeLoaded() {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                if (!name.equals(GUARD) && !name.equals(LOCK)) {
                    Files.deleteIfExists(file);
                }
            }
        } catch (IOException | DirectoryIteratorException kept) {
            // The next one to make a directory removes this one whole.
        }
    }

    /** Nothing could be loaded: remove all. */
    void remove() {
        try {
            delete(directory);
            lock.close();
        } catch (IOException | DirectoryIteratorException kept) {
            // As above.
        }
    }
}
