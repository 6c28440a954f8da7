"""Large files and streams: read, cut into chunks, and each chunk hashed, sealed and packed on a thread of its own.

One native call on a chunk takes a millisecond or more and releases the interpreter's lock, so that threads are enough.
Memory is bounded by bytes: a chunk that was read counts until it is packed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final

from opsuite_repository.format.blobs import BlobId, BlobType, seal_blob
from opsuite_repository.format.chunking import LARGEST_CHUNK_BYTES, Chunker
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.small_files import Reading
from opsuite_repository.pipeline.work import Budget, Course
from opsuite_repository.repository import Repository

IN_FLIGHT_BYTES: Final = 10 << 20
_READ_BYTES: Final = 2 << 20
_SMALLEST_BUFFER: Final = LARGEST_CHUNK_BYTES + _READ_BYTES

ReadInto = Callable[[memoryview], int]
"""Fills the beginning of a buffer, and tells how much of it; 0 at the end."""


class Chunks:
    """Stores content of any length. For any number of threads at once."""

    def __init__(self, repository: Repository, packer: Packer, reading: Reading, course: Course) -> None:
        self._repository = repository
        self._packer = packer
        self._reading = reading
        self._course = course
        self._budget = Budget(IN_FLIGHT_BYTES)
        self._own = threading.local()
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="chunk")

    def store(self, read_into: ReadInto, done: Callable[[tuple[BlobId, ...], int], None]) -> None:
        """Store everything that can be read. `done` is called once all of it is packed, perhaps on another thread.

        It gets the blobs in order, and how many bytes there were. It is not called when the course fails.
        """
        content = _Content(done)
        for chunk in self._cut(read_into):
            self._course.check()
            at = content.expect(len(chunk))
            taken = self._budget.take(len(chunk))
            self._workers.submit(self._stored, chunk, content, at, taken)
        content.complete()

    def close(self) -> None:
        """Wait for the threads."""
        self._workers.shutdown()

    def _cut(self, read_into: ReadInto) -> Iterator[bytes]:
        """The chunks. Content is copied out of a buffer that is used again: nobody writes to what is being stored."""
        buffer, chunker = self._tools()
        view, filled, is_final = memoryview(buffer), 0, False
        while not is_final:
            while not is_final and filled < len(buffer):
                count = read_into(view[filled:])
                filled, is_final = filled + count, count == 0
            begin = 0
            for length in chunker.cut(view[:filled], final=is_final):
                yield bytes(view[begin : begin + length])
                begin += length
            view[: filled - begin] = view[begin:filled]
            filled -= begin

    def _tools(self) -> tuple[bytearray, Chunker]:
        if not hasattr(self._own, "tools"):
            self._own.tools = bytearray(_SMALLEST_BUFFER), Chunker(self._repository.chunker_seed)
        tools: tuple[bytearray, Chunker] = self._own.tools
        return tools

    def _stored(self, chunk: bytes, content: _Content, at: int, taken: int) -> None:
        try:
            with self._course.guarded():
                if not self._course.has_failed:
                    content.arrived(at, self._store_chunk(chunk))
        finally:
            self._budget.give(taken)

    def _store_chunk(self, chunk: bytes) -> BlobId:
        id_ = sha256(chunk).digest()
        if self._packer.claim(BlobType.DATA, id_):
            reading = self._reading
            self._packer.add(
                seal_blob(
                    self._repository.sealer, BlobType.DATA, chunk, id_=id_, level=reading.level, verify=reading.verify
                )
            )
        return id_


class _Content:
    """The blobs of one file, that come in any order."""

    def __init__(self, done: Callable[[tuple[BlobId, ...], int], None]) -> None:
        self._done = done
        self._lock = threading.Lock()
        self._ids: list[BlobId] = []
        self._missing = 1  # the end of the content counts as one that is yet to come
        self._size = 0

    def expect(self, size: int) -> int:
        with self._lock:
            self._ids.append(b"")
            self._missing += 1
            self._size += size
            return len(self._ids) - 1

    def arrived(self, at: int, id_: BlobId) -> None:
        self._ids[at] = id_
        self.complete()

    def complete(self) -> None:
        with self._lock:
            self._missing -= 1
            is_last = self._missing == 0
        if is_last:
            self._done(tuple(self._ids), self._size)
