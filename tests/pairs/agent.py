#!/usr/bin/env python3
"""One holder of a name, for tests that need processes: a JSON command a line on stdin, its answer a line on stdout.

    {"cmd": "start", "path": P, "options": {...}}           {"ok": true, "owner": bool, "holders": n}
    {"cmd": "status"}                                       {"active": bool, "owner": bool, "holders": n, "count": n}
    {"cmd": "wait", "event": "lost"|"owner", "timeout": ms} {"ok": bool}; each event is waited for once
    {"cmd": "serve"}                                        {"ok": true}; a native echo service
    {"cmd": "dial", "path": P, "text": T}                   {"ok": true, "text": what came back}
    {"cmd": "close"}, {"cmd": "exit"}                       {"ok": true}

What fails is answered {"ok": false, "code": ..., "message": ...}. The end of stdin is an exit.
"""

from __future__ import annotations

import errno
import functools
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import sockref

LIMIT = 30.0  # seconds for a dialled peer
LIFETIME = 600  # seconds; then the agent is forgotten, or hangs


class Agent:
    def __init__(self) -> None:
        self.reference: sockref.SocketReference | None = None
        self.told = threading.Condition()
        self.events: list[str] = []  # of this life, that nobody has waited for

    def held(self) -> sockref.SocketReference:
        if self.reference is None:
            raise RuntimeError("nothing was started")
        return self.reference

    def note(self, events: list[str], event: sockref.WatchEvent) -> None:
        with self.told:
            events.append(event.name.lower())
            self.told.notify_all()

    def start(self, command: dict[str, Any]) -> dict[str, Any]:
        reference = sockref.listen(command["path"], **command.get("options", {}))
        old, self.reference, self.events = self.reference, reference, []
        if old is not None:
            old.close()
        try:
            reference.watch(functools.partial(self.note, self.events))
        except sockref.SockrefError as error:
            if error.code != "ESOCKREF_CLOSED":
                raise
            self.note(self.events, sockref.WatchEvent.LOST)  # in this moment
        return {"ok": True, "owner": reference.is_owner, "holders": reference.holder_count}

    def status(self, command: dict[str, Any]) -> dict[str, Any]:
        reference = self.held()
        return {
            "active": reference.is_active,
            "owner": reference.is_owner,
            "holders": reference.holder_count,
            "count": reference.reference_count,
        }

    def wait(self, command: dict[str, Any]) -> dict[str, Any]:
        event = command["event"]
        deadline = time.monotonic() + command["timeout"] / 1000
        with self.told:
            while event not in self.events:
                left = deadline - time.monotonic()
                if left <= 0:
                    return {"ok": False, "code": "ETIMEDOUT", "message": f"{event} did not come"}
                self.told.wait(left)
            self.events.remove(event)
        return {"ok": True}

    def serve(self, command: dict[str, Any]) -> dict[str, Any]:
        self.held().serve_echo()
        return {"ok": True}

    def dial(self, command: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(LIMIT)
            peer.connect(command["path"])
            sent, echoed = command["text"].encode(), b""
            peer.sendall(sent)
            while len(echoed) < len(sent):
                more = peer.recv(len(sent) - len(echoed))
                if not more:
                    break
                echoed += more
        return {"ok": True, "text": echoed.decode()}

    def close(self, command: dict[str, Any]) -> dict[str, Any]:
        reference, self.reference = self.reference, None
        if reference is not None:
            reference.close()
        return {"ok": True}

    def exit(self, command: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True}


def describe(error: Exception) -> dict[str, Any]:
    if isinstance(error, sockref.SockrefError):
        return {"ok": False, "code": error.code, "message": error.strerror}
    number = error.errno if isinstance(error, OSError) else None
    return {"ok": False, "code": errno.errorcode.get(number or 0, type(error).__name__), "message": str(error)}


def main() -> None:
    signal.alarm(LIFETIME)
    agent = Agent()
    answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        name: getattr(agent, name) for name in ("start", "status", "wait", "serve", "dial", "close", "exit")
    }
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = answers[command["cmd"]](command)
        except Exception as error:
            answer = describe(error)
        print(json.dumps(answer), flush=True)
        if command["cmd"] == "exit":
            break


if __name__ == "__main__":
    main()
