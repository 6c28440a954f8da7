from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.format.blob_index import Location
from opsuite_repository.pipeline.fetching import GAP_BYTES, RUN_BYTES, Wanted, runs


def wanted(pack: int, offset: int, length: int) -> Wanted:
    return Wanted(bytes((pack,)) + offset.to_bytes(8, "big"), Location(bytes((pack,)), offset, length, 0))


def places(run: list[Wanted]) -> list[tuple[int, int]]:
    return [(each.place.pack[0], each.place.offset) for each in run]


def test_neighbours_in_a_pack_are_read_at_once_and_in_order() -> None:
    found = list(runs([wanted(1, 200, 100), wanted(2, 0, 5), wanted(1, 0, 100), wanted(1, 100 + GAP_BYTES * 9, 1)]))

    assert [places(run) for run in found] == [[(1, 0), (1, 200)], [(1, 100 + GAP_BYTES * 9)], [(2, 0)]]


def test_a_blob_larger_than_a_read_is_read_alone() -> None:
    found = list(runs([wanted(1, 0, 10), wanted(1, 10, RUN_BYTES + 1), wanted(1, RUN_BYTES + 11, 10)]))

    assert [len(run) for run in found] == [1, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(1, 2 << 20)), max_size=60))
def test_every_blob_is_in_one_run_and_no_run_is_too_long(drawn: list[tuple[int, int, int]]) -> None:
    blobs = [wanted(pack, at * GAP_BYTES, length) for pack, at, length in drawn]

    found = list(runs(blobs))

    assert sorted(id(each) for run in found for each in run) == sorted(map(id, blobs))
    for run in found:
        assert len({each.place.pack for each in run}) == 1
        assert len(run) == 1 or run[-1].place.offset + run[-1].place.length - run[0].place.offset <= RUN_BYTES
