"""What is counted, and how a name is."""

from __future__ import annotations

from dataclasses import dataclass

from . import _lowlevel
from .lowlevel import sockref, sockref_registry


@dataclass(frozen=True)
class Histogram:
    """How long something took."""

    count: int
    """How many times it was measured."""
    sum_ns: int
    """All the times together."""
    buckets: tuple[tuple[int, int], ...]
    """(bound, count): how many took longer than the bound before, and no longer than this one, in nanoseconds. Those
    above the last bound, 67 seconds, are in count only."""


@dataclass(frozen=True)
class RegistryStats:
    """What a registry has counted since it began."""

    created: int
    """Names that were bound, or taken by register_new()."""
    joined: int
    """Names that were joined, for another registry owns them."""
    reused: int
    """Starts that found their name started here already."""
    failed: int
    """Starts that failed, or were cancelled."""
    closed: int
    """Started names that ended with their last reference."""
    revoked: int
    """Names that were revoked: by a cleanup, a shutdown, or the loss of their owner."""
    removed: int
    """Names whose files are removed, or whose slot is free."""
    remove_failed: int
    """Those where the system refused that."""
    deferred: int
    """Ends that had to wait, and were left to the worker."""
    last_remove_error: str | None
    """The code of the last refusal, such as "EACCES"; None: there was none."""
    removal: Histogram
    """From the last close, or the call that revokes, until nothing is left of the name."""


@dataclass(frozen=True)
class SocketStats:
    """What is counted of one name, while it is served here."""

    references: int
    """References of this registry, now."""
    connections: int
    """Connections of its service, now."""
    accepted: int
    """Connections that its service accepted."""
    refused: int
    """Connections that were closed at once, for there were too many, or no descriptor or memory was left."""
    bytes_read: int
    """Bytes that its connections received."""
    bytes_written: int
    """Bytes that its connections gave to the system."""
    served_ns: int
    """For how many nanoseconds it is served; 0 where it is not."""


@dataclass(frozen=True)
class LoopStats:
    """What all loops of the process have counted, also those that ended."""

    callbacks: int
    """Callbacks that ran."""
    pending: int
    """Calls from other threads, results of starts and calls of watches that wait for the next turn of their loop."""
    oldest_ns: int
    """For how long the oldest of them has waited; 0: there is none."""
    newest_ns: int
    """For how long the newest of them has waited."""
    starved: int
    """How many turns came so late that one of them had waited for longer than a second."""
    is_starving: bool
    """Whether one of them has waited for longer than a second now."""
    accepted: int
    """Connections that were accepted."""
    refused: int
    """Connections that were closed at once, for there were too many, or no descriptor or memory was left."""
    connected: int
    """Connects that succeeded."""
    connect_failed: int
    """Connects that failed."""
    bytes_read: int
    """Bytes that connections received."""
    bytes_written: int
    """Bytes that connections gave to the system."""
    connect: Histogram
    """From the connect until it succeeded."""


@dataclass(frozen=True)
class Health:
    """How a name is. Each is None where it cannot be told."""

    is_file_ours: bool | None
    """The path leads to the socket that was bound or joined; None: the name has no file."""
    is_reachable: bool | None
    """The system would queue a connection to it; none was made to find out."""
    is_accepting: bool | None
    """It is served and takes connections: not held back by a limit, by a lack of descriptors, or by a loop that does
    not run; None: another registry owns it."""


def of_registry(handle: sockref_registry | None) -> RegistryStats:
    told = _lowlevel.registry_stats(handle)
    error = _lowlevel.sockref_status_name(told[9]) if told[9] else None
    return RegistryStats(*told[:9], error, _histogram(told[10]))


def of_reference(handle: sockref) -> SocketStats:
    return SocketStats(*_lowlevel.reference_stats(handle))


def health_of(handle: sockref) -> Health:
    return Health(*_lowlevel.check_health(handle))


def loop_stats() -> LoopStats:
    """Tell what all loops of the process have counted: those that Python runs, and the library's own."""
    told = _lowlevel.loop_stats()
    return LoopStats(*told[:12], _histogram(told[12]))


def _histogram(told: tuple[int, int, tuple[int, ...]]) -> Histogram:
    count, sum_ns, buckets = told
    return Histogram(count, sum_ns, tuple((1000 * 4**i, number) for i, number in enumerate(buckets)))
