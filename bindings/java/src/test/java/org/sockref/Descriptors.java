package org.sockref;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Numbers of descriptors, which Java hides. What they belong to is never closed by Java: they are given away. */
final class Descriptors {
    private static final List<Object> KEPT = new ArrayList<>();

    private Descriptors() {
    }

    /** A listening socket at a path. */
    static int bind(Path path) throws IOException {
        ServerSocketChannel server = Scene.foreign(path);
        KEPT.add(server);
        String inode;
        try (Stream<String> lines = Files.lines(Path.of("/proc/net/unix"))) {
            inode = lines.filter(line -> line.endsWith(" " + path)).map(line -> line.trim().split(" +")[6]).findFirst()
                    .orElseThrow();
        }
        return find("socket:[" + inode + "]");
    }

    static int openFile(Path path) throws IOException {
        KEPT.add(new RandomAccessFile(path.toFile(), "r"));
        return find(path.toString());
    }

    /** What a number leads to. */
    static String target(int fd) throws IOException {
        return Files.readSymbolicLink(Path.of("/proc/self/fd/" + fd)).toString();
    }

    private static int find(String target) throws IOException {
        try (Stream<Path> numbers = Files.list(Path.of("/proc/self/fd"))) {
            for (Path number : numbers.toList()) {
                try {
                    if (Files.readSymbolicLink(number).toString().equals(target)) {
                        return Integer.parseInt(number.getFileName().toString());
                    }
                } catch (IOException gone) {
                    // Closed meanwhile.
                }
            }
        }
        throw new IOException("no descriptor leads to " + target);
    }
}
