package org.sockref;

import java.io.IOException;

/**
 * A call that failed: which error, as programs compare it, and what it was about.
 *
 * <p>A call that failed has changed nothing, except where its comment says otherwise.
 */
public final class SockrefException extends IOException {
    static final int EPATH = -20001;
    static final int ENOTFOUND = -20005;
    static final int ECLOSED = -20007;
    static final int ESHUTDOWN = -20009;
    static final int EBUSY = -20012;

    private static final long serialVersionUID = 1L;

    /** The error's name. */
    private final String code;
    /** A positive errno. */
    private final int errno;
    /** A system call's name, or null. */
    private final String syscall;
    /** The path concerned, or null. */
    private final String path;

    private SockrefException(String message, String code, int errno, String syscall, String path) {
        super(message);
        this.code = code;
        this.errno = errno;
        this.syscall = syscall;
        this.path = path;
    }

    /** Called from C. */
    static SockrefException of(int status, int errno, String code, byte[] syscall, byte[] path, byte[] message) {
        return new SockrefException(message == null ? code : PathBytes.text(message), code, errno,
                syscall == null ? null : PathBytes.text(syscall), path == null ? null : PathBytes.text(path));
    }

    /** What this side of the border refuses. */
    static SockrefException of(int status, String path, String message) {
        return new SockrefException(message, SockrefNative.sockref_status_name(status), Shim.statusErrno(status), null,
                path);
    }

    /** What a system call of a channel refused: a negative errno. */
    static SockrefException ofCall(int status, String syscall) {
        return ofCall(status, syscall, "");
    }

    /** The same, with what is said before the system's own words. */
    static SockrefException ofCall(int status, String syscall, String said) {
        return new SockrefException(said + SockrefNative.sockref_status_message(status),
                SockrefNative.sockref_status_name(status), Shim.statusErrno(status), syscall, null);
    }

    /** For one more who is told of what a thread of ours met, which is its cause. */
    SockrefException again() {
        SockrefException again = new SockrefException(getMessage(), code, errno, syscall, path);
        again.initCause(this);
        return again;
    }

    /** The result of a system call, unless that is a negative errno. */
    static int checked(int result, String syscall) throws SockrefException {
        if (result < 0) {
            throw ofCall(result, syscall);
        }
        return result;
    }

    /**
     * The error's name: {@code "EACCES"} where the system refused, {@code "ESOCKREF_LIMIT"} where sockref did.
     *
     * @return the name, never null
     */
    public String code() {
        return code;
    }

    /**
     * The error's number, positive as in C; for sockref's own errors the nearest that the system has.
     *
     * @return the number
     */
    public int errno() {
        return errno;
    }

    /**
     * The system call that refused.
     *
     * @return its name, or null if it was none
     */
    public String syscall() {
        return syscall;
    }

    /**
     * The path concerned.
     *
     * @return the path, or null if there is none
     */
    public String path() {
        return path;
    }
}
