"""Index files: which packs exist and which blobs are where in them.

Source: restic's design document, "Indexing", and internal/repository/index/index.go. An index is written after 50,000
blobs or ten minutes. The same pack may stand in several index files, and the same blob in several packs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import ID_BYTES, BlobType, PackId
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.format.sealing import Buffer
from opsuite_repository.format.times import Instant, format_instant, parse_instant
from opsuite_repository.format.unpacked import parse_object

MOST_BLOBS: Final = 50_000
"""After so many an index file is written."""
_LARGEST: Final = (1 << 32) - 1


class IndexedPack(NamedTuple):
    """One pack of an index file."""

    id: PackId
    entries: Sequence[PackEntry]
    unused_since: Instant | None = None
    """When a prune found that nobody refers to it: nobody shall from then on. restic passes over this field."""


def encode_index(packs: Iterable[IndexedPack]) -> bytes:
    """The JSON document of an index file."""
    return ('{"packs":[' + ",".join(map(_encode_pack, packs)) + "]}\n").encode()


def _encode_pack(pack: IndexedPack) -> str:
    blobs = ",".join(map(_encode_entry, pack.entries))
    mark = f',"unused_since":"{format_instant(pack.unused_since)}"' if pack.unused_since else ""
    return f'{{"id":"{pack.id.hex()}","blobs":[{blobs}]{mark}}}'


def _encode_entry(entry: PackEntry) -> str:
    length = f',"uncompressed_length":{entry.uncompressed_length}' if entry.uncompressed_length else ""
    place = f'"offset":{entry.offset},"length":{entry.length}{length}'
    return f'{{"id":"{entry.id.hex()}","type":"{entry.type.value}",{place}}}'


def decode_index(document: Buffer) -> Iterator[IndexedPack]:
    """The packs of an index file, one after the other. Raises Malformed, perhaps after some were given."""
    packs = parse_object(document).get("packs")
    if not isinstance(packs, list):
        raise Malformed("the index has no list of packs")
    for pack in packs:
        try:
            since = parse_instant(pack["unused_since"]) if "unused_since" in pack else None
            yield IndexedPack(_id(pack["id"]), [_decode_entry(blob) for blob in pack["blobs"] or ()], since)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Malformed(f"a pack of the index cannot be read: {type(error).__name__} {error}") from error


_TYPES: Final = {kind.value: kind for kind in BlobType}


def _decode_entry(raw: Mapping[str, Any]) -> PackEntry:
    offset, length, uncompressed = raw["offset"], raw["length"], raw.get("uncompressed_length", 0)
    if not (0 <= offset <= _LARGEST and 0 < length <= _LARGEST and 0 <= uncompressed <= _LARGEST):
        raise Malformed("a position in a pack is out of range")
    return PackEntry(_TYPES[raw["type"]], _id(raw["id"]), offset, length, uncompressed)


def _id(text: str) -> bytes:
    id_ = bytes.fromhex(text)
    if len(id_) != ID_BYTES:
        raise Malformed(f"{text!r} is not the name of a blob or pack")
    return id_
