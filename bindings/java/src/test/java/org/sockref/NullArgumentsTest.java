package org.sockref;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.FileDescriptor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ProtocolFamily;
import java.net.SocketAddress;
import java.net.SocketOption;
import java.net.StandardProtocolFamily;
import java.net.StandardSocketOptions;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import org.junit.jupiter.api.Test;

/** Every public method says by its name which argument must not be null, and does nothing. */
class NullArgumentsTest extends ChannelScene {
    /** They take null, and say so. */
    private static final Set<String> PERMITTED = Set.of("isSocketActive 0", "onEvent 0", "bind 0", "equals 0");

    private final Map<Class<?>, Object> samples = new HashMap<>();
    private final List<String> faults = new ArrayList<>();

    private Object sample(Class<?> type) {
        Object found = samples.get(type);
        assertTrue(found != null, () -> "there is no sample of " + type);
        return found;
    }

    private void makeSamples() throws Exception {
        samples.put(String.class, path("never").toString());
        samples.put(Path.class, path("never"));
        samples.put(byte[].class, path("never").toString().getBytes());
        samples.put(Object.class, 1000);
        samples.put(int.class, 0);
        samples.put(long.class, 0L);
        samples.put(boolean.class, false);
        samples.put(Options.class, Options.NONE);
        samples.put(ConnectOptions.class, ConnectOptions.NONE);
        samples.put(ConnectionOptions.class, ConnectionOptions.NONE);
        samples.put(Handlers.class, new Handlers() { });
        samples.put(Executor.class, (Executor) Runnable::run);
        samples.put(Runnable.class, (Runnable) () -> { });
        samples.put(Duration.class, Duration.ZERO);
        samples.put(SocketEvent.Listener.class, (SocketEvent.Listener) event -> { });
        samples.put(SocketPool.Policy.class, SocketPool.Policy.ROUND_ROBIN);
        samples.put(ByteBuffer.class, ByteBuffer.allocateDirect(0));
        samples.put(ByteBuffer[].class, new ByteBuffer[0]);
        samples.put(FileDescriptor.class, FileDescriptor.in);
        samples.put(ProtocolFamily.class, StandardProtocolFamily.INET);
        samples.put(SocketOption.class, StandardSocketOptions.SO_RCVBUF);
        samples.put(SocketAddress.class, UnixDomainSocketAddress.of(path("never")));
        samples.put(InetSocketAddress.class, new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
        samples.put(List.class, List.of(InetAddress.getLoopbackAddress()));
    }

    /** Null for each argument in turn; others are such that nothing would come of it. */
    private void look(Class<?> type, Object object) throws Exception {
        for (Method method : type.getDeclaredMethods()) {
            if (!Modifier.isPublic(method.getModifiers()) || method.isSynthetic()) {
                continue;
            }
            Class<?>[] types = method.getParameterTypes();
            for (int i = 0; i < types.length; i++) {
                if (!types[i].isPrimitive() && !PERMITTED.contains(method.getName() + " " + i)) {
                    Object[] arguments = new Object[types.length];
                    for (int j = 0; j < types.length; j++) {
                        arguments[j] = j == i ? null : sample(types[j]);
                    }
                    look(method, i, object, arguments);
                }
            }
        }
    }

    private void look(Method method, int index, Object object, Object[] arguments) throws Exception {
        String told = "nothing";
        try {
            Object outcome = method.invoke(object, arguments);
            if (outcome instanceof CompletableFuture<?> future) {
                future.get();
            }
        } catch (InvocationTargetException | ExecutionException e) {
            Throwable problem = e.getCause();
            told = problem instanceof NullPointerException ? problem.getMessage() : problem.toString();
        }
        if (told == null || told.equals("nothing") || !told.matches("[a-zA-Z]+")) {
            faults.add(method + ", argument " + index + ": " + told);
        }
    }

    @Test
    void eachIsNamed() throws Exception {
        makeSamples();
        look(Sockref.class, null);
        look(Options.Builder.class, Options.builder());
        look(ConnectionOptions.Builder.class, ConnectionOptions.builder());
        try (Registry registry = new Registry(); Pair pair = new Pair(); SocketPool pool = new SocketPool();
                SocketReference reference = SocketReference.listen(path("s"))) {
            samples.put(SocketReference.class, reference);
            look(ConnectOptions.Builder.class, ConnectOptions.builder());
            look(Registry.class, registry);
            look(SocketReference.class, reference);
            look(SocketPool.class, pool);
            look(SockrefChannel.class, pair.channel);
            look(SockrefServerChannel.class, pair.server);
            reference.serve(new Handlers() {
                @Override
                public void onConnection(Connection connection) throws Exception {
                    look(Connection.class, connection);
                    connection.end();
                }
            });
            assertEquals(0, receive(dial(path("s")), 1).length);
        }
        assertTrue(faults.isEmpty(), () -> String.join("\n", faults));
    }
}
