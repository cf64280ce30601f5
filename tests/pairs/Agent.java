// One holder of a name, driven by lines of JSON: see agent.c, which has the protocol.
//
//   scripts/in-tree java tests/pairs/Agent.java

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.sockref.Options;
import org.sockref.SocketEvent;
import org.sockref.SocketReference;
import org.sockref.SockrefException;

public class Agent {
    private static final long DIAL_TIMEOUT_MS = 20_000;

    private static SocketReference held;

    /** What was heard of it, and not waited for. */
    private static Heard heard = new Heard();

    /** The events of one life of a name: what is told of an earlier one is nobody's. */
    private static final class Heard {
        private final Map<SocketEvent, Integer> counts = new EnumMap<>(SocketEvent.class);

        synchronized void add(SocketEvent event) {
            counts.merge(event, 1, Integer::sum);
            notifyAll();
        }

        /** Take one, and wait for it no longer than so; whether it came. */
        synchronized boolean take(SocketEvent event, long ms) throws InterruptedException {
            long deadline = System.nanoTime() + ms * 1_000_000;
            while (counts.getOrDefault(event, 0) == 0) {
                long left = (deadline - System.nanoTime()) / 1_000_000;
                if (left <= 0) {
                    return false;
                }
                wait(left);
            }
            counts.merge(event, -1, Integer::sum);
            return true;
        }
    }

    /** A value of JSON: an object is a Map, a number a Long; there are no arrays. */
    private static final class Json {
        private final String text;
        private int at;

        Json(String text) {
            this.text = text;
        }

        private char peek() {
            while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
                at++;
            }
            return at < text.length() ? text.charAt(at) : '\0';
        }

        private void take(char expected) {
            if (peek() != expected) {
                throw new IllegalArgumentException("there is no " + expected + " at " + at);
            }
            at++;
        }

        Object value() {
            switch (peek()) {
                case '{':
                    return object();
                case '"':
                    return string();
                default:
                    int begin = at;
                    while (at < text.length() && "{},:\" \t".indexOf(text.charAt(at)) < 0) {
                        at++;
                    }
                    return word(text.substring(begin, at));
            }
        }

        private static Object word(String word) {
            return switch (word) {
                case "true" -> 1L;
                case "false" -> 0L;
                case "null" -> null;
                default -> Long.valueOf(word);
            };
        }

        private Map<String, Object> object() {
            Map<String, Object> members = new LinkedHashMap<>();
            take('{');
            while (peek() != '}') {
                String key = string();
                take(':');
                members.put(key, value());
                if (peek() == ',') {
                    at++;
                }
            }
            at++;
            return members;
        }

        private String string() {
            StringBuilder out = new StringBuilder();
            take('"');
            for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
                out.append(c == '\\' ? escaped() : c);
            }
            return out.toString();
        }

        private char escaped() {
            char c = text.charAt(at++);
            switch (c) {
                case 'u':
                    at += 4;
                    return (char) Integer.parseInt(text, at - 4, at, 16);
                case 'b':
                    return '\b';
                case 'f':
                    return '\f';
                case 'n':
                    return '\n';
                case 'r':
                    return '\r';
                case 't':
                    return '\t';
                default:
                    return c;
            }
        }

        static String quote(String text) {
            StringBuilder out = new StringBuilder("\"");
            for (char c : text.toCharArray()) {
                if (c == '"' || c == '\\') {
                    out.append('\\').append(c);
                } else if (c < ' ') {
                    out.append(String.format("\\u%04x", (int) c));
                } else {
                    out.append(c);
                }
            }
            return out.append('"').toString();
        }
    }

    private static String failure(String code, String message) {
        return "{\"ok\":false,\"code\":\"" + code + "\",\"message\":" + Json.quote(message) + "}";
    }

    private static String text(Map<?, ?> command, String key) {
        if (command.get(key) instanceof String text) {
            return text;
        }
        throw new IllegalArgumentException("there is no text " + key);
    }

    private static Options options(Object given) {
        Options.Builder options = Options.builder();
        if (given instanceof Map<?, ?> members) {
            members.forEach((key, value) -> {
                int number = Math.toIntExact((Long) value);
                switch ((String) key) {
                    case "share" -> options.share(number != 0);
                    case "guard" -> options.guard(number);
                    case "exclusive" -> options.exclusive(number != 0);
                    case "mode" -> options.mode(number);
                    case "handover" -> options.handover(number != 0);
                    default -> throw new IllegalArgumentException("no such option: " + key);
                }
            });
        }
        return options.build();
    }

    private static String start(Map<?, ?> command) throws IOException {
        SocketReference fresh = SocketReference.listen(text(command, "path"), options(command.get("options")));
        if (held != null) {
            held.close();
        }
        held = fresh;
        heard = new Heard();
        try {
            held.onEvent(heard::add);
        } catch (SockrefException lost) {
            heard.add(SocketEvent.LOST); // in this moment
        }
        return "{\"ok\":true,\"owner\":" + held.isOwner() + ",\"holders\":" + held.holderCount() + "}";
    }

    private static String status() {
        if (held == null) {
            return "{\"active\":false,\"owner\":false,\"holders\":0,\"count\":0}";
        }
        return "{\"active\":" + held.isActive() + ",\"owner\":" + held.isOwner() + ",\"holders\":"
                + held.holderCount() + ",\"count\":" + held.referenceCount() + "}";
    }

    private static String await(Map<?, ?> command) throws InterruptedException {
        SocketEvent event = switch (text(command, "event")) {
            case "lost" -> SocketEvent.LOST;
            case "owner" -> SocketEvent.OWNER;
            default -> throw new IllegalArgumentException("no such event");
        };
        long ms = command.get("timeout") instanceof Long timeout ? timeout : 0;
        return "{\"ok\":" + heard.take(event, ms) + "}";
    }

    private static void await(SocketChannel channel, int interest, long deadline) throws IOException {
        try (Selector selector = Selector.open()) {
            channel.register(selector, interest);
            long left = (deadline - System.nanoTime()) / 1_000_000;
            if (left <= 0 || selector.select(left) == 0) {
                throw new IOException("timed out");
            }
        }
    }

    private static String dial(Map<?, ?> command) {
        byte[] text = text(command, "text").getBytes(StandardCharsets.UTF_8);
        long deadline = System.nanoTime() + DIAL_TIMEOUT_MS * 1_000_000;
        try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(text(command, "path")))) {
            channel.configureBlocking(false);
            for (ByteBuffer out = ByteBuffer.wrap(text); out.hasRemaining(); channel.write(out)) {
                await(channel, SelectionKey.OP_WRITE, deadline);
            }
            ByteBuffer in = ByteBuffer.allocate(text.length);
            while (in.hasRemaining()) {
                await(channel, SelectionKey.OP_READ, deadline);
                if (channel.read(in) < 0) {
                    return failure("ECONNRESET", "the peer has ended");
                }
            }
            return "{\"ok\":true,\"text\":" + Json.quote(new String(in.array(), StandardCharsets.UTF_8)) + "}";
        } catch (IOException e) {
            String message = String.valueOf(e.getMessage());
            return failure(switch (message) {
                case "Connection refused" -> "ECONNREFUSED";
                case "No such file or directory" -> "ENOENT";
                case "timed out" -> "ETIMEDOUT";
                default -> "EIO";
            }, message);
        }
    }

    private static String run(Map<?, ?> command) throws Exception {
        switch (text(command, "cmd")) {
            case "start":
                return start(command);
            case "status":
                return status();
            case "wait":
                return await(command);
            case "serve":
                if (held == null) {
                    return failure("ESOCKREF_CLOSED", "nothing is held");
                }
                held.serveEcho();
                return "{\"ok\":true}";
            case "dial":
                return dial(command);
            case "close":
                if (held != null) {
                    held.close();
                    held = null;
                }
                return "{\"ok\":true}";
            case "exit":
                return "{\"ok\":true}";
            default:
                return failure("EINVAL", "no such command");
        }
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String answer;
            boolean last = false;
            try {
                Map<?, ?> command = (Map<?, ?>) new Json(line).value();
                last = "exit".equals(command.get("cmd"));
                answer = run(command);
            } catch (SockrefException e) {
                answer = failure(e.code(), e.getMessage());
            } catch (RuntimeException e) {
                answer = failure("EINVAL", e.toString());
            }
            byte[] bytes = (answer + "\n").getBytes(StandardCharsets.UTF_8);
            System.out.write(bytes, 0, bytes.length);
            System.out.flush();
            if (last) {
                return;
            }
        }
    }
}
