"""Names: the scenarios of tests/lifecycle.md by number, and the ports of TCP."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from helpers import beside, code_of, dial, is_socket, round_trip, run, sockets_in, until

import sockref
from sockref import Registry, SocketReference


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


def test_l07_close_twice_releases_once(path: Path) -> None:
    first, second = sockref.listen(path), sockref.listen(path)
    second.close()
    second.close()
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


def test_l16_abstract_name() -> None:
    name = f"@sockref-test-{os.getpid()}"
    with sockref.listen(name) as first, sockref.listen(name) as second:
        assert first.path == name and second.reference_count == 2
        first.serve_echo()
        assert round_trip("\0" + name[1:], b"x") == b"x"
    assert not sockref.is_socket_active(name)
    until(lambda: refuses("\0" + name[1:]), "the end of the listener")


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


def test_l31_default_name_and_unique(directory: Path) -> None:
    with Registry(directory=directory) as registry:
        with registry.listen() as first, run(registry.start_listener()) as second:
            assert first.path == second.path and first.reference_count == 2
            assert Path(first.path).parent == directory
            assert f"sockref-{os.getpid()}-" in first.path
        with registry.listen(unique=True) as first, registry.listen(unique=True) as second:
            assert first.path != second.path
            assert len(sockets_in(directory)) == 2


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
            with pytest.raises(sockref.SockrefError, match="another registry owns the name"):
                joined.fd()
        assert code_of(two.listen, path, exclusive=True) == "ESOCKREF_BUSY"


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
