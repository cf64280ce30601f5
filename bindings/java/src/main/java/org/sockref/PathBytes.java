package org.sockref;

import java.net.URI;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Path;
import java.util.Objects;

/** A name in the bytes that the system sees; they are asked for where a problem may be reported. */
interface PathBytes {
    /** The default name. */
    PathBytes DEFAULT = () -> null;

    /** The bytes, null for the default name; throws SockrefException, or NullPointerException. */
    byte[] bytes() throws SockrefException;

    /** Strings are UTF-8, whatever the locale. */
    static PathBytes of(String path) {
        return () -> {
            Objects.requireNonNull(path, "path");
            try {
                ByteBuffer buffer = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(path));
                byte[] bytes = new byte[buffer.remaining()];
                buffer.get(bytes);
                return checked(bytes);
            } catch (CharacterCodingException e) {
                throw SockrefException.of(SockrefException.EPATH, path, "the path holds half of a surrogate pair");
            }
        };
    }

    /** A Path has the bytes that the system gave, which its toString() may lose. */
    static PathBytes of(Path path) {
        return () -> {
            Objects.requireNonNull(path, "path");
            if (path.getFileSystem() != FileSystems.getDefault()) {
                throw new IllegalArgumentException("path is not of the default file system");
            }
            return checked(exact(path));
        };
    }

    /** The array is copied. */
    static PathBytes of(byte[] path) {
        return () -> checked(Objects.requireNonNull(path, "path").clone());
    }

    /** C would see the part before a NUL only. */
    private static byte[] checked(byte[] bytes) throws SockrefException {
        for (byte b : bytes) {
            if (b == 0) {
                throw SockrefException.of(SockrefException.EPATH, text(bytes), "the path has a NUL byte");
            }
        }
        return bytes;
    }

    /** A URI spells every byte out, and is absolute. */
    private static byte[] exact(Path path) {
        URI uri = Path.of("/").resolve(path).toUri();
        String raw = uri.getRawPath();
        byte[] bytes = new byte[raw.length()];
        int length = 0;
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            if (c == '%') {
                bytes[length++] = (byte) Integer.parseInt(raw, i + 1, i + 3, 16);
                i += 2;
            } else {
                bytes[length++] = (byte) c;
            }
        }
        // A slash is put behind a directory that exists; a Path itself never ends in one.
        if (length > 1 && bytes[length - 1] == '/') {
            length--;
        }
        return java.util.Arrays.copyOfRange(bytes, path.isAbsolute() ? 0 : 1, length);
    }

    /** The Path of exact bytes. */
    static Path path(byte[] bytes) {
        boolean isAbsolute = bytes[0] == '/';
        StringBuilder uri = new StringBuilder(isAbsolute ? "file://" : "file:///");
        for (byte b : bytes) {
            boolean plain = b == '/' || b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z';
            uri.append(plain ? String.valueOf((char) b) : String.format("%%%02X", b));
        }
        Path path = Path.of(URI.create(uri.toString()));
        return isAbsolute ? path : path.subpath(0, path.getNameCount());
    }

    static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
