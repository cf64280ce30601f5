"""Not run: what a program may write, for mypy --strict."""

from pathlib import Path
from typing import assert_type

import sockref
import sockref.aio


class Upper(sockref.Handlers):
    def on_data(self, connection: sockref.Connection, data: bytes) -> None:
        assert_type(connection.write(data.upper()), bool)


def heard(event: sockref.WatchEvent) -> None:
    assert_type(event is sockref.WatchEvent.LOST, bool)


async def main() -> None:
    reference = await sockref.start_listener(Path("/run/a.sock"), mode=0o600, unique=True)
    assert_type(reference, sockref.SocketReference)
    assert_type(reference.path, str)
    assert_type(reference.path_bytes, bytes)
    assert_type(reference.reference_count, int)
    assert_type(reference.holder_count, int)
    assert_type(reference.is_owner, bool)
    assert_type(sockref.get_existing(b"/run/a.sock"), sockref.SocketReference | None)
    reference.serve(Upper())
    reference.watch(heard)
    reference.watch(lambda event: assert_type(event, sockref.WatchEvent))
    reference.watch(None)
    reference.watch(main)  # type: ignore[arg-type]
    assert_type(sockref.guard_status(), int)
    with sockref.Registry(max_sockets=3, directory="/run") as registry:
        assert_type(registry.listen(backlog=None, share=False, guard=2), sockref.SocketReference)
        assert_type(registry.guard_status(), int)
        await sockref.aio.drain(1.5, registry=registry)
    try:
        sockref.cleanup("/run/a.sock")
    except sockref.SockrefError as error:
        assert_type(error.code, str)
        assert_type(error.path, str | None)
    assert_type(sockref.live_counts()["references"], int)
    sockref.listen("/run/a.sock", max_sockets=3)  # type: ignore[call-arg]
    sockref.listen(3)  # type: ignore[arg-type]
