"""Exit, fork and load: the scenarios of tests/lifecycle.md by number."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from helpers import execute, left_in, script

import sockref
from sockref._native import check_versions

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
        "loop.set_debug(False)\n"  # in which 3.13.0 imports when the interpreter has ended
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


def test_l45_versions() -> None:
    check_versions(("0.1.0", 1), ("0.1.0", 1), "binding.so", "libsockref.so")
    check_versions(("0.1.0", 1), ("0.10.0", 1), "binding.so", "libsockref.so")
    for built, found in ((("0.2.0", 1), ("0.1.9", 1)), (("0.1.0", 1), ("0.1.0", 2)), (("0.1.0", 2), ("0.1.0", 1))):
        with pytest.raises(ImportError) as caught:
            check_versions(built, found, "/there/binding.so", "/here/libsockref.so")
        for word in ("/there/binding.so", "/here/libsockref.so", built[0], found[0], "install"):
            assert word in str(caught.value)
    assert sockref.version() >= sockref.__version__


def test_l45_a_library_of_another_abi_is_refused_at_import(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    source = tmp_path / "other.c"
    source.write_text("unsigned sockref_abi_version(void) { return 4711; }\n")
    other = tmp_path / "other.so"
    done = execute([compiler, "-shared", "-fPIC", "-o", other, source])
    assert done.returncode == 0, done.stderr
    done = execute([sys.executable, "-c", "import sockref"], LD_PRELOAD=str(other))
    assert done.returncode == 1 and "ImportError: sockref: " in done.stderr, done.stderr
    for word in ("_lowlevel.abi3.so", "libsockref.so", "ABI 4711"):
        assert word in done.stderr
