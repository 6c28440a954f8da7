"""Pipelines by revision, built once from their documents."""

from __future__ import annotations

import threading

from opsuite.deployer.v1 import pipeline_pb2
from opsuite_deployer.adapters.pipeline_messages import pipeline_of
from opsuite_deployer.domain.pipeline import Pipeline


class RevisionCache:
    """Pipelines by revision. A revision never changes, so what was read once is right for ever."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._known: dict[tuple[str, int], Pipeline] = {}
        self._lock = threading.Lock()  # the database's threads share it

    def known(self, uid: str, number: int) -> Pipeline | None:
        """The pipeline of a revision, if it was built already."""
        return self._known.get((uid, number))

    def pipeline(self, uid: str, number: int, document: bytes) -> Pipeline:
        """The pipeline of a revision, built from its document the first time."""
        known = self.known(uid, number)
        if known is None:
            known = pipeline_of(pipeline_pb2.Pipeline.FromString(document))
            with self._lock:
                while len(self._known) >= self._size:
                    del self._known[next(iter(self._known))]
                self._known[uid, number] = known
        return known
