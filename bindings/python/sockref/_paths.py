"""Names as they go to the library: bytes without NUL."""

from __future__ import annotations

import os
from typing import Union

from ._errors import EPATH, make_error

#: What names a socket: a file path, or "@" and an abstract name.
Path = Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]


def encode(path: Path) -> bytes:
    """The exact bytes; TypeError for no path at all, SockrefValueError for one that holds NUL."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise make_error(EPATH, path=raw, message="a path cannot contain a NUL byte")
    return raw


def encode_optional(path: Path | None) -> bytes | None:
    return None if path is None else encode(path)
