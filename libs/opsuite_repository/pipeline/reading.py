"""Threads that have batches of small files worked on, and large files read.

A batch is worked on by an engine: in this process at first, in helper processes once there is enough to do that their
start pays (`helpers`). A thread stands before each engine and only waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from threading import BoundedSemaphore, Event, Lock, Thread
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self

from opsuite_repository.format.blobs import BlobId, BlobType, SealedBlob
from opsuite_repository.format.trees import encode_node
from opsuite_repository.pipeline.chunks import Chunks
from opsuite_repository.pipeline.findings import reading_failed
from opsuite_repository.pipeline.folders import Tally
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.progress import Meter
from opsuite_repository.pipeline.small_files import Batch, BatchResult, Deferred, changed, open_to_read
from opsuite_repository.pipeline.work import Course

LARGE_AT_ONCE: Final = 2
_READ_BYTES: Final = 2 << 20
_QUEUED_LARGE: Final = 256
_QUEUED_BATCHES: Final = 256
_NAMES_BEFORE_RECRUITING: Final = 50_000
_READ_BEFORE_RECRUITING: Final = 512
"""After so many names that were looked at, or files that were read, there is likely to be more work than helpers take
to start."""
_NAMES_TOGETHER: Final = 256
"""Batches go to an engine together up to so many names, since a folder often has few."""


class Engine(Protocol):
    """Works on batches, one call at a time."""

    def process(self, batches: Sequence[Batch]) -> list[BatchResult]:
        """The result of each."""
        ...

    def close(self) -> None:
        """No further call will come."""
        ...


class Recruits(Protocol):
    """Where engines come from."""

    def first(self) -> Engine:
        """The one in this process."""
        ...

    def others(self) -> Sequence[Engine]:
        """Those in helper processes, which may have to be started; none where none can be had."""
        ...

    @property
    def are_ready(self) -> bool:
        """Whether the others need no start."""
        ...


class PackerStore:
    """What an engine asks for, answered by the packer and the index."""

    def __init__(self, packer: Packer) -> None:
        self._packer = packer

    def known(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        """Which data blobs are stored or about to be."""
        return [self._packer.has(BlobType.DATA, id_) for id_ in ids]

    def claim(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        """Which ones the caller has to bring."""
        return [self._packer.claim(BlobType.DATA, id_) for id_ in ids]

    def add(self, blobs: Sequence[SealedBlob]) -> None:
        """Pack them."""
        self._packer.add(*blobs)


class _Job(NamedTuple):
    batch: Batch
    done: Callable[[BatchResult], None]


class FileReaders:
    """The readers of one backup. Leave the `with` only when everything has come back, or the course has failed."""

    def __init__(self, engines: Recruits, chunks: Chunks, *, tally: Tally, meter: Meter, course: Course) -> None:
        self._recruits = engines
        self._chunks = chunks
        self._tally = tally
        self._meter = meter
        self._course = course
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._job_room = BoundedSemaphore(_QUEUED_BATCHES)
        self._large = ThreadPoolExecutor(LARGE_AT_ONCE, thread_name_prefix="large-file")
        self._large_room = BoundedSemaphore(_QUEUED_LARGE)
        self._threads: list[Thread] = []
        self._engines: list[Engine] = []
        self._names = 0
        self._read_files = 0  # only the first engine counts, which is alone until it matters
        self._recruiting: Thread | None = None
        self._first_retires = Event()
        self._hiring = Lock()
        self._is_over = False
        self._employ(engines.first(), self._first_retires)
        if engines.are_ready:
            self._start_recruiting()

    def submit(self, batch: Batch, done: Callable[[BatchResult], None]) -> None:
        """Queue a batch, or wait until there is room."""
        self._names += len(batch.names)
        is_much = self._names > _NAMES_BEFORE_RECRUITING or self._read_files > _READ_BEFORE_RECRUITING
        if is_much and self._recruiting is None:
            self._start_recruiting()
        self._job_room.acquire()
        self._jobs.put(_Job(batch, done))

    def _start_recruiting(self) -> None:
        self._recruiting = Thread(target=self._recruit, name="recruiting", daemon=True)
        self._recruiting.start()

    def _recruit(self) -> None:
        """Have helper processes work; then the engine of this process would only be in the way of its other threads."""
        with self._course.guarded():
            for engine in self._recruits.others():
                with self._hiring:
                    if self._is_over:
                        engine.close()
                    else:
                        self._employ(engine, None)
                        self._first_retires.set()

    def _employ(self, engine: Engine, retires: Event | None) -> None:
        self._engines.append(engine)
        thread = Thread(target=self._drive, args=(engine, retires), name="small-files", daemon=True)
        self._threads.append(thread)
        thread.start()

    def submit_large(self, file: Deferred, done: Callable[[str | None], None]) -> None:
        """Queue a large file, or wait until there is room."""
        self._large_room.acquire()
        self._large.submit(self._read_large, file, done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._course.fail(error)
        with self._hiring:  # helpers that come later are sent back: nobody waits for them
            self._is_over = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        self._large.shutdown()
        self._chunks.close()
        for engine in self._engines:
            engine.close()

    def _drive(self, engine: Engine, retires: Event | None) -> None:
        """Until the end is queued. After a failure the queue is emptied all the same: nobody must wait for room."""
        while not (retires and retires.is_set()) and (jobs := self._next_jobs()):
            with self._course.guarded():
                if not self._course.has_failed:
                    for job, result in zip(jobs, engine.process([job.batch for job in jobs]), strict=True):
                        job.done(result)
                        self._read_files += result.files_new + result.files_changed

    def _next_jobs(self) -> list[_Job]:
        """Some jobs; none at the end. It waits for the first only: others may be long in coming."""
        jobs: list[_Job] = []
        names = 0
        while names < _NAMES_TOGETHER:
            try:
                job = self._jobs.get(block=not jobs)
            except Empty:
                break
            if job is None:
                if jobs:
                    self._jobs.put(None)  # its turn comes after these
                break
            self._job_room.release()
            jobs.append(job)
            names += len(job.batch.names)
        return jobs

    def _read_large(self, file: Deferred, done: Callable[[str | None], None]) -> None:
        self._large_room.release()
        with self._course.guarded():
            if self._course.has_failed:
                return
            try:
                descriptor = open_to_read(file.path)
            except OSError as error:
                self._tally.found(reading_failed(file.path, error))
                done(None)
                return
            try:
                self._store_large(descriptor, file, done)
            finally:
                os.close(descriptor)

    def _store_large(self, descriptor: int, file: Deferred, done: Callable[[str | None], None]) -> None:
        stored = _Stored(self, file, done)
        before = os.fstat(descriptor)
        try:
            self._chunks.store(lambda view: stored.read_into(descriptor, view), stored.finish)
        except _Unreadable as error:
            self._tally.found(reading_failed(file.path, error.cause))
            done(None)
            return
        if finding := changed(file.path, before, os.fstat(descriptor), stored.read_bytes):
            self._tally.found(finding)

    def stored(self, file: Deferred, size: int) -> None:
        """Count a large file."""
        self._tally.add(BatchResult(files_new=file.is_new, files_changed=not file.is_new, size_bytes=size))
        self._meter.add(files=1, current=file.path)

    def read(self, file: Deferred, size: int) -> None:
        """Tell that so much of a large file was read. Raises what ended the course."""
        self._course.check()
        self._meter.add(size_bytes=size, current=file.path)


class _Unreadable(Exception):
    """The file cannot be read further; what else is raised meanwhile is no fault of the file."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause)
        self.cause = cause


class _Stored:
    """A large file on its way."""

    def __init__(self, readers: FileReaders, file: Deferred, done: Callable[[str | None], None]) -> None:
        self._readers = readers
        self._file = file
        self._done = done
        self.read_bytes = 0

    def read_into(self, descriptor: int, view: memoryview) -> int:
        try:
            count = os.readv(descriptor, [view[:_READ_BYTES]])
        except OSError as error:
            raise _Unreadable(error) from error
        self.read_bytes += count
        self._readers.read(self._file, count)
        return count

    def finish(self, content: tuple[BlobId, ...], size: int) -> None:
        self._file.node.content = content
        self._file.node.size = size
        self._readers.stored(self._file, size)
        self._done(encode_node(self._file.node))
