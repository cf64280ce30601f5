"""Where the programs of each language are, for runners that set processes of several languages against each other."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable

TESTS = pathlib.Path(__file__).resolve().parent
TOP = TESTS.parent
BUILD = pathlib.Path(os.environ.get("SOCKREF_BUILD") or TOP).resolve()
DIST = BUILD / "build" / "dist"
IN_TREE = str(TOP / "scripts" / "in-tree")
COMPILING = 300.0  # seconds for a compiler on a busy machine
LIMIT = 120.0  # seconds for anything that other processes do

PACKAGES = {
    "node": DIST / "node/sockref/build/Release/sockref_low.node",
    "python": DIST / "python/sockref/_lowlevel.abi3.so",
    "java": DIST / "java/sockref.jar",
}

Find = Callable[[str, pathlib.Path], "list[str] | None"]


class Failure(Exception):
    """What did not hold."""


def check(holds: object, what: str) -> None:
    if not holds:
        raise Failure(what)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        check(time.monotonic() < deadline, f"{what}: not in {LIMIT:.0f} s")
        time.sleep(0.005)


def c_command(program: str, scratch: pathlib.Path) -> list[str] | None:
    built = BUILD / program
    return [str(built)] if os.access(built, os.X_OK) else None


def musl_command(program: str, scratch: pathlib.Path) -> list[str] | None:
    """SOCKREF_MUSL is where the library is built with another C library, see scripts/musl."""
    build = pathlib.Path(os.environ.get("SOCKREF_MUSL") or "nowhere")
    built = build / program
    found = {"LD_LIBRARY_PATH": build / ".libs", "SOCKREF_GUARD": build / "src/guard/sockref-guard"}
    if not os.access(built, os.X_OK):
        return None
    return ["env", *(f"{name}={place}" for name, place in found.items()), str(built)]


def node_command(program: str, scratch: pathlib.Path) -> list[str] | None:
    built = PACKAGES["node"].exists() and shutil.which("node")
    return ["node", str(TOP / f"{program}.js")] if built else None


def python_command(program: str, scratch: pathlib.Path) -> list[str] | None:
    return ["python3", str(TOP / f"{program}.py")] if PACKAGES["python"].exists() else None


def java_command(program: str, scratch: pathlib.Path) -> list[str] | None:
    """The class is compiled once, beside nothing of the tree."""
    library, source = PACKAGES["java"], TOP / program
    if not library.exists() or not shutil.which("javac"):
        return None
    name = source.name.capitalize()
    brief = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # of a second or two; see bindings/java/local.mk
    compile_it = ["javac", *brief, "-cp", str(library), "-d", str(scratch), str(source.with_name(f"{name}.java"))]
    subprocess.run(compile_it, check=True, stdin=subprocess.DEVNULL, timeout=COMPILING)
    return ["java", "-cp", f"{scratch}:{library}", name]


LANGUAGES: dict[str, tuple[str, Find]] = {
    "c": ("C", c_command),
    "musl": ("C with musl", musl_command),
    "node": ("Node", node_command),
    "python": ("Python", python_command),
    "java": ("Java", java_command),
}
USUAL = ["c", "node", "python", "java"]


def environment() -> dict[str, str]:
    return {**os.environ, "SOCKREF_BUILD": str(BUILD)}


def commands(program: str, wanted: list[str], scratch: pathlib.Path) -> dict[str, list[str]]:
    """The command of a program in each language; one that is not built is left out, and that is said."""
    found: dict[str, list[str]] = {}
    for name in wanted:
        command = LANGUAGES[name][1](program, scratch)
        if command is None:
            print(f"skip {LANGUAGES[name][0]}: {program} is not built")
        else:
            found[name] = [IN_TREE, *command]
    return found
