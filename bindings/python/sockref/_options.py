"""Options, as keywords."""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping
from typing import TypedDict

from . import _lowlevel
from ._errors import make_error
from ._paths import Path, encode
from .lowlevel import sockref_options


class ListenOptions(TypedDict, total=False):
    """Options of one start. What is left out, or None, is the registry's value. Times are milliseconds."""

    mode: int | None
    """Permission bits of the socket file; -1: the umask decides. Default 0o600."""
    backlog: int | None
    """Connections waiting to be accepted. Default 4096; the kernel may lower it."""
    share: bool | None
    """Join across processes. False: own it alone, with no lock file beside it. Default True."""
    guard: int | None
    """Clean up after SIGKILL: 0 no, 1 yes, 2: a start without guard fails. Default 1."""
    cleanup_delay_ms: int | None
    """How long a listener outlives its last reference. Default 0."""
    cleanup_timeout_ms: int | None
    """How long a cleanup may wait. Default 5000."""
    start_timeout_ms: int | None
    """How long a start may wait for another one, in another process as well. Default 5000."""
    max_connections: int | None
    """Open connections of a served name; 0: no limit. Default 0."""
    max_buffered: int | None
    """Unsent bytes kept for one connection. Default 16 MiB."""
    unique: bool | None
    """A name without a path is fresh at each call. Default False."""
    exclusive: bool | None
    """Own the name or fail. Default False."""
    handover: bool | None
    """The listener may be passed to another holder when this one ends. Default True."""
    ipv6_only: bool | None
    """TCP, IPv6: no connections by IPv4. Default False."""
    reuse_port: bool | None
    """TCP: the port may be bound by several listeners that all say so. Default False."""
    bind_only: bool | None
    """Bind the name, and listen only when it is served; it is never shared. Default False."""


class RegistryOptions(ListenOptions, total=False):
    """Options of a registry: defaults for its starts, and what belongs to the registry alone."""

    directory: Path | None
    """Where names without a path are put."""
    max_sockets: int | None
    """Names of the registry. Default 1024."""
    max_references: int | None
    """References to one name. Default 65536."""
    keep_file: bool | None
    """The file of a socket given to register_new() stays at the end; also no guard and no sharing. Default False."""


# The numbers are the library's ABI.
_NUMBERS = {
    "mode": 1,
    "backlog": 2,
    "directory": 3,
    "share": 4,
    "guard": 5,
    "cleanup_delay_ms": 6,
    "cleanup_timeout_ms": 7,
    "start_timeout_ms": 8,
    "max_sockets": 9,
    "max_references": 10,
    "max_connections": 11,
    "max_buffered": 12,
    "unique": 13,
    "exclusive": 14,
    "handover": 15,
    "ipv6_only": 16,
    "reuse_port": 17,
    "keep_file": 18,
    "bind_only": 19,
}
_REGISTRY_ONLY = frozenset({"directory", "max_sockets", "max_references", "keep_file"})


def milliseconds(seconds: float) -> int:
    """Rounded up, so that nothing ends too early; the longest there are is 24 days."""
    return math.ceil(min(seconds * 1000, 2**31 - 1))


def registry_options(options: Mapping[str, object]) -> sockref_options:
    return _build(options)


def call_options(options: Mapping[str, object]) -> sockref_options:
    for name in options:
        if name in _REGISTRY_ONLY:
            raise TypeError(f"{name!r} is an option of a Registry, not of one call")
    return _build(options)


def _build(options: Mapping[str, object]) -> sockref_options:
    made = _lowlevel.sockref_options_new()
    for name, value in options.items():
        number = _NUMBERS.get(name)
        if number is None:
            raise TypeError(f"{name!r} is not an option of sockref")
        if value is None:
            continue
        if name == "directory":
            if not isinstance(value, (str, bytes)) and not hasattr(value, "__fspath__"):
                raise TypeError(f"option 'directory' must be a path, not {type(value).__name__}")
            _lowlevel.sockref_options_set_string(made, number, encode(value))
            continue
        if not isinstance(value, int):
            raise TypeError(f"option {name!r} must be an int, not {type(value).__name__}")
        if not -(2**63) <= value < 2**63:
            raise make_error(-errno.EINVAL, message=f"option {name!r} is out of range: {value}")
        _lowlevel.sockref_options_set_int(made, number, value)
    return made
