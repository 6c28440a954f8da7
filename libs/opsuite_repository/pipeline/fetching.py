"""Getting many blobs out of packs with few reads, and each to all the places that want it.

Blobs are collected until a window is full; then those of one pack that lie near one another are read at once. Threads
do that, and open, check and write what was read; memory is bounded by bytes.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Final, Protocol

from opsuite_repository.errors import Damaged, FileMissing, Malformed
from opsuite_repository.format.blob_index import Location
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, open_blob
from opsuite_repository.format.sealing import OVERHEAD_BYTES, Buffer
from opsuite_repository.pipeline.metadata import Description
from opsuite_repository.pipeline.restoring_small import SmallFile, Written
from opsuite_repository.pipeline.work import Budget, Course
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType

WINDOW_BYTES: Final = 64 << 20
WINDOW_BLOBS: Final = 1024
RUN_BYTES: Final = 4 << 20
"""A read is no longer than that, unless a single blob is."""
GAP_BYTES: Final = 64 << 10
"""So many bytes nobody wants are read along rather than asking twice."""
IN_FLIGHT_BYTES: Final = 32 << 20
_SMALL_TOGETHER: Final = 16
"""Fewer files are not worth the way to another process."""
_THREADS: Final = max(4, os.cpu_count() or 1)


class Taker(Protocol):
    """Whoever wants a blob."""

    def take(self, offset: int, content: bytes) -> None:
        """The content for that place. Raises nothing: what goes wrong is the taker's."""
        ...

    def miss(self, why: str) -> None:
        """A blob cannot be had."""
        ...

    def as_small(self) -> tuple[bytes, Description] | None:
        """Path and metadata, if it is a new file with this blob and nothing else."""
        ...

    def landed(self, written: Written) -> None:
        """Such a file was written, or not, by another process."""
        ...


class SmallWriter(Protocol):
    """Another process that writes small files."""

    def write(self, stored: Buffer, files: Sequence[SmallFile]) -> list[Written]:
        """What became of each of the files, whose blobs are in `stored`."""
        ...


@dataclass(slots=True)
class Wanted:
    """A blob and everybody who wants it."""

    id: BlobId
    place: Location
    takers: list[tuple[Taker, int]] = field(default_factory=list)


def size_of(place: Location) -> int:
    """How long the content of a blob is."""
    return place.uncompressed_length or place.length - OVERHEAD_BYTES


class Fetcher:
    """Collects wishes and fulfils them. One thread wishes; takers are served on others."""

    def __init__(self, repository: Repository, course: Course) -> None:
        self._repository = repository
        self._course = course
        self._window: dict[BlobId, Wanted] = {}
        self._window_bytes = 0
        self._budget = Budget(IN_FLIGHT_BYTES)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch")
        self._writers: SimpleQueue[SmallWriter] = SimpleQueue()
        self._has_writers = False

    def employ(self, writer: SmallWriter) -> None:
        """Have small files written by another process from now on."""
        self._writers.put(writer)
        self._has_writers = True

    def locate(self, ids: Sequence[BlobId]) -> list[Location | None]:
        """Where each blob is; None if no pack has it."""
        return [self._repository.index.find(BlobType.DATA, id_) for id_ in ids]

    def want(self, id_: BlobId, place: Location, taker: Taker, offset: int) -> None:
        """Have a blob brought to `taker`, at some time before `close` returns."""
        wanted = self._window.get(id_)
        if wanted is None:
            wanted = self._window[id_] = Wanted(id_, place)
            self._window_bytes += place.length
        wanted.takers.append((taker, offset))
        if self._window_bytes >= WINDOW_BYTES or len(self._window) >= WINDOW_BLOBS:
            self.flush()

    def flush(self) -> None:
        """Start on all that was collected."""
        window, self._window, self._window_bytes = self._window, {}, 0
        for run in runs(list(window.values())):
            self._course.check()
            taken = self._budget.take(_length(run))
            self._threads.submit(self._fetch, run, taken)

    def close(self) -> None:
        """Until everything that was started has come. Call `flush` before, unless the course has failed."""
        self._threads.shutdown()

    def _fetch(self, run: Sequence[Wanted], taken: int) -> None:
        try:
            with self._course.guarded():
                self._course.check()
                self._serve(run)
        finally:
            self._budget.give(taken)

    def _serve(self, run: Sequence[Wanted]) -> None:
        begin, name = run[0].place.offset, run[0].place.pack.hex()
        try:
            stored = memoryview(self._repository.storage.read(FileType.DATA, name, begin, _length(run)))
        except (Damaged, FileMissing):
            stored = memoryview(b"")
        small = self._small_files(run) if stored and self._has_writers else []
        if len(small) >= _SMALL_TOGETHER:
            self._have_written(stored, small)
            served = {id(wanted) for wanted, _ in small}
            run = [wanted for wanted in run if id(wanted) not in served]
        for wanted in run:
            at = wanted.place.offset - begin
            self._hand_out(wanted, stored[at : at + wanted.place.length])

    def _small_files(self, run: Sequence[Wanted]) -> list[tuple[Wanted, SmallFile]]:
        """What of the run another process can do alone."""
        begin = run[0].place.offset
        small = []
        for wanted in run:
            if len(wanted.takers) == 1 and (file := wanted.takers[0][0].as_small()):
                place = wanted.place
                at, length, uncompressed = place.offset - begin, place.length, place.uncompressed_length
                small.append((wanted, SmallFile(*file, wanted.id, at, length, uncompressed)))
        return small

    def _have_written(self, stored: memoryview, small: Sequence[tuple[Wanted, SmallFile]]) -> None:
        writer = self._writers.get()
        try:
            outcome = writer.write(stored, [file for _, file in small])
        finally:
            self._writers.put(writer)
        for (wanted, file), written in zip(small, outcome, strict=True):
            if written.is_damaged:
                self._hand_out(wanted, stored[file.offset : file.offset + file.length])
            else:
                wanted.takers[0][0].landed(written)

    def _hand_out(self, wanted: Wanted, stored: memoryview) -> None:
        try:
            content = self._opened(wanted, stored)
        except Damaged as error:
            for taker, _ in wanted.takers:
                taker.miss(error.message)
            return
        for taker, offset in wanted.takers:
            taker.take(offset, content)

    def _opened(self, wanted: Wanted, stored: memoryview) -> bytes:
        """The content; from another pack when this one is damaged. Raises Damaged when none is sound."""
        try:
            return open_blob(self._repository.sealer, wanted.id, stored, wanted.place.uncompressed_length)
        except Malformed:
            return self._repository.read_blob(BlobType.DATA, wanted.id)


def runs(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    """The blobs in the order of their packs, cut into what is to be read at once."""
    by_pack: defaultdict[PackId, list[Wanted]] = defaultdict(list)
    for each in wanted:
        by_pack[each.place.pack].append(each)
    for group in by_pack.values():
        group.sort(key=lambda each: each.place.offset)
        run = [group[0]]
        for each in group[1:]:
            gap = each.place.offset - run[-1].place.offset - run[-1].place.length
            if gap > GAP_BYTES or each.place.offset + each.place.length - run[0].place.offset > RUN_BYTES:
                yield run
                run = []
            run.append(each)
        yield run


def _length(run: Sequence[Wanted]) -> int:
    return run[-1].place.offset + run[-1].place.length - run[0].place.offset
