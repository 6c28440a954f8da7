"""Packs of trees that are kept while somebody walks a snapshot on a storage far away.

Trees of one backup lie together in few packs, and whoever walks asks for one after the other: from a bucket, a request
for each of ten thousand folders takes minutes. From the fourth tree on the whole pack is read instead, once.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Final

from opsuite_repository.errors import Damaged
from opsuite_repository.format.blob_index import Location
from opsuite_repository.format.blobs import PackId
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.storage.port import FileType, Storage

WORTH_WHOLE: Final = 4
"""So many reads of one pack come before all of it is read."""
MOST_KEPT_BYTES: Final = 64 << 20


class TreePacks:
    """Reads stored trees. For any number of threads at once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._asked: Counter[PackId] = Counter()
        self._kept: OrderedDict[PackId, bytes] = OrderedDict()

    def read(self, place: Location) -> Buffer:
        """The stored bytes of a tree. Raises what the storage raises."""
        with self._lock:
            if place.pack in self._kept:
                self._kept.move_to_end(place.pack)
                return memoryview(self._kept[place.pack])[place.offset : place.offset + place.length]
            self._asked[place.pack] += 1
            is_worth_it = self._asked[place.pack] == WORTH_WHOLE
        if is_worth_it:
            self._keep(place.pack)
        return self._storage.read(FileType.DATA, place.pack.hex(), place.offset, place.length)

    def _keep(self, pack: PackId) -> None:
        """Read a pack for those who come next. A damaged one is not kept: perhaps this tree is not what is damaged."""
        try:
            whole = self._storage.read(FileType.DATA, pack.hex())
        except Damaged:
            return
        with self._lock:
            self._kept[pack] = whole
            while sum(map(len, self._kept.values())) > MOST_KEPT_BYTES:
                self._kept.popitem(last=False)
