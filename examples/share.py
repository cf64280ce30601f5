#!/usr/bin/env python3
"""share.py PATH: hold a name together with other processes, and serve it whenever this one owns it.

The first line of input starts the name, each further one has the program tell what it knows of it, and the end of the
input ends it. Where the owner is killed, the name is started anew.
"""

from __future__ import annotations

import os
import sys
import threading

import sockref


def say(what: str) -> None:
    sys.stdout.write(f"Python ({os.getpid()}): {what}\n")  # in one piece: others write there too
    sys.stdout.flush()


class Holder:
    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.RLock()  # a watch is called on a thread of its own
        self.reference: sockref.SocketReference | None = None
        self.serves = False

    def start(self) -> None:
        with self.lock:
            self.reference = sockref.listen(self.path)
            self.serves = False
            self.tell()
            try:
                self.reference.watch(self.on_event)
            except sockref.SockrefError:  # it was lost in this moment
                self.on_event(sockref.WatchEvent.LOST)
            else:
                self.serve_if_owner()

    def on_event(self, event: sockref.WatchEvent) -> None:
        with self.lock:
            if self.reference is None:
                return
            if event is sockref.WatchEvent.LOST:
                say("lost the owner, start anew")
                self.reference.close()
                self.start()
            elif event is sockref.WatchEvent.OWNER and self.reference.is_owner:
                self.tell()
                self.serve_if_owner()

    def serve_if_owner(self) -> None:
        if self.reference is not None and self.reference.is_owner and not self.serves:
            self.reference.serve_echo()
            self.serves = True

    def tell(self) -> None:
        with self.lock:
            if self.reference is not None:
                what = "owner" if self.reference.is_owner else "joined"
                say(f"{what}, holders: {self.reference.holder_count}")

    def close(self) -> None:
        with self.lock:
            if self.reference is not None:
                self.reference.close()
            self.reference = None
            say("released")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} PATH")
    holder = Holder(sys.argv[1])
    say("ready")
    for number, _ in enumerate(sys.stdin):
        if number == 0:
            holder.start()
        else:
            holder.tell()
    holder.close()  # at the exit, what is served still is handed to another holder


if __name__ == "__main__":
    main()
