package org.sockref;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * A program in a VM of its own, under -Xcheck:jni: what it wrote, and how it ended. One that is not done in time is
 * killed, so that nobody waits for its next line for ever.
 */
final class Child {
    private static final int LIMIT_SECONDS = 100;

    private final Process process;
    private final StringBuilder output = new StringBuilder();
    private final BufferedReader reader;

    private Child(ProcessBuilder builder) throws IOException {
        process = builder.redirectErrorStream(true).start();
        reader = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        CompletableFuture.delayedExecutor(LIMIT_SECONDS, TimeUnit.SECONDS).execute(process::destroyForcibly);
    }

    static Child start(Class<?> program, Object... arguments) throws IOException {
        return start(List.of(), Map.of(), program, arguments);
    }

    /** Load the libraries from where they were built: one that is killed leaves no copies of them. */
    static Child startInTree(List<String> prefix, Map<String, String> environment, Class<?> program,
            Object... arguments) throws IOException {
        return start(prefix, environment, System.getProperty("java.class.path"),
                List.of("-D" + NativeLoader.PROPERTY + "=" + System.getProperty("sockref.native.dir")), program,
                arguments);
    }

    static Child start(List<String> prefix, Map<String, String> environment, Class<?> program, Object... arguments)
            throws IOException {
        return start(prefix, environment, System.getProperty("java.class.path"), List.of(), program, arguments);
    }

    static Child start(List<String> prefix, Map<String, String> environment, String classPath, List<String> options,
            Class<?> program, Object... arguments) throws IOException {
        List<String> command = new ArrayList<>(prefix);
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of("-Xcheck:jni", "-Xshare:auto", "-XX:TieredStopAtLevel=1"));
        command.addAll(options);
        command.addAll(List.of("-cp", classPath, program.getName()));
        Arrays.stream(arguments).map(Object::toString).forEach(command::add);
        return start(command, environment);
    }

    /** Any command, with no guard named but by {@code environment}. */
    static Child start(List<String> command, Map<String, String> environment) throws IOException {
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().remove("SOCKREF_GUARD");
        builder.environment().putAll(environment);
        return new Child(builder);
    }

    /** The next line that begins so. */
    String line(String beginning) throws IOException {
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            output.append(line).append('\n');
            if (line.startsWith(beginning)) {
                return line;
            }
        }
        throw new AssertionError("no line begins with " + beginning + ":\n" + output);
    }

    Process process() {
        return process;
    }

    /** Give a command and take the answer, which begins with the same word: what follows it. */
    String ask(String command) throws IOException {
        write(command);
        String answer = line(command);
        return answer.substring(Math.min(answer.length(), command.length() + 1));
    }

    /** SIGKILL. */
    void kill() throws Exception {
        process.destroyForcibly().waitFor();
    }

    /** End its standard input, then wait; the exit status. */
    int leave() throws Exception {
        process.getOutputStream().close();
        return end();
    }

    /** Tell it to go on. */
    void write(String line) throws IOException {
        process.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().flush();
    }

    /** Wait for its end; the exit status. */
    int end() throws Exception {
        for (String line = reader.readLine(); line != null; line = reader.readLine()) {
            output.append(line).append('\n');
        }
        process.waitFor();
        String told = output.toString();
        if (told.contains("in native method") || told.contains("fatal error")) {
            throw new AssertionError("the VM complains:\n" + told);
        }
        return process.exitValue();
    }

    String output() {
        return output.toString();
    }
}
