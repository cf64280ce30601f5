"""Where the agents of each language are, for runners that set processes of two languages against each other."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
from collections.abc import Callable

TESTS = pathlib.Path(__file__).resolve().parent
TOP = TESTS.parent
BUILD = pathlib.Path(os.environ.get("SOCKREF_BUILD") or TOP).resolve()
DIST = BUILD / "build" / "dist"
IN_TREE = str(TOP / "scripts" / "in-tree")
COMPILING = 300.0  # seconds for javac on a busy machine

Find = Callable[[str, pathlib.Path], "list[str] | None"]


class Failure(Exception):
    """What did not hold."""


def check(holds: object, what: str) -> None:
    if not holds:
        raise Failure(what)


def c_command(kind: str, scratch: pathlib.Path) -> list[str] | None:
    program = BUILD / "tests" / kind / "agent"
    return [str(program)] if os.access(program, os.X_OK) else None


def musl_command(kind: str, scratch: pathlib.Path) -> list[str] | None:
    """SOCKREF_MUSL is where the library is built with another C library, see scripts/musl."""
    build = pathlib.Path(os.environ.get("SOCKREF_MUSL") or "nowhere")
    program = build / "tests" / kind / "agent"
    found = {"LD_LIBRARY_PATH": build / ".libs", "SOCKREF_GUARD": build / "src/guard/sockref-guard"}
    if not os.access(program, os.X_OK):
        return None
    return ["env", *(f"{name}={place}" for name, place in found.items()), str(program)]


def node_command(kind: str, scratch: pathlib.Path) -> list[str] | None:
    built = (DIST / "node/sockref/build/Release/sockref_low.node").exists() and shutil.which("node")
    return ["node", str(TESTS / kind / "agent.js")] if built else None


def python_command(kind: str, scratch: pathlib.Path) -> list[str] | None:
    built = (DIST / "python/sockref/_lowlevel.abi3.so").exists()
    return ["python3", str(TESTS / kind / "agent.py")] if built else None


def java_command(kind: str, scratch: pathlib.Path) -> list[str] | None:
    """The class is compiled once, beside nothing of the tree."""
    program, library = TESTS / kind / "Agent.java", DIST / "java/sockref.jar"
    if not library.exists() or not shutil.which("javac"):
        return None
    brief = ["-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC"]  # of a second or two; see bindings/java/local.mk
    compile_it = ["javac", *brief, "-cp", str(library), "-d", str(scratch), str(program)]
    subprocess.run(compile_it, check=True, stdin=subprocess.DEVNULL, timeout=COMPILING)
    return ["java", "-cp", f"{scratch}:{library}", "Agent"]


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


def commands(kind: str, wanted: list[str], scratch: pathlib.Path) -> dict[str, list[str]]:
    """The command of each language's agent in tests/KIND; one that is not built is left out, and that is said."""
    found: dict[str, list[str]] = {}
    for name in wanted:
        command = LANGUAGES[name][1](kind, scratch)
        if command is None:
            print(f"skip {LANGUAGES[name][0]}: its agent is not built")
        else:
            found[name] = [IN_TREE, *command]
    return found
