"""Where every blob of a repository is, in memory: 55 to 70 bytes a blob, so that ten million fit in 700 MB.

Python objects would take three times as much. Instead ids stand one after the other in a byte array, numbers in typed
arrays, and a table with open addressing (linear probing, at most two thirds full) leads from an id to its row. Ids are
SHA-256, hence their first bytes serve as the hash. Nothing is ever taken out: what shrinks an index makes a new one.
"""

from __future__ import annotations

import threading
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from sys import getsizeof
from typing import Final, NamedTuple

from opsuite_repository.format.blobs import ID_BYTES, BlobId, BlobType, PackId
from opsuite_repository.format.index import IndexedPack
from opsuite_repository.format.packs import PackEntry

_HASHED_BYTES: Final = 8
_FIRST_SLOTS: Final = 1024


class Location(NamedTuple):
    """Where a blob can be read."""

    pack: PackId
    offset: int
    length: int
    """Of the stored form."""
    uncompressed_length: int
    """Of the content; 0 when it is stored uncompressed."""


class BlobIndex:
    """Finds blobs, for any number of threads at once."""

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._packs = _Ids()
        self._blobs = {kind: _Blobs() for kind in BlobType}
        self.retired: BlobIndex | None = None
        """Packs that a prune will remove: blobs may be read from them still, but count as not being there."""

    @classmethod
    def of(cls, packs: Iterable[IndexedPack]) -> BlobIndex:
        """An index of these packs. One that is marked as unused in every place where it stands is retired."""
        index, retired = cls(), cls()
        marked: list[IndexedPack] = []
        for pack in packs:
            if pack.unused_since is None:
                index.add(pack)
            else:
                marked.append(pack)
        for pack in marked:
            if not index.has_pack(pack.id):
                retired.add(pack)
                index.retired = retired
        return index

    def add(self, pack: IndexedPack) -> None:
        """Make the blobs of a pack known. Repeating it is fine; so are blobs that are in another pack already."""
        with self._writing:
            number = self._packs.row(pack.id)
            if number is None:
                number = self._packs.append(pack.id)
            for entry in pack.entries:
                self._blobs[entry.type].add(entry, number)

    def find(self, kind: BlobType, id_: BlobId) -> Location | None:
        """Where to read the blob: the first place that became known."""
        blobs = self._blobs[kind]
        row = blobs.ids.row(id_)
        if row is None:
            return self.retired.find(kind, id_) if self.retired else None
        return self._location(blobs, row)

    def find_all(self, kind: BlobType, id_: BlobId) -> list[Location]:
        """Every place where the blob is, in case the first one is damaged."""
        blobs = self._blobs[kind]
        row, retired = blobs.ids.row(id_), self.retired.find_all(kind, id_) if self.retired else []
        if row is None:
            return retired
        return [*(self._location(blobs, each) for each in (row, *blobs.copies.get(id_, ()))), *retired]

    def has(self, kind: BlobType, id_: BlobId) -> bool:
        """Whether the blob is in a known pack."""
        return self._blobs[kind].ids.row(id_) is not None

    def count(self, kind: BlobType) -> int:
        """How many different blobs are known."""
        return self._blobs[kind].ids.distinct

    def number(self, kind: BlobType, id_: BlobId) -> int | None:
        """A number of the blob that stays the same: for sets of blobs that take a byte each (see `numbers`)."""
        return self._blobs[kind].ids.row(id_)

    def numbers(self, kind: BlobType) -> int:
        """All numbers of blobs are below this one."""
        return len(self._blobs[kind].ids)

    def copies(self, kind: BlobType) -> Iterator[BlobId]:
        """The blobs that are in more than one place."""
        return iter(self._blobs[kind].copies)

    def has_pack(self, id_: PackId) -> bool:
        """Whether the pack is known."""
        return self._packs.row(id_) is not None

    @property
    def memory_bytes(self) -> int:
        """About how much memory the index takes, growth to come included."""
        return self._packs.memory_bytes + sum(blobs.memory_bytes for blobs in self._blobs.values())

    def packs(self) -> Iterator[PackId]:
        """Every pack, in the order in which they became known."""
        return iter(self._packs)

    def entries(self) -> Iterator[tuple[PackId, PackEntry]]:
        """Every blob at every place."""
        for kind, blobs in self._blobs.items():
            for row, id_ in enumerate(blobs.ids):
                place = self._location(blobs, row)
                yield place.pack, PackEntry(kind, id_, place.offset, place.length, place.uncompressed_length)

    def by_pack(self) -> dict[PackId, list[PackEntry]]:
        """The blobs of each pack by offset. Takes the memory that the index itself avoids: for small repositories."""
        packs: defaultdict[PackId, list[PackEntry]] = defaultdict(list)
        for pack, entry in self.entries():
            packs[pack].append(entry)
        return {pack: sorted(entries, key=lambda entry: entry.offset) for pack, entries in packs.items()}

    def _location(self, blobs: _Blobs, row: int) -> Location:
        return Location(
            self._packs[blobs.pack[row]], blobs.offset[row], blobs.length[row], blobs.uncompressed_length[row]
        )


class _Ids:
    """Ids by row, and the row of an id. Readers need no lock: rows appear before what leads to them."""

    def __init__(self) -> None:
        self._ids = bytearray()
        self._slots = array("I", bytes(4 * _FIRST_SLOTS))  # row + 1; 0 is empty
        self.distinct = 0

    def __len__(self) -> int:
        return len(self._ids) // ID_BYTES

    def __getitem__(self, row: int) -> bytes:
        return bytes(self._ids[row * ID_BYTES : (row + 1) * ID_BYTES])

    def __iter__(self) -> Iterator[bytes]:
        return (self[row] for row in range(len(self)))

    @property
    def memory_bytes(self) -> int:
        return getsizeof(self._ids) + getsizeof(self._slots)

    def row(self, id_: bytes) -> int | None:
        """The first row with that id."""
        slots, ids = self._slots, self._ids
        mask = len(slots) - 1
        slot = int.from_bytes(id_[:_HASHED_BYTES], "little") & mask
        while row := slots[slot]:
            if ids[row * ID_BYTES - ID_BYTES : row * ID_BYTES] == id_:
                return row - 1
            slot = (slot + 1) & mask
        return None

    def append(self, id_: bytes, *, findable: bool = True) -> int:
        """A new row; one that is not findable is a further copy of an id that is there."""
        row = len(self)
        self._ids += id_
        if findable:
            if 3 * self.distinct >= 2 * len(self._slots):
                self._slots = self._grown()
            _insert(self._slots, id_, row)
            self.distinct += 1
        return row

    def _grown(self) -> array[int]:
        slots = array("I", bytes(8 * len(self._slots)))
        for occupied in filter(None, self._slots):
            _insert(slots, self[occupied - 1], occupied - 1)
        return slots


def _insert(slots: array[int], id_: bytes, row: int) -> None:
    mask = len(slots) - 1
    slot = int.from_bytes(id_[:_HASHED_BYTES], "little") & mask
    while slots[slot]:
        slot = (slot + 1) & mask
    slots[slot] = row + 1


class _Blobs:
    """The blobs of one type, a row each."""

    def __init__(self) -> None:
        self.ids = _Ids()
        self.pack = array("I")
        self.offset = array("I")
        self.length = array("I")
        self.uncompressed_length = array("I")
        self.copies: dict[BlobId, list[int]] = {}
        """Further rows of the same id; few, since prune removes them."""

    @property
    def memory_bytes(self) -> int:
        numbers = (self.pack, self.offset, self.length, self.uncompressed_length)
        return self.ids.memory_bytes + sum(map(getsizeof, numbers)) + getsizeof(self.copies)

    def add(self, entry: PackEntry, pack: int) -> None:
        first = self.ids.row(entry.id)
        if first is not None:
            known = (first, *self.copies.get(entry.id, ()))
            if any(self.pack[row] == pack and self.offset[row] == entry.offset for row in known):
                return
            self.copies.setdefault(entry.id, []).append(len(self.ids))
        self.pack.append(pack)
        self.offset.append(entry.offset)
        self.length.append(entry.length)
        self.uncompressed_length.append(entry.uncompressed_length)
        self.ids.append(entry.id, findable=first is None)
