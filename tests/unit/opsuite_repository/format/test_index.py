from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blob_index import BlobIndex, Location
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.format.index import IndexedPack, decode_index, encode_index
from opsuite_repository.format.packs import PackEntry
from opsuite_repository.format.times import Instant

# Few ids, and all with the same first bytes: every insertion meets others in the table.
IDS = st.integers(0, 40).map(lambda number: bytes(31) + bytes((number,)))
NUMBERS = st.integers(0, 2**32 - 1)
ENTRIES = st.builds(PackEntry, st.sampled_from(BlobType), IDS, NUMBERS, st.integers(1, 2**32 - 1), NUMBERS)
MARKS = st.none() | st.integers(0, 2**62).map(Instant)
PACKS = st.lists(st.builds(IndexedPack, IDS, st.lists(ENTRIES), MARKS))


@given(PACKS)
def test_every_index_comes_back(packs: list[IndexedPack]) -> None:
    assert list(decode_index(encode_index(packs))) == packs


def test_the_document_is_what_restic_writes() -> None:
    pack = IndexedPack(
        b"p" * 32,
        [PackEntry(BlobType.DATA, b"a" * 32, 0, 50, 0), PackEntry(BlobType.TREE, b"b" * 32, 50, 60, 400)],
    )
    assert (
        encode_index([pack])
        == (
            f'{{"packs":[{{"id":"{"70" * 32}","blobs":[{{"id":"{"61" * 32}","type":"data","offset":0,"length":50}},'
            f'{{"id":"{"62" * 32}","type":"tree","offset":50,"length":60,"uncompressed_length":400}}]}}]}}\n'
        ).encode()
    )


@pytest.mark.parametrize(
    "changed",
    [{"id": "ab"}, {"id": 5}, {"type": "other"}, {"offset": -1}, {"offset": 1 << 32}, {"length": 0}, {"length": "5"},
     {"uncompressed_length": None}],
    ids=str,
)  # fmt: skip
def test_a_wrong_entry_is_refused(changed: dict[str, Any]) -> None:
    blob = {"id": "ab" * 32, "type": "data", "offset": 0, "length": 50, **changed}
    with pytest.raises(Malformed):
        list(decode_index(json.dumps({"packs": [{"id": "cd" * 32, "blobs": [blob]}]}).encode()))


@pytest.mark.parametrize("document", [b"{}", b'{"packs":{}}', b'{"packs":[1]}', b'{"packs":[{"id":"ab"}]}'])
def test_what_is_no_index_is_refused(document: bytes) -> None:
    with pytest.raises(Malformed):
        list(decode_index(document))


@given(PACKS)
def test_the_index_in_memory_finds_what_a_dictionary_would(packs: list[IndexedPack]) -> None:
    index = BlobIndex()
    expected: dict[tuple[BlobType, bytes], list[Location]] = {}
    for pack in packs:
        index.add(pack)
        for entry in pack.entries:
            places = expected.setdefault((entry.type, entry.id), [])
            if all((place.pack, place.offset) != (pack.id, entry.offset) for place in places):
                places.append(Location(pack.id, entry.offset, entry.length, entry.uncompressed_length))

    for kind in BlobType:
        for number in range(41):
            id_ = bytes(31) + bytes((number,))
            places = expected.get((kind, id_), [])
            assert index.find_all(kind, id_) == places
            assert index.find(kind, id_) == (places[0] if places else None)
            assert index.has(kind, id_) == bool(places)
    assert list(index.packs()) == list(dict.fromkeys(pack.id for pack in packs))
    assert sum(1 for _ in index.entries()) == sum(map(len, expected.values()))
    assert {kind: index.count(kind) for kind in BlobType} == {
        kind: sum(1 for known, _ in expected if known is kind) for kind in BlobType
    }


def test_the_index_grows_without_losing_anything() -> None:
    index, ids = BlobIndex(), [number.to_bytes(8, "little") * 4 for number in range(3000)]
    for at, id_ in enumerate(ids):
        index.add(IndexedPack(b"p" * 32, [PackEntry(BlobType.DATA, id_, at, 1, 0)]))

    found = [index.find(BlobType.DATA, id_) for id_ in ids]

    assert [place.offset for place in found if place] == list(range(3000))
    assert index.by_pack() == {b"p" * 32: [entry for _, entry in index.entries()]}


def test_a_blob_takes_few_bytes_of_memory() -> None:
    # Tables double, so that the worst moment is just after they did: 32 + 16 + 4 * 3, and what arrays keep spare.
    index, count = BlobIndex(), 45_000
    for pack in range(count // 15):
        ids = [(15 * pack + at).to_bytes(8, "little") * 4 for at in range(15)]
        entries = [PackEntry(BlobType.DATA, id_, at, 1, 0) for at, id_ in enumerate(ids)]
        index.add(IndexedPack(pack.to_bytes(32, "little"), entries))

    assert 48 < index.memory_bytes / count < 70


def test_blobs_of_retired_packs_can_be_read_but_are_not_relied_upon() -> None:
    entry, both = PackEntry(BlobType.DATA, b"e" * 32, 0, 50, 0), PackEntry(BlobType.DATA, b"b" * 32, 50, 60, 0)
    index = BlobIndex.of(
        [
            IndexedPack(b"r" * 32, [entry, both], Instant(1)),
            IndexedPack(b"k" * 32, [both], Instant(1)),
            IndexedPack(b"k" * 32, [both]),  # one place that does not say so is enough
        ]
    )
    assert index.find(BlobType.DATA, entry.id) == Location(b"r" * 32, 0, 50, 0)
    assert [place.pack for place in index.find_all(BlobType.DATA, both.id)] == [b"k" * 32, b"r" * 32]
    assert not index.has(BlobType.DATA, entry.id)
    assert index.has(BlobType.DATA, both.id)
    assert (index.has_pack(b"k" * 32), index.has_pack(b"r" * 32)) == (True, False)
