from __future__ import annotations

import random
from itertools import accumulate, pairwise

import pytest

from opsuite_repository.format import chunking
from opsuite_repository.format.chunking import LARGEST_CHUNK_BYTES, SMALLEST_CHUNK_BYTES, Chunker, seed_of
from opsuite_repository.format.sealing import MasterKey

KEY = MasterKey(encrypt=bytes(range(32)), mac_k=bytes(range(40, 56)), mac_r=bytes(range(200, 216)))
DATA = random.Random(1).randbytes(12 << 20)
PINNED_SEED = 0xCEB1436F8FE0F4B
PINNED_LENGTHS = [988229, 967093, 1003545, 1459871, 1252549, 1114006, 1621399, 2210460, 1084414, 881346]


def in_pieces(chunker: Chunker, pieces: list[bytes]) -> list[int]:
    lengths: list[int] = []
    buffer = b""
    for at, piece in enumerate(pieces, 1):
        buffer += piece
        cut = chunker.cut(buffer, final=at == len(pieces))
        lengths += cut
        buffer = buffer[sum(cut) :]
    assert not buffer
    return lengths


def test_the_cuts_of_a_repository_are_pinned_for_ever() -> None:
    # If this fails, every repository would store its large files once more.
    assert seed_of(KEY) == PINNED_SEED
    assert Chunker(seed_of(KEY)).cut(DATA, final=True) == PINNED_LENGTHS


def test_the_compiled_seeded_chunker_is_installed() -> None:
    assert Chunker(1).is_seeded


@pytest.mark.parametrize("choice", range(8))
def test_cuts_do_not_depend_on_how_the_content_arrives(choice: int) -> None:
    chance = random.Random(choice)
    ends = sorted({0, len(DATA), *(chance.randrange(len(DATA)) for _ in range(6))})
    pieces = [DATA[start:end] for start, end in pairwise(ends)]

    assert in_pieces(Chunker(7), pieces) == Chunker(7).cut(DATA, final=True)


def test_an_insertion_moves_only_the_cuts_near_it() -> None:
    before = set(accumulate(Chunker(7).cut(DATA, final=True)))
    after = set(accumulate(Chunker(7).cut(DATA[:100] + b"inserted" + DATA[100:], final=True)))

    assert len({end - len(b"inserted") for end in after} & before) >= len(before) - 2


def test_every_seed_that_can_come_out_can_be_used() -> None:
    seeds = {seed_of(MasterKey.random()) for _ in range(20)}
    assert len(seeds) == 20
    for seed in {1, (1 << 63) - 1} | seeds:
        assert Chunker(seed).cut(b"x", final=True) == [1]


def test_another_repository_cuts_elsewhere() -> None:
    ends = [set(accumulate(Chunker(seed_of(MasterKey.random())).cut(DATA, final=True))) for _ in range(2)]
    assert ends[0] & ends[1] == {len(DATA)}


@pytest.mark.parametrize("content", [bytes(20 << 20), DATA])
def test_no_chunk_is_larger_or_smaller_than_restic_allows(content: bytes) -> None:
    *full, last = Chunker(7).cut(content, final=True)
    assert all(SMALLEST_CHUNK_BYTES <= length <= LARGEST_CHUNK_BYTES for length in full)
    assert last <= LARGEST_CHUNK_BYTES


@pytest.mark.parametrize(("size", "final", "lengths"), [(0, True, []), (0, False, []), (1, True, [1]), (1, False, [])])
def test_the_end_of_a_buffer_is_a_cut_only_at_the_end_of_content(size: int, final: bool, lengths: list[int]) -> None:
    assert Chunker(7).cut(bytes(size), final=final) == lengths


def test_the_largest_chunk_needs_no_more_content() -> None:
    assert Chunker(7).cut(bytes(LARGEST_CHUNK_BYTES), final=False) == [LARGEST_CHUNK_BYTES]


def test_without_pyfastcdc_the_other_chunker_cuts_the_same_way_however_content_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chunking, "_seeded", lambda seed: None)
    chunker = Chunker(7)

    assert not chunker.is_seeded
    assert in_pieces(chunker, [DATA[:5_000_000], DATA[5_000_000:]]) == chunker.cut(DATA, final=True)
