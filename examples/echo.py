#!/usr/bin/env python3
"""echo.py PATH: serve a name, share it, talk to it, and see that nothing of it is left.

Each step says what happened and ends the program if that is not what was promised.
"""

import asyncio
import gc
import os
import socket
import sys

import sockref


def check(good: bool, what: str) -> None:
    print(f"{'ok' if good else 'FAIL':<4} {what}")
    if not good:
        sys.exit(1)


def print_counts(reference: sockref.SocketReference) -> None:
    alive = sockref.live_counts()
    print(
        f"     {reference.reference_count} references to this name; alive in all: {alive['references']} references, "
        f"{alive['entries']} names, {alive['buffers']} buffers"
    )


def dial(path: str) -> socket.socket:
    """A peer that knows nothing of this library."""
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(10)
    peer.connect(path)
    return peer


def exchange(peer: socket.socket) -> bool:
    """Python blocks in here: the library's own thread serves."""
    sent = b"What is said comes back, \0 too."
    peer.sendall(sent)
    got = b""
    while len(got) < len(sent):
        more = peer.recv(len(sent) - len(got))
        if not more:
            break
        got += more
    return got == sent


def is_listed(path: str) -> bool:
    """Print the directory of a path; tell whether the path's own name is in it."""
    directory, leaf = os.path.split(path)
    names = os.listdir(directory)
    found = leaf in names
    print(f"     the directory has {len(names)} items; {leaf} is {'one of them' if found else 'not among them'}")
    return found


def main() -> None:
    if len(sys.argv) != 2:
        print(f"usage: {sys.argv[0]} PATH", file=sys.stderr)
        sys.exit(2)
    path = sys.argv[1]

    first = sockref.listen(path)
    first.serve_echo()
    check(first.is_active and first.is_owner, "listen on the name, and serve it with echo")
    print_counts(first)
    check(is_listed(path), "its file is there")

    second = asyncio.run(sockref.start_listener(path))
    check(second.reference_count == 2, "start it once more, on asyncio: that shares what is there")
    print_counts(first)

    peer = dial(path)
    check(exchange(peer), "a plain socket connects, and hears its own words")
    del second
    gc.collect()
    check(first.reference_count == 1, "the finalizer released one of two references")
    check(exchange(peer), "the other one serves on")
    print_counts(first)

    first.close()
    check(not is_listed(path), "the last close removed the file")
    check(not sockref.is_socket_active(path), "the name is not active")
    peer.close()

    sockref.drain(5)
    alive = sockref.live_counts()
    check(alive == {"references": 0, "entries": 0, "buffers": 0}, "nothing is alive")


if __name__ == "__main__":
    main()
