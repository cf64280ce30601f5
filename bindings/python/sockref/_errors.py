"""What a status of the library becomes in Python."""

from __future__ import annotations

import errno as _errno
import os
import socket

from . import _native  # noqa: F401  (the check comes first)
from . import _lowlevel

# The library's own statuses; their numbers are fixed for ever.
EPATH = -20001
EFOREIGN = -20003
EEXISTS = -20004
ENOTFOUND = -20005
ELIMIT = -20006
ECLOSED = -20007
ETIMEOUT = -20010
EBUSY = -20012

# The nearest errno of each.
_NEAREST = {
    EPATH: _errno.EINVAL,
    -20002: _errno.ENAMETOOLONG,
    EFOREIGN: _errno.EADDRINUSE,
    EEXISTS: _errno.EEXIST,
    ENOTFOUND: _errno.ENOENT,
    ELIMIT: _errno.EMFILE,
    ECLOSED: _errno.EBADF,
    -20008: _errno.EOWNERDEAD,
    -20009: _errno.ESHUTDOWN,
    ETIMEOUT: _errno.ETIMEDOUT,
    -20011: _errno.ECANCELED,
    EBUSY: _errno.EBUSY,
    -20013: _errno.EPERM,
    -20014: _errno.EOPNOTSUPP,
}


class SockrefError(OSError):
    """A call of sockref was refused, by the system or by sockref itself.

    code is what programs compare: the name of an errno ("EACCES"), or of a status of sockref's own
    ("ESOCKREF_LIMIT"). errno is positive, for sockref's own codes the nearest one. syscall is the name of the
    system call that refused, or None; path (and filename) the path concerned, or None.

    An errno that has an exception class of its own gives an error of that class as well, so
    ``except FileNotFoundError`` works; EINVAL and ESOCKREF_PATH are ValueErrors as well.
    """

    code: str
    status: int
    syscall: str | None
    path: str | None

    def __init__(
        self,
        status: int,
        os_errno: int = 0,
        syscall: str | None = None,
        path: bytes | None = None,
        message: str | None = None,
    ) -> None:
        text = message or _lowlevel.sockref_status_message(status)
        name = None if path is None else os.fsdecode(path)
        number = _errno_of(status, os_errno, syscall)
        if name is None:
            super().__init__(number, text)
        else:
            super().__init__(number, text, name)
        self.status = status
        self.code = _lowlevel.sockref_status_name(status)
        self.syscall = syscall
        self.path = name

    def __reduce__(self) -> tuple[type[SockrefError], tuple[int, int, str | None, bytes | None, str | None]]:
        path = None if self.path is None else os.fsencode(self.path)
        return type(self), (self.status, self.errno or 0, self.syscall, path, self.strerror)


class SockrefValueError(SockrefError, ValueError):
    """A wrong argument: EINVAL, ESOCKREF_PATH."""


class SockrefPermissionError(SockrefError, PermissionError):
    """EACCES, EPERM, ESOCKREF_UNTRUSTED."""


class SockrefFileNotFoundError(SockrefError, FileNotFoundError):
    """ENOENT, ESOCKREF_NOTFOUND."""


class SockrefFileExistsError(SockrefError, FileExistsError):
    """EEXIST, ESOCKREF_EXISTS."""


class SockrefTimeoutError(SockrefError, TimeoutError):
    """ETIMEDOUT, ESOCKREF_TIMEOUT."""


class SockrefNotADirectoryError(SockrefError, NotADirectoryError):
    """ENOTDIR."""


class SockrefIsADirectoryError(SockrefError, IsADirectoryError):
    """EISDIR."""


class SockrefBlockingIOError(SockrefError, BlockingIOError):
    """EAGAIN."""


class SockrefInterruptedError(SockrefError, InterruptedError):
    """EINTR."""


class SockrefBrokenPipeError(SockrefError, BrokenPipeError):
    """EPIPE."""


class SockrefConnectionResetError(SockrefError, ConnectionResetError):
    """ECONNRESET."""


class SockrefConnectionAbortedError(SockrefError, ConnectionAbortedError):
    """ECONNABORTED."""


class SockrefConnectionRefusedError(SockrefError, ConnectionRefusedError):
    """ECONNREFUSED."""


class SockrefHostNotFoundError(SockrefError, socket.gaierror):
    """There is no such host: errno is socket.EAI_NONAME."""


class SockrefResolverError(SockrefError, socket.gaierror):
    """A host could not be looked up: errno is socket.EAI_AGAIN, when it may be later, or socket.EAI_FAIL."""


_CLASSES: dict[int, type[SockrefError]] = {
    _errno.EINVAL: SockrefValueError,
    _errno.EACCES: SockrefPermissionError,
    _errno.EPERM: SockrefPermissionError,
    _errno.ENOENT: SockrefFileNotFoundError,
    _errno.EEXIST: SockrefFileExistsError,
    _errno.ETIMEDOUT: SockrefTimeoutError,
    _errno.ENOTDIR: SockrefNotADirectoryError,
    _errno.EISDIR: SockrefIsADirectoryError,
    _errno.EAGAIN: SockrefBlockingIOError,
    _errno.EINTR: SockrefInterruptedError,
    _errno.EPIPE: SockrefBrokenPipeError,
    _errno.ECONNRESET: SockrefConnectionResetError,
    _errno.ECONNABORTED: SockrefConnectionAbortedError,
    _errno.ECONNREFUSED: SockrefConnectionRefusedError,
}


_LOOKUP = "getaddrinfo"
#: What it fails with, but for want of memory or descriptors.
_OF_LOOKUP: dict[int, tuple[int, type[SockrefError]]] = {
    ENOTFOUND: (socket.EAI_NONAME, SockrefHostNotFoundError),
    -_errno.EAGAIN: (socket.EAI_AGAIN, SockrefResolverError),
    -_errno.EIO: (socket.EAI_FAIL, SockrefResolverError),
}


def _errno_of(status: int, os_errno: int, syscall: str | None) -> int:
    if syscall == _LOOKUP and status in _OF_LOOKUP:
        return _OF_LOOKUP[status][0]
    if status in _NEAREST:
        return _NEAREST[status]
    return os_errno or -status


def make_error(
    status: int,
    os_errno: int = 0,
    syscall: str | None = None,
    path: bytes | None = None,
    message: str | None = None,
) -> SockrefError:
    """Build the error of a status, in the class that fits."""
    if syscall == _LOOKUP and status in _OF_LOOKUP:
        kind = _OF_LOOKUP[status][1]
    else:
        kind = _CLASSES.get(_errno_of(status, os_errno, syscall), SockrefError)
    return kind(status, os_errno, syscall, path, message)


_lowlevel.set_error_factory(make_error)
