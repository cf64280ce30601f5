#!/usr/bin/env python3
"""front.py PATH: a front end of the core; it has a reference to the name that the core has started."""

import socket
import sys

import sockref

import core  # after sockref: where the library is not installed, the one of the package is taken


def say(path: str, words: str) -> str:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        peer.sendall(words.encode())
        return peer.recv(100).decode()


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PATH")
    path = sys.argv[1]
    if core.core_start(path) < 0:
        sys.exit(core.core_error())
    with sockref.get_existing(path) as reference:
        print("references:", core.core_references())  # the core's and ours
        core.core_stop()
        print("without the core's:", reference.reference_count)
        print("the core says", say(path, "still here"))
    print("active:", sockref.is_socket_active(path))


if __name__ == "__main__":
    main()
