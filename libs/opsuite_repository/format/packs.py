"""Pack files: sealed blobs one after the other, then a sealed table of contents, then its length.

Source: restic's design document, "Pack Format", and internal/repository/pack/pack.go. The length is four bytes, little
endian, and counts the sealed header. An entry of the header is a type byte (0 data, 1 tree, 2 compressed data, 3
compressed tree), the stored length, for compressed ones the plain length, and the id; entries stand in the order of the
blobs, whose offsets are the sums of the lengths before. In version 2 a pack holds either data or trees.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import BlobId, BlobType, PackId, SealedBlob
from opsuite_repository.format.sealing import OVERHEAD_BYTES, Buffer, Sealer

TRAILER_BYTES: Final = 4
DEFAULT_PACK_BYTES: Final = 16 << 20
SMALLEST_PACK_BYTES: Final = 4 << 20
LARGEST_PACK_BYTES: Final = 128 << 20
LARGEST_HEADER_BYTES: Final = 16 << 20

_PLAIN: Final = struct.Struct("<BI32s")
_COMPRESSED: Final = struct.Struct("<BII32s")
_LENGTH: Final = struct.Struct("<I")
_CODES: Final = {BlobType.DATA: 0, BlobType.TREE: 1}
_COMPRESSED_BIT: Final = 2
_TYPES: Final = (BlobType.DATA, BlobType.TREE)


class PackEntry(NamedTuple):
    """Where one blob lies inside its pack."""

    type: BlobType
    id: BlobId
    offset: int
    length: int
    """Of the stored form."""
    uncompressed_length: int
    """Of the content; 0 when it is stored uncompressed."""


class Pack(NamedTuple):
    """A finished pack file."""

    id: PackId
    data: bytearray
    entries: list[PackEntry]


class PackBuilder:
    """Collects blobs into one pack. Not for two threads at once; used up by `finish`."""

    def __init__(self, sealer: Sealer, target_bytes: int = DEFAULT_PACK_BYTES) -> None:
        self._sealer = sealer
        self._target_bytes = target_bytes
        self._data = bytearray()
        self._hash = sha256()
        self._entries: list[PackEntry] = []

    @property
    def size_bytes(self) -> int:
        """How much was added so far, without the header to come."""
        return len(self._data)

    @property
    def is_full(self) -> bool:
        """Whether it is time to finish: the target size is reached, or the header would grow too large."""
        return len(self._data) >= self._target_bytes or len(self._entries) >= _MOST_ENTRIES

    def add(self, blob: SealedBlob) -> PackEntry:
        """Append `blob`; the hash of the pack grows along, so that finishing is quick."""
        if self._entries and self._entries[0].type is not blob.type:
            raise ValueError("a pack holds either data or trees")
        entry = PackEntry(blob.type, blob.id, len(self._data), len(blob.stored), blob.uncompressed_length)
        self._append(blob.stored)
        self._entries.append(entry)
        return entry

    def absorb(self, other: PackBuilder) -> bool:
        """Append all of another pack of the same type, if that fits into one; whether it did."""
        if self.size_bytes + other.size_bytes > self._target_bytes:
            return False
        offset = self.size_bytes
        self._entries += [entry._replace(offset=entry.offset + offset) for entry in other._entries]
        self._append(other._data)
        return True

    def finish(self) -> Pack:
        """The pack file with its header, and its name."""
        if not self._entries:
            raise ValueError("an empty pack is of no use")
        header = self._sealer.seal(encode_header(self._entries))
        self._append(header + _LENGTH.pack(len(header)))
        return Pack(self._hash.digest(), self._data, self._entries)

    def _append(self, data: Buffer) -> None:
        self._data += data
        self._hash.update(data)


_MOST_ENTRIES: Final = (LARGEST_HEADER_BYTES - OVERHEAD_BYTES) // _COMPRESSED.size


def encode_header(entries: Iterable[PackEntry]) -> bytes:
    """The plain table of contents."""
    return b"".join(_encode_entry(entry) for entry in entries)


def _encode_entry(entry: PackEntry) -> bytes:
    code = _CODES[entry.type]
    if entry.uncompressed_length:
        return _COMPRESSED.pack(code | _COMPRESSED_BIT, entry.length, entry.uncompressed_length, entry.id)
    return _PLAIN.pack(code, entry.length, entry.id)


def pack_bytes(entries: Iterable[PackEntry]) -> int:
    """How long the pack file of these blobs is."""
    return OVERHEAD_BYTES + TRAILER_BYTES + sum(map(bytes_in_pack, entries))


def bytes_in_pack(entry: PackEntry) -> int:
    """How much of a pack file one blob takes, its line in the header included."""
    return entry.length + (_COMPRESSED.size if entry.uncompressed_length else _PLAIN.size)


def header_length(trailer: Buffer, pack_bytes: int) -> int:
    """How long the sealed header is, read from the last TRAILER_BYTES of a pack of that size. Raises Malformed."""
    if len(trailer) != TRAILER_BYTES:
        raise Malformed("the pack is too short to have a header")
    (length,) = _LENGTH.unpack(trailer)
    smallest = OVERHEAD_BYTES + _PLAIN.size
    if not smallest <= length <= min(LARGEST_HEADER_BYTES, pack_bytes - TRAILER_BYTES):
        raise Malformed(f"a header of {length} bytes cannot be in a pack of {pack_bytes}")
    return int(length)


def open_header(sealer: Sealer, sealed: Buffer, pack_bytes: int) -> list[PackEntry]:
    """The entries in a sealed header. Raises Malformed unless they cover the pack exactly."""
    entries = list(_decode_entries(sealer.open(sealed)))
    covered = sum(entry.length for entry in entries) + len(sealed) + TRAILER_BYTES
    if covered != pack_bytes:
        raise Malformed(f"the header accounts for {covered} of {pack_bytes} bytes")
    return entries


def entries_of(sealer: Sealer, pack: Buffer) -> list[PackEntry]:
    """The entries of a whole pack in memory. Raises Malformed."""
    view = memoryview(pack)
    length = header_length(view[-TRAILER_BYTES:], len(view))
    return open_header(sealer, view[-TRAILER_BYTES - length : -TRAILER_BYTES], len(view))


def _decode_entries(header: bytes) -> Iterator[PackEntry]:
    at = offset = 0
    while at < len(header):
        code = header[at]
        if code > 3:
            raise Malformed(f"the header knows a blob of the type {code}")
        form = _COMPRESSED if code & _COMPRESSED_BIT else _PLAIN
        if at + form.size > len(header):
            raise Malformed("the header ends within an entry")
        fields = form.unpack_from(header, at)
        uncompressed = fields[2] if code & _COMPRESSED_BIT else 0
        if fields[1] < OVERHEAD_BYTES:
            raise Malformed("the header has a blob that is too short to be sealed")
        yield PackEntry(_TYPES[code & 1], fields[-1], offset, fields[1], uncompressed)
        at += form.size
        offset += fields[1]
