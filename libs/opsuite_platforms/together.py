"""One piece of work for all who ask for it at the same time: what costs the same for one as for a hundred."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

LONGEST_REST_SECONDS = 0.2

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class Together(Generic[Asked, Told]):
    """Answers in a thread of its own, as many at once as have asked since it last began.

    Who asks while others are being answered is answered next: no answer is older than its question. Between two rounds
    it rests for as long as the last one took: whoever does the work has as much time for others, and more ask at once.
    """

    def __init__(self, answer: Callable[[Sequence[Asked]], Sequence[Told | Exception]]) -> None:
        """`answer` gets the questions in the order they came, and returns as many answers; it may block."""
        self._answer = answer
        self._thread = ThreadPoolExecutor(1, "together")
        self._guard = threading.Lock()
        self._waiting: list[tuple[Asked, Future[Told]]] = []
        self._rests_until = time.monotonic()

    def ask(self, asked: Asked) -> Future[Told]:
        """The answer to come; an exception that is the answer, or that answering raised, is raised by its `result`."""
        future = Future[Told]()
        with self._guard:
            self._waiting.append((asked, future))
            if len(self._waiting) == 1:  # else all who wait are answered by the round that the first one asked for
                self._thread.submit(self._answer_all)
        return future

    def close(self) -> None:
        """Let the thread end when it has answered."""
        self._thread.shutdown(wait=False)

    def _answer_all(self) -> None:
        time.sleep(max(0.0, self._rests_until - time.monotonic()))
        with self._guard:
            waiting, self._waiting = self._waiting, []
        began = time.monotonic()
        waiting = [one for one in waiting if one[1].set_running_or_notify_cancel()]
        answers: Sequence[Told | Exception]
        try:
            answers = self._answer([asked for asked, _ in waiting])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who asked have to know
            answers = [error] * len(waiting)
        ended = time.monotonic()
        self._rests_until = ended + min(ended - began, LONGEST_REST_SECONDS)
        for (_, future), answer in zip(waiting, answers, strict=True):
            future.set_exception(answer) if isinstance(answer, Exception) else future.set_result(answer)
