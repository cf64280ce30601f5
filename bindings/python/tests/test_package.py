"""The package itself: import, types, registries, events, the earlier names."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import sys
import tarfile
import textwrap
import threading
import time
import warnings
import zipfile
from pathlib import Path

import pytest
from helpers import execute, is_socket, run, script, stderr_of, until

import sockref
import sockref.compat
from sockref import Registry, SockrefError

PACKAGE = Path(sockref.__file__).parent


def test_public_names() -> None:
    for name in sockref.__all__:
        assert getattr(sockref, name) is not None
        assert name.startswith("_") or getattr(sockref, name).__doc__ or name in ("Address", "Path")
    assert set(sockref.live_counts()) == {"references", "entries", "buffers"}


def test_library_lies_beside_the_extension() -> None:
    from sockref import _lowlevel

    found = _lowlevel.library_file()
    assert found is not None and os.path.basename(found).startswith("libsockref.so.")


def source_package(directory: Path) -> Path:
    """It, unpacked."""
    sources = list((PACKAGE.parents[2] / "python").glob("sockref-*.tar.gz"))
    if not sources:
        pytest.skip("there is no source package: make python-sdist")
    assert execute(["tar", "-xzf", sources[0], "-C", directory]).returncode == 0
    (project,) = directory.iterdir()
    here = Path(__file__).parents[1]
    assert (project / "setup.py").read_bytes() == (here / "setup.py").read_bytes(), "of an earlier tree: make python-sdist"
    return project


def test_source_package_takes_any_letters_from_pkg_config(tmp_path: Path) -> None:
    project = source_package(tmp_path)
    place = tmp_path / "Zähler"
    place.mkdir()
    described = f"where={place}\nName: sockref\nDescription: sockref\nVersion: {sockref.__version__}\nCflags: -I${{where}}\n"
    (place / "sockref.pc").write_text(described)
    done = execute(["env", f"--chdir={project}", sys.executable, "setup.py", "--version"], PKG_CONFIG_PATH=str(place))
    assert (done.returncode, done.stdout.strip()) == (0, sockref.__version__), done.stderr


def test_source_package_of_a_checkout(tmp_path: Path) -> None:
    """It has what SWIG generated, and no tests, which need the tree."""
    here = Path(__file__).parents[1]
    project = tmp_path / "bindings" / "python"
    for directory in project / "sockref", project / "tests", tmp_path / "swig" / "generated" / "python":
        directory.mkdir(parents=True)
    for source in [*map(here.joinpath, ("MANIFEST.in", "README.md", "pyproject.toml", "setup.py")), *here.glob("sockref/*.py*")]:
        shutil.copyfile(source, project / source.relative_to(here))
    (project / "tests" / "test_of_it.py").touch()
    for name in "LICENSE", "swig/generated/sockref_python_wrap.c", "swig/generated/python/lowlevel.py":
        (tmp_path / name).touch()
    done = execute(["env", f"--chdir={project}", sys.executable, "setup.py", "-q", "sdist", f"--dist-dir={tmp_path}"])
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / f"sockref-{sockref.__version__}.tar.gz") as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert names >= {"LICENSE", "src/lowlevel_wrap.c", "sockref/lowlevel.py", "sockref/lowlevel.pyi", "sockref/aio.py"}
    assert not any(name.startswith("tests") for name in names)


def test_next_build_has_its_own_library(tmp_path: Path) -> None:
    """Also where that of the build before is newer."""
    project = source_package(tmp_path)
    place = tmp_path / "place"
    for directory, content in (place, "this"), (project / "built" / "sockref", "earlier"):
        directory.mkdir(parents=True)
        for name in "libsockref.so.0", "sockref-guard":
            (directory / name).write_text(content)
    for name in "libsockref.so.0", "sockref-guard":
        os.utime(place / name, (0, 0))
    (place / "libsockref.so").symlink_to("libsockref.so.0")
    described = ["Name: sockref", "Description: sockref", f"Version: {sockref.__version__}"]
    variables = [f"libdir={place}", f"guard={place}/sockref-guard"]
    (place / "sockref.pc").write_text("\n".join([*variables, *described, ""]))
    command = ["env", f"--chdir={project}", sys.executable, "setup.py", "-q", "build_ext", "--build-lib=built"]
    done = execute(command, PKG_CONFIG_PATH=str(place), CC="true")
    assert done.returncode == 0, done.stdout + done.stderr
    built = project / "built" / "sockref"
    assert {(built / name).read_text() for name in ("libsockref.so.0", "sockref-guard")} == {"this"}


def test_installed_wheel_has_library_and_guard(path: Path, tmp_path: Path) -> None:
    """Nothing but the wheel is found, and its guard cleans up after a kill."""
    wheels = list((PACKAGE.parents[2] / "python").glob("sockref-*.whl"))
    if not wheels:
        pytest.skip("there is no wheel: make python-wheel")
    home = tmp_path / "installed"
    python = home / "bin" / "python"
    for command in (
        ["venv", "--without-pip", str(home)],
        ["pip", f"--python={python}", "--disable-pip-version-check", "install", "--no-index", "--no-deps", str(wheels[0])],
    ):
        done = execute([sys.executable, "-m", *command], PYTHONWARNINGS="")  # of its own pip is warned
        assert done.returncode == 0, done.stdout + done.stderr
    program = textwrap.dedent(
        """
        import os, signal, sys, sockref
        from sockref import _lowlevel
        held = sockref.listen(sys.argv[1])
        guard = sockref.guard_status()
        assert guard > 0, guard
        print(sockref.__file__, _lowlevel.library_file(), os.readlink(f"/proc/{guard}/exe"), sep="\\n", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    bare = [f"--unset={name}" for name in ("LD_LIBRARY_PATH", "PYTHONPATH", "SOCKREF_GUARD")]
    done = execute(["env", *bare, python, "-c", program, path])
    assert done.returncode == -signal.SIGKILL, done.stderr
    package, *beside = (Path(found).resolve() for found in done.stdout.splitlines())
    assert package.is_relative_to(home.resolve())
    assert [found.parent for found in beside] == [package.parent] * 2, done.stdout
    until(lambda: os.listdir(path.parent) == [], "an empty directory")


def test_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as package:
        for source in PACKAGE.iterdir():
            package.write(source, f"sockref/{source.name}")
    done = execute([sys.executable, "-c", "import sockref"], PYTHONPATH=str(archive))
    assert done.returncode == 1 and "ImportError: sockref: there is no extension module in " in done.stderr, done.stderr
    assert "cannot be imported from an archive" in done.stderr


def test_subinterpreter_is_refused(path: Path) -> None:
    out = script(
        """
        import sys, sockref
        try:
            import _interpreters as interpreters
            run = interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            run = interpreters.run_string
        attempt = "\\n".join([
            "try:",
            "    import sockref",
            "except ImportError as error:",
            "    assert 'subinterpreter' in str(error), error",
            "    print('refused', flush=True)",
        ])
        other = interpreters.create()
        run(other, attempt)
        interpreters.destroy(other)
        with sockref.listen(sys.argv[1]) as reference:
            print(reference.is_active)
        """,
        path,
    )
    assert out.split() == ["refused", "True"]


def test_free_threading_is_refused(tmp_path: Path) -> None:
    """By pip already; and where the package is found all the same, before its module is loaded."""
    told = script(
        """
        import sys
        sys.abiflags = "t"
        try:
            import sockref
        except ImportError as error:
            print(error, "sockref._lowlevel" in sys.modules)
        """
    )
    assert told.startswith("sockref does not work on free-threaded CPython") and told.endswith(" False\n")
    project = source_package(tmp_path)
    program = "import runpy, setuptools.command.build_ext, sys; sys.abiflags = 't'; runpy.run_path('setup.py')"
    done = execute(["env", f"--chdir={project}", sys.executable, "-c", program])
    assert done.returncode == 1 and done.stderr.startswith("sockref does not work on free-threaded CPython"), done.stderr


def test_types(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("needs mypy")
    environment = {"MYPYPATH": str(PACKAGE.parent), "MYPY_CACHE_DIR": str(tmp_path)}
    tests = Path(__file__).parent
    for command in (
        ["-m", "mypy", "--strict", str(PACKAGE)],
        ["-m", "mypy", "--strict", str(tests / "user_program.py")],
        ["-m", "mypy.stubtest", "sockref", "--allowlist", str(tests / "stubtest-allowlist")],
    ):
        done = execute([sys.executable, *command], **environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_closed_registry(path: Path) -> None:
    registry = Registry()
    reference = registry.listen(path)
    registry.close()
    registry.close()
    for call in (registry.listen, registry.get_or_create, registry.get_existing, registry.cleanup):
        with pytest.raises(SockrefError) as caught:
            call(path)
        assert caught.value.code == "ESOCKREF_CLOSED"
    with pytest.raises(SockrefError):
        run(registry.start_listener(path))
    assert not registry.is_socket_active(path) and registry.active_socket_count() == 0
    assert reference.is_active
    reference.close()


def test_registry_close_races_blocking_calls(directory: Path) -> None:
    for turn in range(20):
        registry = Registry()
        failures: list[BaseException] = []

        def work(number: int, registry: Registry = registry, turn: int = turn) -> None:
            try:
                for repeat in range(20):
                    registry.listen(directory / f"{turn}-{number}-{repeat}").close()
            except SockrefError as error:
                if error.code not in ("ESOCKREF_CLOSED", "ESOCKREF_SHUTDOWN"):
                    failures.append(error)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        registry.close()
        for thread in threads:
            thread.join()
        assert failures == []


def test_blocking_calls_let_go_of_the_gil(path: Path) -> None:
    with Registry() as registry, registry.listen(path):
        ticks = 0
        stop = threading.Event()

        def tick() -> None:
            nonlocal ticks
            while not stop.is_set():
                ticks += 1
                time.sleep(0.001)

        thread = threading.Thread(target=tick)
        thread.start()
        with pytest.raises(TimeoutError):
            registry.shutdown(0.3)
        stop.set()
        thread.join()
        assert ticks > 10


def test_log_and_watch(path: Path) -> None:
    records: list[sockref.LogRecord] = []
    threads: set[int] = set()

    def note(record: sockref.LogRecord) -> None:
        records.append(record)
        threads.add(threading.get_ident())

    sockref.set_log(note)
    try:
        events: list[sockref.WatchEvent] = []
        reference = sockref.listen(path)
        reference.watch(events.append)
        sockref.cleanup(path)
        until(lambda: events)
        assert events == [sockref.WatchEvent.LOST]
        with pytest.raises(SockrefError):
            reference.watch(events.append)
        reference.close()
        with pytest.raises(SockrefError):
            reference.watch(None)
        # What stands there in place of our file is told, and left.
        other = sockref.listen(path)
        path.unlink()
        path.write_text("mine")
        other.close()
        assert path.read_text() == "mine"
        path.unlink()
    finally:
        sockref.set_log(None)
    assert threading.get_ident() not in threads
    assert all(isinstance(record.event, str) and record.message for record in records)
    with pytest.raises(TypeError):
        sockref.set_log(1)  # type: ignore[arg-type]


def test_watch_on_asyncio(path: Path) -> None:
    async def main() -> None:
        told: asyncio.Future[tuple[sockref.WatchEvent, int]] = asyncio.get_running_loop().create_future()
        with await sockref.start_listener(path) as reference:
            reference.watch(lambda event: told.set_result((event, threading.get_ident())))
            sockref.cleanup(path)
            assert await told == (sockref.WatchEvent.LOST, threading.get_ident())

    run(main())


def test_watch_ends_with_its_name(path: Path) -> None:
    from sockref import _events

    for _ in range(10):
        with sockref.listen(path) as reference:
            reference.watch(print)
            reference.watch(lambda event: None)
            reference.watch(None)
            reference.watch(print)
    until(lambda: _events._watches == {})


def test_compat(path: Path, directory: Path) -> None:
    compat = sockref.compat
    compat._warned.clear()
    with pytest.warns(DeprecationWarning):
        reference = compat.start_socket_listener_with_reference(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = compat.start_socket_listener_with_reference(path)
    assert again.reference_count == 2
    again.close()
    reference.close()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert compat.start_socket_listener(path) == str(path)
        assert compat.start_socket_listener(path) == str(path)
        assert run(compat.start_socket_connection(path)) == str(path)
        found = sockref.get_existing(path)
        assert found is not None and found.reference_count == 2
        found.close()
        assert compat.is_socket_active(path) and compat.get_active_socket_count() == 1
        compat.force_cleanup_socket(path)
        compat.force_cleanup_socket(path)
        assert not compat.is_socket_active(path)
        assert compat.start_socket_listener(path) == str(path) and is_socket(path)
        other = run(compat.start_socket_connection_with_reference(directory / "b.sock"))
        assert compat.cleanup_all_sockets() == 2
        other.close()
    assert compat._kept == {}


def test_each_earlier_name_warns_once(path: Path) -> None:
    compat = sockref.compat
    compat._warned.clear()
    names = compat.__all__
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for name in [*names, *names]:
            takes_path = name not in ("get_active_socket_count", "cleanup_all_sockets")
            got = getattr(compat, name)(*[path] if takes_path else [])
            if asyncio.iscoroutine(got):
                got = run(got)
            if isinstance(got, sockref.SocketReference):
                got.close()
        compat.cleanup_all_sockets()
    assert all(warning.category is DeprecationWarning for warning in told)
    assert sorted(str(warning.message).split()[0] for warning in told) == sorted(f"sockref.compat.{n}" for n in names)


def test_register_new_leaves_the_socket_on_failure(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(SockrefError) as caught:
            sockref.register_new(path, server)
        assert caught.value.code == "ESOCKREF_FOREIGN"
        assert server.fileno() >= 0 and is_socket(path)
    path.unlink()


def test_questions_have_no_side_effect(path: Path) -> None:
    with sockref.listen(path) as reference:
        inode = os.lstat(path).st_ino
        for _ in range(1000):
            assert sockref.is_socket_active(path) and reference.is_active and reference.reference_count == 1
        assert os.lstat(path).st_ino == inode


def test_example(path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "echo.py"
    done = execute([sys.executable, "-X", "dev", example, path])
    assert done.returncode == 0, done.stdout + done.stderr
    assert stderr_of(done) == [] and "FAIL" not in done.stdout
