"""A stretch of network that goes wrong on purpose: an HTTP proxy of one request a connection, with faults to order."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import cast


class Fault(Enum):
    """What goes wrong with one request."""

    RESET = auto()
    """The connection is reset before the server has heard anything."""
    SILENCE = auto()
    """Nobody answers, until the client gives up."""
    BUSY = auto()
    """503 Service Unavailable."""
    THROTTLED = auto()
    """429 Too Many Requests, with Retry-After."""
    REQUEST_CUT = auto()
    """The server receives half of the request's body."""
    REQUEST_FLIPPED = auto()
    """One bit in the last byte of the request's body is another."""
    ANSWER_LOST = auto()
    """The server has done what was asked, and the client does not hear of it."""
    ANSWER_CUT = auto()
    """The client receives half of the answer's body."""
    ANSWER_FLIPPED = auto()
    """One bit in the last byte of the answer's body is another."""


class FaultyWire(socketserver.ThreadingTCPServer):
    """Passes requests on to the given port of loopback; the next faults strike the next requests of their method."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Passage)
        self.upstream = port
        self.port = int(self.server_address[1])
        self.struck = 0
        self._faults: deque[tuple[str, Fault | None]] = deque()
        self._lock = threading.Lock()

    def strike(self, method: str, *faults: Fault | None) -> None:
        """Order faults for the next requests of that method, one each; None lets one pass."""
        with self._lock:
            self._faults.extend((method, fault) for fault in faults)

    def heal(self) -> None:
        """Forget faults that have not struck yet."""
        with self._lock:
            self._faults.clear()

    def fault_of(self, method: str) -> Fault | None:
        """The fault that strikes a request of that method now."""
        with self._lock:
            if not self._faults or self._faults[0][0] != method:
                return None
            self.struck += 1
            return self._faults.popleft()[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: broken connections are what this is for."""


@contextlib.contextmanager
def faulty_wire(port: int) -> Iterator[FaultyWire]:
    """A wire to that port of loopback, for as long as the block lasts."""
    with FaultyWire(port) as wire:
        thread = threading.Thread(target=lambda: wire.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        try:
            yield wire
        finally:
            wire.shutdown()
            thread.join()


class _Passage(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        client = cast("socket.socket", self.request)
        head, body = _request(client)
        fault = cast("FaultyWire", self.server).fault_of(head.split(b" ", 1)[0].decode())
        match fault:
            case Fault.RESET:
                _reset(client)
            case Fault.SILENCE:
                client.recv(1)
            case Fault.BUSY:
                client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            case Fault.THROTTLED:
                client.sendall(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            case Fault.REQUEST_CUT:
                self._forward(head, body[: len(body) // 2], whole=False)
                _reset(client)
            case Fault.REQUEST_FLIPPED:
                client.sendall(self._forward(head, _flipped(body)))
            case Fault.ANSWER_LOST:
                self._forward(head, body)
                _reset(client)
            case Fault.ANSWER_CUT:
                answer, content = _parts(self._forward(head, body))
                client.sendall(answer + content[: len(content) // 2])
            case Fault.ANSWER_FLIPPED:
                answer, content = _parts(self._forward(head, body))
                client.sendall(answer + _flipped(content))
            case None:
                client.sendall(self._forward(head, body))

    def _forward(self, head: bytes, body: bytes, *, whole: bool = True) -> bytes:
        """The server's answer to the request; nothing when the request is not sent as a whole."""
        with socket.create_connection(("127.0.0.1", cast("FaultyWire", self.server).upstream)) as server:
            server.sendall(_closing(head) + body)
            if not whole:
                return b""
            pieces = []
            while piece := server.recv(65536):
                pieces.append(piece)
        answer, content = _parts(b"".join(pieces))
        return _closing(answer) + content


def _request(client: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(client)
    head, body = _parts(received)
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    length = int(found[1]) if found else 0
    rest = bytearray(body)
    while len(rest) < length:
        rest += _some(client)
    return head, bytes(rest)


def _some(client: socket.socket) -> bytes:
    piece = client.recv(65536)
    if not piece:
        raise ConnectionResetError
    return piece


def _parts(message: bytes) -> tuple[bytes, bytes]:
    head, separator, body = message.partition(b"\r\n\r\n")
    return head + separator, body


def _closing(head: bytes) -> bytes:
    """The head with a wish to end the connection after this exchange: each request gets a passage of its own."""
    first, rest = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).split(b"\r\n", 1)
    return first + b"\r\nConnection: close\r\n" + rest


def _flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1]) if body else body


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
