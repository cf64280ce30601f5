"""Errors: the scenarios of tests/lifecycle.md by number."""

from __future__ import annotations

import copy
import errno
import gc
import os
import pickle
import socket
import stat
import weakref
from pathlib import Path

import pytest
from helpers import BLOB, Echo, code_of, dial, is_socket, round_trip, run, script

import sockref
from sockref import Registry, SocketReference, SockrefError


def test_l12_wrong_handle(path: Path) -> None:
    from sockref import _lowlevel

    reference = sockref.listen(path)
    with Registry() as registry:
        for wrong in (None, 1, "x", object(), registry, registry._handle, reference):
            with pytest.raises(TypeError):
                _lowlevel.sockref_path(wrong)  # type: ignore[arg-type]
            with pytest.raises(TypeError):
                _lowlevel.close_reference(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        SocketReference()
    with pytest.raises(TypeError):
        copy.copy(reference)
    with pytest.raises(TypeError):
        pickle.dumps(reference)
    reference.close()
    assert (reference.path, reference.is_active, reference.is_owner) == (str(path), False, False)
    assert (reference.reference_count, reference.holder_count) == (0, 0)
    for call in (reference.dup, reference.fd, reference.socket, reference.serve_echo):
        assert code_of(call) == "ESOCKREF_CLOSED"
    assert code_of(reference.serve, Echo()) == "ESOCKREF_CLOSED"
    with pytest.raises(TypeError):
        reference.serve(object())  # type: ignore[arg-type]


def test_l13_bad_paths(directory: Path) -> None:
    base = str(directory)
    for bad, code in (
        ("", "ESOCKREF_PATH"),
        ("relative.sock", "ESOCKREF_PATH"),
        (f"{base}/../x.sock", "ESOCKREF_PATH"),
        (f"{base}/a\nb.sock", "ESOCKREF_PATH"),
        (f"{base}/a\0b.sock", "ESOCKREF_PATH"),
        (f"{base}/a.sock/", "ESOCKREF_PATH"),
        (f"{base}/" + "x" * 256, "ESOCKREF_PATHLEN"),
        ("/" + "x" * 5000, "ESOCKREF_PATHLEN"),
    ):
        for call in (sockref.listen, sockref.get_or_create, sockref.get_existing, sockref.cleanup):
            with pytest.raises(SockrefError) as caught:
                call(bad)
            assert caught.value.code == code
            assert caught.value.path == bad
            assert isinstance(caught.value, ValueError) == (code == "ESOCKREF_PATH")
        with pytest.raises(SockrefError):
            run(sockref.start_listener(bad))
        assert not sockref.is_socket_active(bad)
    for wrong in (1, 1.5, object(), ["x"]):
        for call in (sockref.listen, sockref.get_or_create, sockref.cleanup):
            with pytest.raises(TypeError):
                call(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            run(sockref.start_listener(wrong))  # type: ignore[arg-type]
    assert os.listdir(directory) == []


def test_l15_long_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = directory / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    reference = sockref.listen(deep / "a.sock")
    reference.serve_echo()
    assert is_socket(deep / "a.sock")
    monkeypatch.chdir(deep)
    assert round_trip("a.sock", b"x") == b"x"
    reference.close()
    assert os.listdir(deep) == []


def test_l17_something_else_in_the_way(directory: Path) -> None:
    (directory / "file").write_bytes(BLOB)
    (directory / "dir").mkdir()
    os.mkfifo(directory / "fifo")
    (directory / "link").symlink_to("file")
    before = {name: os.lstat(directory / name) for name in os.listdir(directory)}
    for name in before:
        assert code_of(sockref.listen, directory / name) == "ESOCKREF_FOREIGN"
        with pytest.raises(SockrefError):
            run(sockref.start_listener(directory / name))
    after = {name: os.lstat(directory / name) for name in os.listdir(directory)}
    assert {name: (found.st_ino, found.st_mode) for name, found in before.items()} == {
        name: (found.st_ino, found.st_mode) for name, found in after.items()
    }
    assert (directory / "file").read_bytes() == BLOB


def test_l18_foreign_sockets(directory: Path) -> None:
    live, dead = directory / "live", directory / "dead"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as gone:
        server.bind(str(live))
        server.listen()
        gone.bind(str(dead))
        inode = os.lstat(live).st_ino
        with pytest.raises(SockrefError) as caught:
            sockref.listen(live)
        assert (caught.value.errno, caught.value.code) == (errno.EADDRINUSE, "ESOCKREF_FOREIGN")
        with pytest.raises(SockrefError):
            run(sockref.start_listener(live))
        assert os.lstat(live).st_ino == inode
        dial(live).close()
        assert sorted(os.listdir(directory)) == ["dead", "live"]
    with sockref.listen(dead) as reference:
        assert reference.is_owner
        dial(dead).close()
    live.unlink()


def test_l19_directories(directory: Path) -> None:
    missing = directory / "missing" / "a.sock"
    with pytest.raises(FileNotFoundError) as caught:
        sockref.listen(missing)
    assert isinstance(caught.value, SockrefError)
    assert (caught.value.code, caught.value.errno) == ("ENOENT", errno.ENOENT)
    assert caught.value.path and caught.value.path.startswith(str(missing.parent))

    open_to_all = directory / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(PermissionError) as refused:
        sockref.listen(open_to_all / "a.sock")
    assert isinstance(refused.value, SockrefError) and refused.value.code == "ESOCKREF_UNTRUSTED"

    closed = directory / "closed"
    closed.mkdir()
    closed.chmod(0o500)
    directory.chmod(0o755)
    script(
        """
        import os, sys, sockref
        target = sys.argv[1]
        if os.getuid() == 0:
            os.chown(os.path.dirname(target), 65534, 65534)
            os.setuid(65534)
        try:
            sockref.listen(target)
        except PermissionError as error:
            assert isinstance(error, sockref.SockrefError)
            assert (error.code, error.errno) == ("EACCES", 13), error
            assert error.path is not None
        else:
            raise AssertionError("it listens")
        """,
        closed / "a.sock",
    )


def test_l26_limits(directory: Path) -> None:
    with Registry(max_sockets=2, max_references=3) as registry:
        first, second = registry.listen(directory / "1"), registry.listen(directory / "2")
        assert code_of(registry.listen, directory / "3") == "ESOCKREF_LIMIT"
        more = [first.dup(), first.dup()]
        assert code_of(first.dup) == "ESOCKREF_LIMIT"
        assert code_of(registry.listen, directory / "1") == "ESOCKREF_LIMIT"
        more.pop().close()
        more.append(first.dup())
        second.close()
        third = registry.listen(directory / "3")
        for reference in (first, third, *more):
            reference.close()


def test_l27_options(path: Path, directory: Path) -> None:
    for options, error in (
        ({"nope": 1}, TypeError),
        ({"max_sockets": 1}, TypeError),
        ({"max_references": 1}, TypeError),
        ({"directory": "/tmp"}, TypeError),
        ({"keep_file": True}, TypeError),
        ({"mode": "0600"}, TypeError),
        ({"backlog": 1.5}, TypeError),
        ({"mode": 0o1000}, ValueError),
        ({"backlog": -5}, ValueError),
        ({"guard": 3}, ValueError),
        ({"unique": 2}, ValueError),
        ({"max_buffered": 2**64}, ValueError),
    ):
        with pytest.raises(error):
            sockref.listen(path, **options)
        with pytest.raises(error):
            run(sockref.start_listener(path, **options))
    with pytest.raises(TypeError):
        Registry(nope=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Registry(directory=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Registry(max_sockets=0)
    with pytest.raises(SockrefError):
        Registry(directory="relative")
    assert os.listdir(directory) == []
    with sockref.listen(path, mode=0o640, backlog=5, unique=None):
        assert stat.S_IMODE(os.lstat(path).st_mode) == 0o640


def test_each_number_sets_its_own_option() -> None:
    """The library says what it refuses: no value of one option is taken for that of another."""
    for option, wrong, name in (
        ("mode", 0o1000, "mode"),
        ("backlog", 0, "backlog"),
        ("share", 2, "share"),
        ("guard", 3, "guard"),
        ("cleanup_delay_ms", -1, "cleanup delay"),
        ("cleanup_timeout_ms", -1, "cleanup time-out"),
        ("start_timeout_ms", -1, "start time-out"),
        ("max_sockets", 0, "limit of sockets"),
        ("max_references", 0, "limit of references"),
        ("max_connections", -1, "limit of connections"),
        ("max_buffered", -1, "limit of buffered bytes"),
        ("unique", 2, "unique"),
        ("exclusive", 2, "exclusive"),
        ("handover", 2, "hand-over"),
        ("ipv6_only", 2, "IPv6 only"),
        ("reuse_port", 2, "reuse of the port"),
        ("keep_file", 2, "keeping of the file"),
        ("bind_only", 2, "bind-only switch"),
    ):
        with pytest.raises(ValueError, match=f"the {name} must be "):
            Registry(**{option: wrong})  # type: ignore[arg-type]


def test_l43_errors(directory: Path) -> None:
    missing = directory / "no" / "a.sock"
    with pytest.raises(SockrefError) as caught:
        sockref.listen(missing)
    error = caught.value
    assert isinstance(error, FileNotFoundError) and isinstance(error, OSError)
    assert (error.code, error.errno) == ("ENOENT", errno.ENOENT)
    assert isinstance(error.syscall, str) and error.syscall
    assert pickle.loads(pickle.dumps(error)).syscall == error.syscall
    assert error.path == error.filename and str(directory / "no") in str(error.path)
    with pytest.raises(SockrefError) as caught:
        sockref.cleanup(directory / "none")
    error = caught.value
    assert (error.code, error.errno, error.syscall) == ("ESOCKREF_NOTFOUND", errno.ENOENT, None)
    assert error.path == str(directory / "none")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.code, again.errno, again.path, str(again)) == (error.code, error.errno, error.path, str(error))


def test_each_status_has_its_code_and_errno() -> None:
    from sockref._errors import make_error

    for status, code, number in (
        (-20001, "ESOCKREF_PATH", errno.EINVAL),
        (-20002, "ESOCKREF_PATHLEN", errno.ENAMETOOLONG),
        (-20003, "ESOCKREF_FOREIGN", errno.EADDRINUSE),
        (-20004, "ESOCKREF_EXISTS", errno.EEXIST),
        (-20005, "ESOCKREF_NOTFOUND", errno.ENOENT),
        (-20006, "ESOCKREF_LIMIT", errno.EMFILE),
        (-20007, "ESOCKREF_CLOSED", errno.EBADF),
        (-20008, "ESOCKREF_FORKED", errno.EOWNERDEAD),
        (-20009, "ESOCKREF_SHUTDOWN", errno.ESHUTDOWN),
        (-20010, "ESOCKREF_TIMEOUT", errno.ETIMEDOUT),
        (-20011, "ESOCKREF_CANCELED", errno.ECANCELED),
        (-20012, "ESOCKREF_BUSY", errno.EBUSY),
        (-20013, "ESOCKREF_UNTRUSTED", errno.EPERM),
        (-20014, "ESOCKREF_UNSUPPORTED", errno.EOPNOTSUPP),
    ):
        error = make_error(status)
        assert (error.status, error.code, error.errno) == (status, code, number)
    for number, kind in (
        (errno.EINVAL, ValueError),
        (errno.EACCES, PermissionError),
        (errno.EPERM, PermissionError),
        (errno.ENOENT, FileNotFoundError),
        (errno.EEXIST, FileExistsError),
        (errno.ETIMEDOUT, TimeoutError),
        (errno.ENOTDIR, NotADirectoryError),
        (errno.EISDIR, IsADirectoryError),
        (errno.EAGAIN, BlockingIOError),
        (errno.EINTR, InterruptedError),
        (errno.EPIPE, BrokenPipeError),
        (errno.ECONNRESET, ConnectionResetError),
        (errno.ECONNABORTED, ConnectionAbortedError),
        (errno.ECONNREFUSED, ConnectionRefusedError),
    ):
        error = make_error(-number)
        assert isinstance(error, kind) and (error.code, error.errno) == (errno.errorcode[number], number)


def test_only_a_lookup_of_a_host_fails_as_one() -> None:
    from sockref._errors import make_error

    for status, number in ((-20005, socket.EAI_NONAME), (-errno.EAGAIN, socket.EAI_AGAIN), (-errno.EIO, socket.EAI_FAIL)):
        unknown = make_error(status, syscall="getaddrinfo")
        assert isinstance(unknown, socket.gaierror) and unknown.errno == number
        copied = pickle.loads(pickle.dumps(unknown))
        assert (type(copied), copied.errno, copied.code) == (type(unknown), number, unknown.code)
        assert not isinstance(make_error(status, syscall="connect"), socket.gaierror)
    assert not isinstance(make_error(-errno.EMFILE, errno.EMFILE, "getaddrinfo"), socket.gaierror)


def test_a_host_without_a_network() -> None:
    """The error says what asyncio's says."""
    out = script(
        """
        import asyncio, ctypes, socket, sockref.aio
        CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
        system = ctypes.CDLL(None)
        if system.unshare(CLONE_NEWNET) != 0:
            system.unshare(CLONE_NEWNET | CLONE_NEWUSER)

        async def main():
            told = []
            for connect in asyncio.open_connection, sockref.aio.open_connection:
                try:
                    await connect("there-is-no-such-host.invalid", 1)
                except socket.gaierror as error:
                    told.append(error)
            theirs, ours = told
            assert isinstance(ours, sockref.SockrefError) and ours.syscall == "getaddrinfo"
            assert ours.errno == theirs.errno, ours
            print("there-is-no-such-host.invalid" in ours.strerror)

        asyncio.run(main())
        """
    )
    assert out == "True\n"


def test_an_error_goes_with_who_handled_it(path: Path) -> None:
    """Also that of a start which waited: it is in no cycle with the frames that it came through."""
    with sockref.listen(path), Registry() as other:
        gc.collect()
        gc.disable()
        try:
            other.listen(path, exclusive=True)
        except SockrefError as error:
            told = weakref.ref(error)
        finally:
            gc.enable()
        assert told() is None
