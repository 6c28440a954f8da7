"""Pipelines by revision, built once from their documents."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from opsuite.deployer.v1 import pipeline_pb2
from opsuite_deployer.adapters.pipeline_messages import pipeline_of
from opsuite_deployer.domain.hooks import woven
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
        """The pipeline of a committed revision, built from its document the first time."""
        known = self.known(uid, number)
        if known is None:
            known = built_from(document)
            self.keep({(uid, number): known})
        return known

    def keep(self, built: Mapping[tuple[str, int], Pipeline]) -> None:
        """Remember what was built from revisions that are committed; others could be taken back, and come again."""
        with self._lock:
            for key, pipeline in built.items():
                while len(self._known) >= self._size:
                    del self._known[next(iter(self._known))]
                self._known[key] = pipeline


def built_from(document: bytes) -> Pipeline:
    """The pipeline of a document, its hooks among its stages."""
    return woven(pipeline_of(pipeline_pb2.Pipeline.FromString(document)))
