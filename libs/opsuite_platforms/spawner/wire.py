"""Messages between the service, the nursery and the workers: one JSON object a line over a Unix stream socket.

File descriptors travel with the first byte of the message that they belong to. This side blocks; the service has a
side of its own that does not (`client.py`).
"""

from __future__ import annotations

import array
import json
import socket
from collections.abc import Sequence
from typing import Any

RECEIVE_BYTES = 65_536
DESCRIPTORS = socket.CMSG_SPACE(4 * array.array("i").itemsize)

Message = dict[str, Any]


class Disconnected(Exception):
    """The other side is gone."""


def encode(message: Message) -> bytes:
    """The message as it goes over the wire."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Wire:
    """The blocking end of a socket."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._received = b""
        self._descriptors: list[int] = []

    def fileno(self) -> int:
        """What `poll` wants."""
        return self.socket.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send all of it. Raises Disconnected."""
        try:
            if descriptors:
                socket.send_fds(self.socket, [encode(message)], descriptors)
            else:
                self.socket.sendall(encode(message))
        except OSError as error:
            raise Disconnected from error

    def receive(self) -> Message:
        """The next message, waiting for it. Raises Disconnected."""
        while not self.has_message:
            self._fill()
        line, _, self._received = self._received.partition(b"\n")
        message: Message = json.loads(line)
        return message

    @property
    def has_message(self) -> bool:
        """Whether a message is here already, so that `poll` would not tell of it."""
        return b"\n" in self._received

    def take_descriptors(self) -> list[int]:
        """The descriptors received so far; the caller closes them."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def _fill(self) -> None:
        try:
            # The flag makes them close on exec: a program must inherit nothing but its three streams.
            data, controls, _, _ = self.socket.recvmsg(RECEIVE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise Disconnected from error
        if not data:
            raise Disconnected
        self._received += data
        for level, kind, payload in controls:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                received = array.array("i")
                received.frombytes(payload)
                self._descriptors += received
