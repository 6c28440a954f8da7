from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.errors import Malformed
from opsuite_repository.format.compression import compress, decompress
from opsuite_repository.format.unpacked import decode, encode, parse_object


def streamed(content: bytes) -> bytes:
    """A frame whose header does not tell the size, as writers that stream make them."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(content) + compressor.flush()


@given(st.binary(max_size=2000))
def test_a_document_comes_back(document: bytes) -> None:
    plain = encode(document)
    assert plain[0] == 2
    assert decode(plain) == document


@pytest.mark.parametrize("document", [b"{}", b"[1]"])
def test_bare_json_is_read_as_it_is(document: bytes) -> None:
    assert decode(document) == document


@pytest.mark.parametrize("plain", [b"", b"\x01{}", b" {}", b"\x02", b"\x02not a frame"])
def test_anything_else_is_refused(plain: bytes) -> None:
    with pytest.raises(Malformed):
        decode(plain)


@pytest.mark.parametrize("document", [b"", b"[]", b"1", b"{", b'{"a":NaN}', b"\xff"])
def test_only_objects_are_documents(document: bytes) -> None:
    with pytest.raises(Malformed):
        parse_object(document)


@pytest.mark.parametrize("make", [compress, streamed])
def test_frames_of_either_kind_are_unpacked_within_their_limit(make: object) -> None:
    assert callable(make)
    content = b"abc" * 100_000
    frame = make(content)

    assert decompress(frame, at_most=len(content)) == content
    for damaged, limit in ((frame, len(content) - 1), (frame[:-1], len(content)), (frame + b"x", len(content))):
        with pytest.raises(Malformed):
            decompress(damaged, at_most=limit)


def test_a_frame_knows_its_size_and_carries_no_checksum() -> None:
    parameters = zstandard.get_frame_parameters(compress(b"abc" * 1000))
    assert parameters.content_size == 3000
    assert not parameters.has_checksum


def test_levels_do_not_get_mixed_up() -> None:
    content = " ".join(str(number**3) for number in range(5000)).encode()
    fast, small = compress(content, 1), compress(content, 19)
    assert small != fast
    assert (compress(content, 1), compress(content, 19)) == (fast, small)
