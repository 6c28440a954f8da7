"""What the threads of one piece of work share: the first failure, the wish to stop, and how much memory is in use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from opsuite_repository.errors import Cancelled


class Course:
    """Whether the work goes on. The first failure of any thread ends it for all.

    `guard` is asked at every check, so it has to be quick: whether the lock is still held.
    """

    def __init__(self, cancelled: threading.Event | None = None, guard: Callable[[], None] | None = None) -> None:
        self._cancelled = cancelled
        self._guard = guard
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._ended: list[Callable[[], None]] = []

    def check(self) -> None:
        """Raises the failure, Cancelled, or what the guard raises."""
        if self._failure is not None:
            raise self._failure
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled
        if self._guard is not None:
            self._guard()

    @property
    def has_failed(self) -> bool:
        """Whether it is over."""
        return self._failure is not None

    def fail(self, error: BaseException) -> None:
        """End it; whoever waits is woken."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
            ended, self._ended = self._ended, []
        for wake in ended:
            wake()

    def on_failure(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when it fails, or at once if it has failed."""
        with self._lock:
            if self._failure is None:
                self._ended.append(wake)
                return
        wake()

    def guarded(self) -> _Guarded:
        """What is raised inside ends the work, and is not raised any further: for the body of a thread."""
        return _Guarded(self)


class _Guarded:
    def __init__(self, course: Course) -> None:
        self._course = course

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._course.fail(error)
        return True


class Budget:
    """Bytes that may be in memory at once. Whoever wants more waits; one who wants more than all waits for all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._changed = threading.Condition()

    def take(self, size: int) -> int:
        """Wait until there is room; what was taken is given back, to be returned in the end."""
        size = min(size, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        return size

    def give(self, size: int) -> None:
        """Return what `take` gave."""
        with self._changed:
            self._free += size
            self._changed.notify_all()
