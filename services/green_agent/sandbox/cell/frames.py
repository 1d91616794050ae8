"""How a program's process talks: lines to green, length-prefixed messages between the two cells of a split test.

A line carries the job's nonce, so that what a program prints on every descriptor it finds is not taken for a frame. The
nonce keeps accidents out, not attackers: a forged value is compared like any other.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any, Final

from services.contract.values import MAX_FRAME_BYTES

HEADER: Final = struct.Struct("!I")
OVERHEAD_BYTES: Final = 64 << 10
"""What the envelope of a frame may take beside its values."""


class PeerLost(Exception):  # noqa: N818 - what the test's traceback shows
    """The cell that answers the test's calls has ended."""


class Reporter:
    """Writes result lines."""

    def __init__(self, descriptor: int, nonce: str) -> None:
        self.descriptor = descriptor
        self.nonce = nonce

    def send(self, **frame: Any) -> None:
        """Write one frame of JSON values on a line of its own."""
        _write(self.descriptor, f"\n{self.nonce} {json.dumps(frame)}\n".encode())


def send_message(descriptor: int, message: dict[str, Any]) -> None:
    """Send one JSON object to the other cell. Raises PeerLost."""
    body = json.dumps(message).encode()
    try:
        _write(descriptor, HEADER.pack(len(body)) + body)
    except OSError as error:
        raise PeerLost("the program under test has ended") from error


def receive_message(descriptor: int) -> dict[str, Any]:
    """Receive one JSON object from the other cell. Raises PeerLost at its end or when it sends anything else."""
    (size,) = HEADER.unpack(_read(descriptor, HEADER.size))
    if size > MAX_FRAME_BYTES + OVERHEAD_BYTES:
        raise PeerLost("the program under test sent a frame above the limit")
    try:
        message = json.loads(_read(descriptor, size))
    except (ValueError, RecursionError) as error:
        raise PeerLost("the program under test sent something that is no frame") from error
    if not isinstance(message, dict):
        raise PeerLost("the program under test sent something that is no frame")
    return message


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        try:
            part = os.read(descriptor, min(size, 1 << 20))
        except OSError as error:
            raise PeerLost("the program under test has ended") from error
        if not part:
            raise PeerLost("the program under test has ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
