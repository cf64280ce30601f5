"""Names that several processes hold: L46 to L48 and L51 to L56 of tests/lifecycle.md, and what is Python's own in it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
import threading
from pathlib import Path

import pytest
from helpers import (
    LIMIT,
    PAIRS,
    Agent,
    Echo,
    Watcher,
    beside,
    dial,
    execute,
    is_empty,
    is_socket,
    left_in,
    round_trip,
    run,
    script,
    until,
)

import sockref
import sockref.aio
from sockref import Registry, SockrefError, WatchEvent


def test_l46_two_processes_share(path: Path) -> None:
    with Agent() as agent:
        assert agent.start(path) == {"ok": True, "owner": True, "holders": 1}
        reference = sockref.listen(path)
        assert reference.is_active and not reference.is_owner
        assert (reference.reference_count, reference.holder_count) == (1, 2)
        assert agent.ask("status") == {"active": True, "owner": True, "holders": 2, "count": 1}
        agent.do("serve")
        assert round_trip(path, b"from here") == b"from here"
        assert agent.do("dial", path=path, text="from there")["text"] == "from there"
        with pytest.raises(SockrefError) as caught:
            reference.socket()
        assert caught.value.code == "ESOCKREF_CLOSED"
        reference.close()
        assert agent.ask("status")["holders"] == 1
        agent.do("close")
        assert os.listdir(path.parent) == []


def test_l46_this_process_owns(path: Path) -> None:
    with sockref.listen(path) as reference, Agent() as agent:
        reference.serve(Echo())
        assert agent.start(path) == {"ok": True, "owner": False, "holders": 2}
        assert reference.is_owner and reference.holder_count == 2
        assert agent.do("dial", path=path, text="to Python")["text"] == "to Python"
        agent.do("close")
        assert reference.holder_count == 1 and is_socket(path)


def test_l47_killed_owner(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        reference = sockref.listen(path)
        watcher = Watcher(reference)
        agent.kill()
        watcher.hears(WatchEvent.LOST)
    assert not reference.is_active and not reference.is_owner and reference.reference_count == 1
    with sockref.listen(path) as again:
        assert again.is_owner and again.holder_count == 1
        again.serve_echo()
        assert round_trip(path, b"x") == b"x"
        reference.close()
        assert again.is_active
    is_empty(path.parent)


def test_l47_on_asyncio(path: Path) -> None:
    async def main() -> None:
        told: asyncio.Queue[tuple[WatchEvent, int]] = asyncio.Queue()
        with Agent() as agent:
            agent.start(path)
            with await sockref.start_listener(path) as reference:
                reference.watch(lambda event: told.put_nowait((event, threading.get_ident())))
                agent.kill()
                assert await told.get() == (WatchEvent.LOST, threading.get_ident())
                with await sockref.start_listener(path) as again:
                    assert again.is_owner

    run(main())
    is_empty(path.parent)


def test_l48_killed_only_holder(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        agent.do("serve")
        assert set(os.listdir(path.parent)) == {path.name} | beside(path)
        agent.kill()
    is_empty(path.parent)


def test_l51_exclusive_elsewhere(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        inode = os.lstat(path).st_ino
        with pytest.raises(SockrefError) as caught:
            sockref.listen(path, exclusive=True)
        error = caught.value
        assert (error.code, error.errno, error.path) == ("ESOCKREF_BUSY", errno.EBUSY, str(path))
        assert f"process {agent.pid} " in str(error)
        with pytest.raises(SockrefError) as later:
            run(sockref.start_listener(path, exclusive=True))
        assert f"process {agent.pid} " in str(later.value)
        assert os.lstat(path).st_ino == inode
        assert agent.ask("status") == {"active": True, "owner": True, "holders": 1, "count": 1}
        agent.do("close")


def test_l52_not_shared(path: Path) -> None:
    with sockref.listen(path, share=False) as reference, Agent() as agent:
        assert os.listdir(path.parent) == [path.name]
        assert reference.holder_count == 1
        answer = agent.ask("start", path=path, options={"share": 0})
        assert (answer["ok"], answer["code"]) == (False, "ESOCKREF_BUSY"), answer
        # Nothing tells one that would share whose socket it is.
        answer = agent.ask("start", path=path)
        assert not answer["ok"] and answer["code"] in ("ESOCKREF_BUSY", "ESOCKREF_FOREIGN"), answer
        assert reference.is_owner and os.listdir(path.parent) == [path.name]
        dial(path).close()
    assert os.listdir(path.parent) == []


def test_l52_not_shared_on_a_shared_name(path: Path) -> None:
    with Agent() as agent:
        agent.start(path)
        with pytest.raises(SockrefError) as caught:
            sockref.listen(path, share=False)
        assert caught.value.code == "ESOCKREF_BUSY" and f"process {agent.pid} " in str(caught.value)
        agent.do("close")


def test_l52_not_shared_and_killed(path: Path) -> None:
    with Agent() as agent:
        agent.start(path, share=0)
        assert os.listdir(path.parent) == [path.name]
        agent.kill()
    is_empty(path.parent)


def test_l53_many_processes_at_one_moment(path: Path) -> None:
    count = 8
    with contextlib.ExitStack() as stack:
        agents = [stack.enter_context(Agent()) for _ in range(count)]
        for agent in agents:
            agent.do("close")  # it is there
        for agent in agents:
            agent.tell("start", path=path)
        answers = [agent.answer() for agent in agents]
        assert sorted(answer["owner"] for answer in answers) == [False] * (count - 1) + [True], answers
        assert [agent.ask("status")["holders"] for agent in agents] == [count] * count
        for agent in agents[::2]:
            agent.kill()
    is_empty(path.parent)


def test_l54_narrower_mode(path: Path) -> None:
    with Agent() as agent:
        agent.start(path, mode=0o660)
        with pytest.raises(SockrefError) as caught:
            sockref.listen(path, mode=0o600)
        assert caught.value.code == "ESOCKREF_BUSY"
        assert "0660" in str(caught.value) and "0600" in str(caught.value)
        with sockref.listen(path, mode=0o666) as wider, sockref.listen(path) as default:
            assert wider.reference_count == default.reference_count == 2
        agent.do("close")


def test_l55_guard_status(path: Path, directory: Path) -> None:
    script(
        """
        import os, sys, sockref
        path = sys.argv[1]
        assert sockref.guard_status() == 0
        sockref.listen(path, guard=0).close()
        assert sockref.guard_status() == 0
        held = sockref.listen(path)
        guard = sockref.guard_status()
        assert guard > 0 and guard != os.getpid()
        with open(f"/proc/{guard}/stat") as found:
            state, parent = found.read().rpartition(")")[2].split()[:2]
        assert state != "Z" and int(parent) != os.getpid()
        with sockref.Registry() as registry:
            assert registry.guard_status() == guard
        try:
            registry.guard_status()
        except sockref.SockrefError as error:
            assert error.code == "ESOCKREF_CLOSED"
        else:
            raise AssertionError("a closed registry answers")
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        else:
            raise AssertionError("there is a child")
        """,
        path,
    )
    is_empty(directory)


def test_l56_with_a_holder_in_c() -> None:
    """One pair of languages; the runner without arguments takes every pair."""
    done = execute([sys.executable, PAIRS / "run", "c", "python"])
    if done.returncode == 0 and "skip C" in done.stdout:
        pytest.skip("the agent in C is not built")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\npairs: 16 passed, 0 failed, 0 skipped\n" in done.stdout


def test_guard_that_is_not_there(path: Path) -> None:
    script(
        """
        import sys, sockref
        assert sockref.guard_status() == 0
        with sockref.listen(sys.argv[1]) as reference:
            assert reference.is_owner
        for call in (sockref.guard_status, sockref.Registry().guard_status,
                     lambda: sockref.listen(sys.argv[1], guard=2)):
            try:
                call()
            except sockref.SockrefError as error:
                assert error.code == "ESOCKREF_UNSUPPORTED" and "SOCKREF_GUARD" in str(error), error
            else:
                raise AssertionError("there is no guard")
        """,
        path,
        environment={"SOCKREF_GUARD": "/nonexistent/guard"},
    )


def test_guard_lies_beside_the_library(path: Path) -> None:
    """The package as it was laid out, found by nothing but itself."""
    out = script(
        """
        import os, sys, sockref
        from sockref import _lowlevel
        with sockref.listen(sys.argv[1], guard=2):
            print(os.readlink(f"/proc/{sockref.guard_status()}/exe"))
            print(os.path.realpath(_lowlevel.library_file()))
        """,
        path,
        environment={"SOCKREF_GUARD": "", "LD_LIBRARY_PATH": ""},
    )
    guard, library = map(Path, out.split())
    assert guard == Path(sockref.__file__).parent.resolve() / "sockref-guard"
    assert library.parent == guard.parent


def test_fork_of_a_holder(path: Path) -> None:
    """The child has nothing of it, and may join what its parent owns."""
    with Agent() as agent:
        agent.start(path)
        script(
            """
            import os, sys, sockref
            path = sys.argv[1]
            joined, own = sockref.listen(path), sockref.listen(path + "2")
            joined.watch(print)
            own.watch(print)
            pid = os.fork()
            if pid == 0:
                assert not joined.is_active and joined.holder_count == 0
                for name in (path, path + "2"):
                    with sockref.listen(name) as mine:
                        assert not mine.is_owner and mine.holder_count == (3 if name == path else 2), mine.holder_count
                assert sockref.guard_status() > 0
                sys.exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert joined.is_active and joined.holder_count == 2 and own.is_owner and own.holder_count == 1
            """,
            path,
        )
        until(lambda: agent.ask("status")["holders"] == 1)
        agent.do("close")
    is_empty(path.parent)


def test_joiner_does_not_hold_the_process(path: Path) -> None:
    with sockref.listen(path) as reference:
        script("import sys, sockref\nheld = sockref.listen(sys.argv[1])\nheld.watch(print)\n", path)
        until(lambda: reference.holder_count == 1)
        assert left_in(path.parent)


def test_plain_socket_beside(path: Path) -> None:
    """A host that accepts itself gives up its duplicate together with the name."""
    with Registry() as one, Registry() as two:
        first, second = one.listen(path), two.listen(path)
        watcher = Watcher(second)
        listener = first.socket()
        first.close()
        listener.close()
        watcher.hears(WatchEvent.OWNER)
        with second.socket() as mine, dial(path) as client:
            mine.settimeout(LIMIT)
            accepted, _ = mine.accept()
            accepted.sendall(b"x")
            assert client.recv(1) == b"x"
            accepted.close()
        second.close()
    is_empty(path.parent)
