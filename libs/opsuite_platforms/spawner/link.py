"""The service's side of the sockets to nursery and workers: never blocks, wakes futures of the event loop."""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from opsuite_platforms.spawner.wire import DESCRIPTORS, RECEIVE_BYTES, Disconnected, Message, encode

PACKAGES = Path(__file__).parents[2]
"""Folder that holds the import packages; the nursery starts without site-packages."""


class Answer:
    """An answer to come. Waiting for it may be broken off and taken up again: it is not lost meanwhile."""

    def __init__(self) -> None:
        self._arrived = asyncio.Event()
        self._content: tuple[Message, list[int]] | None = None
        self._is_abandoned = False

    async def wait(self) -> tuple[Message, list[int]]:
        """The answer and the descriptors that came with it. Raises Disconnected."""
        await self._arrived.wait()
        if self._content is None:
            raise Disconnected
        return self._content

    def arrive(self, message: Message, descriptors: list[int]) -> None:
        """Hand it to whoever waits."""
        self._content = message, descriptors
        self._arrived.set()
        if self._is_abandoned:
            _close(descriptors)

    def fail(self) -> None:
        """Say that it will never come."""
        self._arrived.set()

    def abandon(self) -> None:
        """Nobody waits for it any more: close what descriptors it has or will have."""
        self._is_abandoned = True
        if self._content is not None:
            _close(self._content[1])


class Link:
    """One socket: requests go out, answers come back in their order."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._received = b""
        self._descriptors: list[int] = []
        self._waiting = deque[Answer]()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(end, self._read)
        self._in_use = threading.Lock()
        """Held while a thread sends: the descriptor of a socket closed meanwhile may belong to something else."""
        self.is_closed = False

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message that has no answer of its own. Raises Disconnected."""
        if self.is_closed:
            raise Disconnected
        data = encode(message)
        try:
            sent = socket.send_fds(self._socket, [data], descriptors) if descriptors else self._socket.send(data)
        except OSError as error:
            self.close()
            raise Disconnected from error
        if sent < len(data):
            await self.send_rest(data[sent:])

    def send_now(self, data: bytes, descriptors: Sequence[int]) -> int:
        """Send what can be sent at once, from any thread; how many bytes that was. Raises Disconnected."""
        with self._in_use:
            if self.is_closed:
                raise Disconnected
            try:
                return socket.send_fds(self._socket, [data], descriptors)
            except OSError as error:
                raise Disconnected from error

    async def send_rest(self, data: bytes) -> None:
        """Send what `send_now` could not. Raises Disconnected."""
        try:
            await self._loop.sock_sendall(self._socket, data)
        except asyncio.CancelledError:
            self.close()  # half a message can be neither finished nor taken back
            raise
        except OSError as error:
            self.close()
            raise Disconnected from error

    async def ask(self, message: Message, descriptors: Sequence[int] = ()) -> Answer:
        """Send a message; returns the answer to come. Raises Disconnected."""
        await self.send(message, descriptors)
        return self.expect()

    def expect(self) -> Answer:
        """The answer to the message that was sent last, or is sent next."""
        answer = Answer()
        if self.is_closed:
            answer.fail()
        else:
            self._waiting.append(answer)
        return answer

    def close(self) -> None:
        """Hang up; whoever waits gets Disconnected."""
        if self.is_closed:
            return
        self._loop.remove_reader(self._socket)
        with self._in_use:
            self.is_closed = True
            self._socket.close()
        _close(self._descriptors)
        while self._waiting:
            self._waiting.popleft().fail()

    def expect_nothing(self) -> None:
        """The message whose answer was expected last will not be sent."""
        if not self.is_closed:
            self._waiting.pop()

    def _read(self) -> None:
        try:
            data, controls, _, _ = self._socket.recvmsg(RECEIVE_BYTES, DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, controls = b"", []
        if not data:
            self.close()
            return
        for _, _, payload in controls:
            received = array.array("i")
            received.frombytes(payload)
            self._descriptors += received
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._deliver(json.loads(line))

    def _deliver(self, message: Message) -> None:
        # An answer with a descriptor has a message of its own: the kernel never merges two that carry some.
        descriptors, self._descriptors = self._descriptors, []
        self._waiting.popleft().arrive(message, descriptors)


class Worker(Link):
    """The socket of one worker."""

    def __init__(self, pid: int, end: socket.socket, nursery: Nursery) -> None:
        super().__init__(end)
        self.pid = pid
        self.nursery = nursery
        """Its parent."""


class Nursery(Link):
    """The socket of the nursery, and the process of its guard."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-S", "-s", "-P", "-m", "opsuite_platforms.spawner", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={"PYTHONPATH": str(PACKAGES)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        super().__init__(ours)

    async def make_worker(self) -> Worker:
        """A new worker. Raises Disconnected."""
        answer = await self.ask({"op": "worker"})
        try:
            message, (descriptor,) = await answer.wait()
        except asyncio.CancelledError:
            answer.abandon()
            raise
        return Worker(message["pid"], socket.socket(fileno=descriptor), self)

    async def sweep(self, worker: int) -> None:
        """Returns when that worker and all below it are dead. Raises Disconnected."""
        await (await self.ask({"op": "sweep", "pid": worker})).wait()

    async def wait(self) -> None:
        """Returns when the guard has ended, and with it everything."""
        await asyncio.to_thread(self._process.wait)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
