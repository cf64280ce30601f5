"""The extension module: loaded once, in the main interpreter, and checked against the library it found."""

from __future__ import annotations

import importlib
import os
import sys


def in_subinterpreter() -> bool:
    """Whether this is not the main interpreter; false where Python cannot tell."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        return bool(module.get_current() != module.get_main())
    return False


def check_versions(
    built: tuple[str, int], found: tuple[str, int], extension_file: str, library_file: str | None
) -> None:
    """Require the binary interface of the build, and a library at least as new.

    built and found are (version, ABI number). Raises ImportError naming both files and versions.
    """
    if built[1] == found[1] and _numbers(found[0]) >= _numbers(built[0]):
        return
    raise ImportError(
        f"sockref: {extension_file} was built for version {built[0]} (ABI {built[1]}) of the library, "
        f"but {library_file or 'the library that was loaded'} is version {found[0]} (ABI {found[1]}): "
        "install the package again, with the library of its version"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split("."))


# Both have to be said before the module is loaded: objects have another layout there, and an import in a subinterpreter
# would break the wrappers of the main one.
if "t" in sys.abiflags:
    raise ImportError("sockref does not work on free-threaded CPython: use one with the GIL")
if in_subinterpreter():
    raise ImportError("sockref works in the main interpreter only: a subinterpreter cannot import it")

try:
    importlib.import_module("._lowlevel", __package__)
except ModuleNotFoundError:
    raise ImportError(
        f"sockref: there is no extension module in {os.path.dirname(__file__)}: install the package; "
        "it cannot be imported from an archive, nor from its sources"
    ) from None

from . import _lowlevel  # noqa: E402
from . import lowlevel as lowlevel  # noqa: E402,F401  (gives the proxies their classes)

BUILT_VERSION: str = _lowlevel.BUILT_VERSION

check_versions(
    (BUILT_VERSION, _lowlevel.BUILT_ABI),
    (_lowlevel.sockref_version(), _lowlevel.sockref_abi_version()),
    str(_lowlevel.__file__),
    _lowlevel.library_file(),
)
