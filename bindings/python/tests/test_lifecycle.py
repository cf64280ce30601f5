"""The scenarios of tests/lifecycle.md, by their numbers."""

from __future__ import annotations

import asyncio
import copy
import errno
import gc
import os
import pickle
import shutil
import socket
import stat
import sys
import threading
from pathlib import Path

import pytest
from helpers import (
    LIMIT,
    Agent,
    Echo,
    Watcher,
    beside,
    dial,
    execute,
    is_socket,
    left_in,
    round_trip,
    run,
    script,
    sockets_in,
    until,
)

import sockref
import sockref.aio
from sockref import Registry, SockrefError, SocketReference
from sockref._native import check_versions

BLOB = bytes(range(256)) * 256


def code_of(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(SockrefError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    return caught.value.code


def refuses(name: str) -> bool:
    try:
        dial(name).close()
    except ConnectionRefusedError:
        return True
    return False


def test_l01_start_makes_a_socket_file(path: Path) -> None:
    reference = run(sockref.start_listener(path))
    assert is_socket(path)
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o600
    assert (reference.path, reference.path_bytes) == (str(path), os.fsencode(path))
    assert reference.is_active and reference.is_owner
    assert (reference.reference_count, reference.holder_count) == (1, 1)
    assert sockref.active_socket_count() == 1
    assert sockref.is_socket_active(path)
    assert set(os.listdir(path.parent)) == {path.name} | beside(path)
    reference.close()
    assert os.listdir(path.parent) == []


def test_l02_second_start_shares(path: Path, directory: Path) -> None:
    first = run(sockref.start_listener(path))
    second = sockref.listen(path)
    assert first.reference_count == second.reference_count == 2
    assert sockets_in(directory) == [str(path)]
    assert sockref.active_socket_count() == 1
    second.close()
    first.close()


def test_l03_one_of_two_closed(path: Path) -> None:
    first, second = sockref.listen(path), sockref.listen(path)
    second.close()
    assert first.reference_count == 1
    assert is_socket(path)
    dial(path).close()
    first.close()


def test_l04_last_close_removes(path: Path) -> None:
    active = sockref.active_socket_count()
    with sockref.listen(path):
        pass
    assert not os.path.lexists(path)
    assert not sockref.is_socket_active(path)
    assert sockref.active_socket_count() == active


def test_l05_second_life_works(path: Path) -> None:
    for _ in range(3):
        with sockref.listen(path) as reference:
            reference.serve_echo()
            assert round_trip(path, b"again") == b"again"


def test_l06_echo(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve_echo()
        assert round_trip(path, b"\0zero\0") == b"\0zero\0"
        assert round_trip(path, BLOB) == BLOB


def test_l07_close_twice_releases_once(path: Path) -> None:
    first, second = sockref.listen(path), sockref.listen(path)
    second.close()
    second.close()
    assert first.reference_count == 1
    first.close()


def test_l08_close_races_calls(path: Path) -> None:
    keeper = sockref.listen(path)
    for _ in range(50):
        reference = keeper.dup()
        failures: list[BaseException] = []
        go = threading.Barrier(4)

        def call(reference: SocketReference = reference, go: threading.Barrier = go) -> None:
            go.wait()
            for _ in range(50):
                try:
                    assert reference.path == str(path)
                    assert reference.reference_count in (0, *range(1, 10))
                    reference.is_active
                    reference.dup().close()
                    os.close(reference.fd())
                except SockrefError as error:
                    if error.code != "ESOCKREF_CLOSED":
                        failures.append(error)
                except BaseException as error:
                    failures.append(error)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.wait()
        reference.close()
        for thread in threads:
            thread.join()
        assert failures == []
    assert keeper.reference_count == 1
    keeper.close()


def test_l09_dropped_without_close(path: Path) -> None:
    reference = sockref.listen(path)
    assert is_socket(path)
    del reference
    gc.collect()
    assert not os.path.lexists(path)


def test_l10_close_then_finalizer(path: Path) -> None:
    first, second = sockref.listen(path), sockref.listen(path)
    second.close()
    del second
    gc.collect()
    assert first.reference_count == 1
    first.close()


def test_l11_dup(path: Path) -> None:
    first = sockref.listen(path)
    second = first.dup()
    assert first.reference_count == 2
    first.close()
    assert second.is_active and second.reference_count == 1
    assert is_socket(path)
    second.close()


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


def test_l14_unusual_names(directory: Path) -> None:
    base = os.fsencode(directory)
    for leaf in (b"a..b.sock", b"with space.sock", b"\xff\xfe.sock", "ü.sock".encode()):
        raw = base + b"/" + leaf
        with sockref.listen(raw) as reference:
            assert reference.path_bytes == raw
            assert os.fsencode(reference.path) == raw
            assert is_socket(raw)
            reference.serve_echo()
            assert round_trip(raw, b"x") == b"x"
            assert sockref.is_socket_active(os.fsdecode(raw))


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


def test_l16_abstract_name() -> None:
    name = f"@sockref-test-{os.getpid()}"
    with sockref.listen(name) as first, sockref.listen(name) as second:
        assert first.path == name and second.reference_count == 2
        first.serve_echo()
        assert round_trip("\0" + name[1:], b"x") == b"x"
    assert not sockref.is_socket_active(name)
    until(lambda: refuses("\0" + name[1:]), "the end of the listener")


def test_l16_served_abstract_name_starts_again() -> None:
    name = f"@sockref-test-again-{os.getpid()}"
    for _ in range(20):
        with sockref.listen(name) as reference:
            reference.serve_echo()


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
    assert code_of(sockref.listen, open_to_all / "a.sock") == "ESOCKREF_UNTRUSTED"

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


def test_l20_spellings(directory: Path) -> None:
    (directory / "real").mkdir()
    (directory / "link").symlink_to("real")
    base = str(directory)
    spellings = [f"{base}/real/a.sock", f"{base}//real/./a.sock", f"{base}/link/a.sock"]
    references = [sockref.listen(spelling) for spelling in spellings]
    assert [reference.reference_count for reference in references] == [3, 3, 3]
    assert sockref.active_socket_count() == 1
    for reference in references:
        reference.close()


def test_l21_get(path: Path) -> None:
    assert sockref.get_existing(path) is None
    assert SocketReference.get_existing(path) is None
    reference = SocketReference.get_or_create(path)
    assert not path.exists()
    assert reference.is_active and not reference.is_owner
    assert code_of(reference.fd) == "ESOCKREF_CLOSED"
    found = SocketReference.get_existing(path)
    assert found is not None and found.reference_count == 2
    found.close()
    reference.close()
    assert sockref.get_existing(path) is None


def test_l22_register_new(directory: Path, path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    reference = sockref.register_new(path, server)
    assert server.fileno() == -1
    assert reference.is_owner and reference.reference_count == 1
    dial(path).close()

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / "other"))
        other.listen()
        assert code_of(sockref.register_new, path, other) == "ESOCKREF_EXISTS"
        assert code_of(sockref.register_new, directory / "third", other) in ("ESOCKREF_FOREIGN", "ENOENT")
        assert other.fileno() >= 0
    (directory / "other").unlink()
    with socket.socket(socket.AF_INET) as inet, open("/dev/null", "rb") as null:
        inet.listen()
        for wrong in (inet, null.fileno()):
            assert code_of(sockref.register_new, directory / "x", wrong) == "ESOCKREF_FOREIGN"
    assert code_of(sockref.register_new, directory / "x", -1) == "EINVAL"
    with pytest.raises(TypeError):
        sockref.register_new(directory / "x", "fd")  # type: ignore[arg-type]
    reference.close()
    assert not path.exists()


def test_l23_cleanup(path: Path) -> None:
    old, same = sockref.listen(path), sockref.listen(path)
    sockref.cleanup(path)
    assert not path.exists()
    assert not old.is_active and old.reference_count == 2 and old.path == str(path)
    new = sockref.listen(path)
    old.close()
    same.close()
    assert new.is_active and new.reference_count == 1
    dial(path).close()
    new.close()


def test_l24_cleanup_unknown(directory: Path) -> None:
    plain = directory / "plain"
    plain.write_text("mine")
    for unknown in (plain, directory / "none"):
        with pytest.raises(FileNotFoundError) as caught:
            sockref.cleanup(unknown)
        assert isinstance(caught.value, SockrefError)
        assert caught.value.code == "ESOCKREF_NOTFOUND"
    assert plain.read_text() == "mine"


def test_l25_cleanup_all(directory: Path) -> None:
    references = [sockref.listen(directory / f"{number}.sock") for number in range(5)]
    assert sockref.cleanup_all() == 5
    assert left_in(directory) == []
    assert not any(reference.is_active for reference in references)
    assert sockref.active_socket_count() == 0
    for reference in references:
        reference.close()


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


def test_a_kept_file_stays(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.fspath(path))
    server.listen()
    with Registry(keep_file=True) as registry:
        registry.register_new(path, server).close()
    assert path.is_socket()
    path.unlink()


def test_ports_are_shared_by_those_who_say_so() -> None:
    with Registry() as one, Registry() as two, one.listen("tcp:127.0.0.1:0", reuse_port=True) as first:
        assert code_of(two.listen, first.path) == "EADDRINUSE"
        two.listen(first.path, reuse_port=True).close()


def test_an_ipv6_port_may_be_ipv6_alone() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with sockref.listen("tcp::0", ipv6_only=True) as reference:
        port = int(reference.path.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


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


def test_l28_cleanup_delay(path: Path, directory: Path) -> None:
    sockref.listen(path, cleanup_delay_ms=600_000).close()
    assert is_socket(path) and not sockref.is_socket_active(path)
    inode = os.lstat(path).st_ino
    with sockref.listen(path):
        assert os.lstat(path).st_ino == inode
        sockref.cleanup(path)
    short = directory / "short.sock"
    sockref.listen(short, cleanup_delay_ms=100).close()
    until(lambda: not short.exists(), "the removal")


def test_l29_hundred_starts_of_one_path(path: Path, directory: Path) -> None:
    async def main() -> None:
        references = await asyncio.gather(*(sockref.start_listener(path) for _ in range(100)))
        assert sockets_in(directory) == [str(path)]
        assert references[0].reference_count == 100
        for reference in references:
            reference.close()
        assert references[0].reference_count == 0

    run(main())
    assert not path.exists()


def test_l30_hundred_paths(directory: Path) -> None:
    async def main() -> None:
        paths = [directory / f"{number}.sock" for number in range(100)]
        references = await asyncio.gather(*(sockref.start_listener(path) for path in paths))
        assert len(sockets_in(directory)) == 100
        await asyncio.gather(*(asyncio.to_thread(reference.close) for reference in references))
        assert left_in(directory) == []

    run(main())


def test_l31_default_name_and_unique(directory: Path) -> None:
    with Registry(directory=directory) as registry:
        with registry.listen() as first, run(registry.start_listener()) as second:
            assert first.path == second.path and first.reference_count == 2
            assert Path(first.path).parent == directory
            assert f"sockref-{os.getpid()}-" in first.path
        with registry.listen(unique=True) as first, registry.listen(unique=True) as second:
            assert first.path != second.path
            assert len(sockets_in(directory)) == 2


def test_l32_cancelled_start(directory: Path) -> None:
    async def main() -> None:
        for turns in range(6):
            task = asyncio.create_task(sockref.start_listener(directory / f"{turns}.sock"))
            for _ in range(turns):
                await asyncio.sleep(0)
            done = task.done()
            task.cancel()
            try:
                reference = await task
            except asyncio.CancelledError:
                pass
            else:
                assert done
                reference.close()
        # The outcome is there, and the task is cancelled before it sees it.
        task = asyncio.create_task(sockref.start_listener(directory / "last.sock"))
        while not is_socket(directory / "last.sock") and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result().close()
        await sockref.aio.drain(5)
        assert sockref.active_socket_count() == 0
        assert left_in(directory) == []

    run(main())


def test_l33_exclusive(path: Path) -> None:
    with sockref.listen(path) as reference:
        inode = os.lstat(path).st_ino
        assert code_of(sockref.listen, path, exclusive=True) == "ESOCKREF_EXISTS"
        with pytest.raises(FileExistsError):
            run(sockref.start_listener(path, exclusive=True))
        assert os.lstat(path).st_ino == inode and reference.reference_count == 1


def test_l34_two_registries(path: Path, directory: Path) -> None:
    with Registry() as one, Registry() as two, one.listen(path), two.listen(directory / "b.sock"):
        assert (one.active_socket_count(), two.active_socket_count()) == (1, 1)
        assert one.is_socket_active(path) and not two.is_socket_active(path)
        assert not sockref.is_socket_active(path)
        with two.listen(path) as joined, one.get_or_create(path) as owner:
            assert (joined.is_active, joined.is_owner, joined.reference_count) == (True, False, 1)
            assert (owner.is_owner, owner.reference_count) == (True, 2)
            assert owner.holder_count == joined.holder_count == 2
            assert code_of(joined.fd) == code_of(joined.serve_echo) == "ESOCKREF_CLOSED"
        assert code_of(two.listen, path, exclusive=True) == "ESOCKREF_BUSY"


def test_l35_shutdown(path: Path, directory: Path) -> None:
    with Registry() as registry:
        reference = registry.listen(path)
        told = threading.Event()
        reference.watch(lambda event: told.set() if event == sockref.WatchEvent.SHUTDOWN else None)
        waiter = threading.Thread(target=registry.shutdown, args=(LIMIT,))
        waiter.start()
        assert told.wait(LIMIT)
        assert waiter.is_alive() and reference.is_active
        reference.close()
        waiter.join(LIMIT)
        assert not waiter.is_alive()
        assert code_of(registry.listen, path) == "ESOCKREF_SHUTDOWN"
        with pytest.raises(SockrefError) as caught:
            run(registry.start_listener(path))
        assert caught.value.code == "ESOCKREF_SHUTDOWN"
    with Registry() as registry:
        left = registry.listen(path)
        with pytest.raises(TimeoutError) as late:
            run(sockref.aio.shutdown(0.01, registry=registry))
        assert isinstance(late.value, SockrefError) and late.value.code == "ESOCKREF_TIMEOUT"
        assert not left.is_active and not path.exists()
        left.close()
    sockref.shutdown(0)
    with sockref.listen(path) as reference:
        assert reference.is_active


def test_l36_drain(path: Path) -> None:
    with sockref.listen(path) as reference:
        reference.serve_echo()
        client = dial(path)
    sockref.drain(LIMIT)
    run(sockref.aio.drain(LIMIT))
    client.close()


EXITS = {
    "end": "",
    "sys.exit": "import sys; sys.exit(0)",
    "exception": "import sys; sys.excepthook = lambda *e: None\nclass Stop(SystemExit): pass\nraise Stop(0)",
    "in a thread": (
        "import threading, sys\nt = threading.Thread(target=lambda: (held.append(sockref.listen(path + '3')), sys.exit()))"
        "\nt.start(); t.join()"
    ),
    "at exit": "import atexit; atexit.register(lambda: held.append(sockref.listen(path + '3')))",
    "closed at exit": "import atexit; atexit.register(held[0].close)",
    "late finalizer": "import sys; sys.modules['keep'] = type('Keep', (), {'held': held, '__del__': lambda s: None})()",
    "cycle": "cycle = [held]; cycle.append(cycle); del cycle, held",
    "inside asyncio": (
        "import asyncio, sys\nasync def main():\n    held.append(await sockref.start_listener(path + '3'))\n"
        "    sys.exit(0)\nasyncio.run(main())"
    ),
    "loop left open": (
        "import asyncio, warnings\nwarnings.simplefilter('ignore')\nloop = asyncio.new_event_loop()\n"
        "held.append(loop.run_until_complete(sockref.start_listener(path + '3')))\n"
        "class H(sockref.Handlers):\n    def on_stop(self): pass\n"
        "async def serve(): held[-1].serve(H())\nloop.run_until_complete(serve())"
    ),
    "served by a thread": (
        "class H(sockref.Handlers):\n    def on_data(self, c, d): c.write(d)\n    def on_stop(self): print('stopped')\n"
        "held[1].serve(H())\nimport socket\nc = socket.socket(socket.AF_UNIX); c.connect(path + '2')\n"
        "c.sendall(b'x'); assert c.recv(1) == b'x'; c.close()"
    ),
    "pending start": (
        "import asyncio\nasync def main():\n    for n in range(20): asyncio.ensure_future(sockref.start_listener(path + '3'))\n"
        "asyncio.run(main())"
    ),
}


@pytest.mark.parametrize("way", EXITS)
def test_l37_exit_with_handles_held(way: str, path: Path, directory: Path) -> None:
    script(
        "import sys, sockref\npath = sys.argv[1]\nheld = [sockref.listen(path), sockref.listen(path + '2')]\n"
        f"held[0].serve_echo()\n{EXITS[way]}\n",
        path,
    )
    assert left_in(directory) == []


def test_l37_exit_by_an_exception(path: Path, directory: Path) -> None:
    done = execute([sys.executable, "-c", "import sys, sockref; r = sockref.listen(sys.argv[1]); 1 / 0", path])
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    assert left_in(directory) == []


def test_l38_open_reference_does_not_hold_the_process(path: Path) -> None:
    script(
        """
        import asyncio, sys, sockref
        async def main():
            global held
            held = await sockref.start_listener(sys.argv[1])
            held.serve(sockref.Handlers())
            held.watch(print)
        asyncio.run(main())
        other = sockref.listen(sys.argv[1] + "2")
        other.serve(sockref.Handlers())
        sockref.set_log(lambda record: None)
        """,
        path,
    )


def test_l39_sweep(directory: Path) -> None:
    with Registry(directory=directory) as registry:
        live = registry.listen()
        dead = directory / "sockref-5194301-0123456789abcdef.sock"
        name = Path(live.path).name
        # The form of a default name, of a process that is gone.
        dead = directory / name.replace(f"-{os.getpid()}-", "-5194301-")
        plain, other = directory / name.replace(f"-{os.getpid()}-", "-2-"), directory / "other.sock"
        for found in (dead, other):
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(found))
        plain.write_text("mine")
        assert registry.sweep() == 1
        assert not dead.exists() and plain.read_text() == "mine" and is_socket(other) and is_socket(live.path)
        assert run(sockref.aio.sweep(directory)) == 0
        other.unlink()
        with Agent() as agent:
            agent.start(other, guard=0)
            agent.kill()
        assert set(os.listdir(directory)) > {other.name} | beside(other)
        assert registry.sweep() == 1
        assert not set(os.listdir(directory)) & ({other.name} | beside(other))
        assert is_socket(live.path)
        live.close()


def test_l40_fork(path: Path, directory: Path) -> None:
    script(
        """
        import os, sys, asyncio, gc, socket, sockref
        path = sys.argv[1]
        held = sockref.listen(path)
        held.serve_echo()
        other = sockref.listen(path + "2")
        other.serve(sockref.Handlers())
        registry = sockref.Registry()
        loop = asyncio.new_event_loop()
        started = loop.run_until_complete(sockref.start_listener(path + "3"))
        pid = os.fork()
        if pid == 0:
            assert not held.is_active and held.path == path
            for call in (held.dup, held.fd, held.serve_echo, lambda: registry.listen(path + "9"),
                         lambda: held.serve(sockref.Handlers())):
                try:
                    call()
                except sockref.SockrefError as error:
                    assert error.code == "ESOCKREF_FORKED", error
                else:
                    raise AssertionError("not forked")
            held.close()
            assert sockref.active_socket_count() == 0
            async def own():
                mine = await sockref.start_listener(path + "child")
                mine.serve_echo()
                reader, writer = await asyncio.open_unix_connection(path + "child")
                writer.write(b"x")
                assert await reader.readexactly(1) == b"x"
                writer.close()
                await writer.wait_closed()
                mine.close()
            asyncio.run(own())
            kept = sockref.listen(path + "kept")
            kept.serve(sockref.Handlers())
            loop.close()
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert held.is_active and started.is_active and registry.active_socket_count() == 0
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall(b"still")
        assert client.recv(5) == b"still"
        client.close()
        assert not os.path.lexists(path + "kept")
        loop.close()
        """,
        path,
    )
    assert left_in(directory) == []


def test_l41_many_threads(path: Path) -> None:
    keeper = sockref.listen(path)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(200):
                with keeper.dup() as mine, mine.dup() as more:
                    assert mine.is_active and more.reference_count >= 3
                    assert is_socket(path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert keeper.reference_count == 1
    keeper.close()
    assert not path.exists()


def test_l42_handlers_on_asyncio(path: Path) -> None:
    handlers = Echo()
    threads: set[int] = set()

    class Here(Echo):
        def on_data(self, connection: sockref.Connection, data: bytes) -> None:
            threads.add(threading.get_ident())
            super().on_data(connection, data)

    handlers = Here()

    async def main() -> None:
        with await sockref.start_listener(path) as reference:
            reference.serve(handlers)
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(BLOB)
            writer.write_eof()
            assert await reader.read() == BLOB
            writer.close()
            await writer.wait_closed()
            while "close" not in handlers.calls:
                await asyncio.sleep(0.001)
        while "stop" not in handlers.calls:
            await asyncio.sleep(0.001)

    run(main())
    calls = [call for call in handlers.calls if call not in ("data", "drain")]
    assert calls == ["connection", "end", "close", "stop"]
    assert handlers.calls[1] == "data" and handlers.received == len(BLOB)
    assert threads == {threading.get_ident()}


def test_l42_handlers_on_a_thread(path: Path) -> None:
    handlers = Echo()
    reference = sockref.listen(path)
    reference.serve(handlers)
    assert round_trip(path, BLOB) == BLOB
    until(lambda: "close" in handlers.calls)
    reference.close()
    until(lambda: "stop" in handlers.calls)
    calls = [call for call in handlers.calls if call not in ("data", "drain")]
    assert calls == ["connection", "end", "close", "stop"]


def test_l43_errors(directory: Path) -> None:
    missing = directory / "no" / "a.sock"
    with pytest.raises(SockrefError) as caught:
        sockref.listen(missing)
    error = caught.value
    assert isinstance(error, FileNotFoundError) and isinstance(error, OSError)
    assert (error.code, error.errno) == ("ENOENT", errno.ENOENT)
    assert isinstance(error.syscall, str) and error.syscall
    assert error.path == error.filename and str(directory / "no") in str(error.path)
    with pytest.raises(SockrefError) as caught:
        sockref.cleanup(directory / "none")
    error = caught.value
    assert (error.code, error.errno, error.syscall) == ("ESOCKREF_NOTFOUND", errno.ENOENT, None)
    assert error.path == str(directory / "none")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.code, again.errno, again.path, str(again)) == (error.code, error.errno, error.path, str(error))


def test_l44_start_waits_without_blocking(directory: Path, tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "tests" / "harness" / "slow-unlink.c"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not source.exists() or compiler is None:
        pytest.skip("needs a C compiler and tests/harness/slow-unlink.c")
    shim = tmp_path / "slow-unlink.so"
    done = execute([compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, source, "-ldl"])
    assert done.returncode == 0, done.stderr
    out = script(
        """
        import asyncio, os, sys, threading, time, sockref
        path = sys.argv[1]
        async def main():
            loop = asyncio.get_running_loop()
            held = sockref.listen(path)
            closer = threading.Thread(target=held.close)
            closer.start()
            while sockref.is_socket_active(path):
                await asyncio.sleep(0)
            ticks, longest = 0, 0.0
            began = last = time.monotonic()
            start = asyncio.create_task(sockref.start_listener(path))
            while not start.done():
                await asyncio.sleep(0.001)
                now = time.monotonic()
                ticks, longest, last = ticks + 1, max(longest, now - last), now
            waited = time.monotonic() - began
            reference = start.result()
            closer.join()
            assert reference.is_active and reference.reference_count == 1
            assert os.path.lexists(path)
            closing = asyncio.create_task(asyncio.to_thread(reference.close))
            await closing
            print(ticks, longest, waited)
            assert waited > 0.2, waited
            assert ticks > 10, ticks
            assert longest < waited / 2, longest
        asyncio.run(main())
        """,
        directory / "slow.sock",
        environment={"LD_PRELOAD": str(shim), "SLOW_UNLINK_MS": "500"},
    )
    assert out


def test_l45_versions() -> None:
    check_versions(("0.1.0", 1), ("0.1.0", 1), "binding.so", "libsockref.so")
    check_versions(("0.1.0", 1), ("0.10.0", 1), "binding.so", "libsockref.so")
    for built, found in ((("0.2.0", 1), ("0.1.9", 1)), (("0.1.0", 1), ("0.1.0", 2)), (("0.1.0", 2), ("0.1.0", 1))):
        with pytest.raises(ImportError) as caught:
            check_versions(built, found, "/there/binding.so", "/here/libsockref.so")
        for word in ("/there/binding.so", "/here/libsockref.so", built[0], found[0]):
            assert word in str(caught.value)
    assert sockref.version() >= sockref.__version__
