from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import BlobType, SealedBlob, open_blob, seal_blob
from opsuite_repository.format.packs import Pack, PackBuilder, entries_of, header_length, open_header
from opsuite_repository.format.sealing import MasterKey, Sealer

SEALER = Sealer(MasterKey.random())
TEXT = b"all work and no play " * 50


def a_pack(*contents: bytes, kind: BlobType = BlobType.DATA, level: int | None = 3) -> Pack:
    builder = PackBuilder(SEALER)
    for content in contents:
        builder.add(seal_blob(SEALER, kind, content, level=level))
    return builder.finish()


def contents_of(pack: bytearray) -> list[bytes]:
    return [
        open_blob(SEALER, entry.id, pack[entry.offset : entry.offset + entry.length], entry.uncompressed_length)
        for entry in entries_of(SEALER, pack)
    ]


@given(st.lists(st.binary(min_size=1, max_size=200) | st.just(TEXT), min_size=1), st.sampled_from(BlobType))
def test_every_blob_of_a_pack_comes_back(contents: list[bytes], kind: BlobType) -> None:
    pack = a_pack(*contents, kind=kind)

    assert sha256(pack.data).digest() == pack.id
    assert entries_of(SEALER, pack.data) == pack.entries
    assert contents_of(pack.data) == contents


def test_the_bytes_are_what_the_design_says() -> None:
    pack = a_pack(TEXT, b"x")
    (length,) = struct.unpack("<I", pack.data[-4:])
    header = SEALER.open(pack.data[-4 - length : -4])

    compressed, bare = pack.entries
    assert header == (
        struct.pack("<BII", 2, compressed.length, len(TEXT)) + sha256(TEXT).digest()
        + struct.pack("<BI", 0, 33) + sha256(b"x").digest()
    )  # fmt: skip
    assert (compressed.offset, bare.offset, bare.uncompressed_length) == (0, compressed.length, 0)
    assert a_pack(TEXT, kind=BlobType.TREE).entries[0].type is BlobType.TREE


def test_without_compression_everything_is_stored_as_it_is() -> None:
    assert a_pack(TEXT, level=None).entries[0].uncompressed_length == 0


def test_every_flipped_byte_of_a_pack_is_noticed() -> None:
    pack = a_pack(TEXT, b"x" * 30)
    for at in range(len(pack.data)):
        damaged = bytearray(pack.data)
        damaged[at] ^= 0x10
        with pytest.raises(Malformed):
            contents_of(damaged)


def test_a_pack_that_lost_a_byte_has_no_header() -> None:
    pack = a_pack(TEXT)
    for shorter in (pack.data[1:], pack.data[:-1], pack.data[:3], b""):
        with pytest.raises(Malformed):
            entries_of(SEALER, shorter)


@pytest.mark.parametrize(
    "header",
    [b"\4" + bytes(36), b"\0" + bytes(30), struct.pack("<BI32s", 0, 3, b"i" * 32), struct.pack("<BI32s", 0, 99, b"")],
    ids=["type", "cut", "short blob", "other size"],
)
def test_a_header_that_says_nonsense_is_refused_although_it_is_ours(header: bytes) -> None:
    with pytest.raises(Malformed):
        open_header(SEALER, SEALER.seal(header), 1000)


@pytest.mark.parametrize("length", [0, 68, 996 + 1, 0xFFFFFFFF])
def test_a_header_length_that_cannot_be_is_refused(length: int) -> None:
    with pytest.raises(Malformed):
        header_length(struct.pack("<I", length), 1000)


def test_data_and_trees_do_not_share_a_pack() -> None:
    builder = PackBuilder(SEALER)
    builder.add(seal_blob(SEALER, BlobType.DATA, b"x"))
    with pytest.raises(ValueError, match="either"):
        builder.add(seal_blob(SEALER, BlobType.TREE, b"y"))


def test_a_pack_is_full_at_its_target() -> None:
    builder = PackBuilder(SEALER, target_bytes=100)
    builder.add(SealedBlob(BlobType.DATA, b"i" * 32, b"s" * 99, 0))
    assert not builder.is_full
    builder.add(SealedBlob(BlobType.DATA, b"j" * 32, b"s" * 33, 0))
    assert builder.is_full
    assert builder.size_bytes == 132


def test_nothing_becomes_neither_a_pack_nor_a_blob() -> None:
    with pytest.raises(ValueError, match="empty"):
        PackBuilder(SEALER).finish()
    with pytest.raises(ValueError, match="empty"):
        seal_blob(SEALER, BlobType.DATA, b"")


def test_a_blob_under_the_name_of_another_is_refused() -> None:
    blob = seal_blob(SEALER, BlobType.DATA, TEXT)
    with pytest.raises(Malformed):
        open_blob(SEALER, b"i" * 32, blob.stored, blob.uncompressed_length)
    with pytest.raises(Malformed):
        seal_blob(SEALER, BlobType.DATA, TEXT, id_=b"i" * 32)
    assert seal_blob(SEALER, BlobType.DATA, TEXT, id_=b"i" * 32, verify=False).id == b"i" * 32


def test_a_blob_longer_than_its_entry_says_is_refused() -> None:
    blob = seal_blob(SEALER, BlobType.DATA, TEXT)
    with pytest.raises(Malformed):
        open_blob(SEALER, blob.id, blob.stored, len(TEXT) - 1)
