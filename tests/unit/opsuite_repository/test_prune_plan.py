from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsuite_repository.format.blobs import BlobType
from opsuite_repository.prune_plan import PackUse, PruneOptions, decide

MB = 1 << 20


def a_pack(
    name: str, used: int = 0, unused: int = 0, *, kind: BlobType = BlobType.DATA, is_mixed: bool = False
) -> PackUse:
    """A pack of one blob a megabyte."""
    return PackUse(
        id=name.encode().ljust(32),
        kind=kind,
        size_bytes=(used + unused) * MB,
        used_blobs=used,
        used_bytes=used * MB,
        unused_blobs=unused,
        unused_bytes=unused * MB,
        is_mixed=is_mixed,
    )


def names(ids: set[bytes]) -> str:
    return " ".join(sorted(id_.decode().strip() for id_ in ids))


def test_what_is_used_stays_and_what_is_unused_goes() -> None:
    plan = decide([a_pack("used", 16), a_pack("unused", 0, 7)], PruneOptions())
    assert (names(plan.keep), names(plan.delete), names(plan.repack)) == ("used", "unused", "")
    assert plan.freed_bytes == 7 * MB


def test_the_worst_packs_are_written_anew_until_the_rest_wastes_no_more_than_allowed() -> None:
    packs = [a_pack("a", 15, 1), a_pack("b", 2, 14), a_pack("c", 8, 8), a_pack("d", 16)]
    assert names(decide(packs, PruneOptions(max_unused_percent=5)).repack) == "b c"  # leaves 1 of 42
    assert names(decide(packs, PruneOptions(max_unused_percent=20)).repack) == "b"  # leaves 9 of 50
    assert names(decide(packs, PruneOptions(max_unused_percent=0)).repack) == "a b c"
    assert names(decide(packs, PruneOptions(max_unused_percent=None)).repack) == ""
    assert names(decide(packs, PruneOptions(max_unused_percent=None, max_unused_bytes=9 * MB)).repack) == "b"


def test_packs_of_trees_and_mixed_ones_are_written_anew_whatever_is_allowed() -> None:
    packs = [a_pack("tree", 15, 1, kind=BlobType.TREE), a_pack("mixed", 16, is_mixed=True), a_pack("data", 1500, 1)]
    assert names(decide(packs, PruneOptions(max_unused_percent=50)).repack) == "mixed tree"


def test_no_more_is_written_anew_than_was_allowed() -> None:
    packs = [a_pack("a", 5, 11), a_pack("b", 6, 10), a_pack("c", 2, 4)]
    plan = decide(packs, PruneOptions(max_unused_percent=0, max_repack_bytes=7 * MB))
    assert names(plan.repack) == "a c"
    assert plan.repacked_bytes == 7 * MB
    assert plan.unused_bytes_after == 10 * MB


def test_small_packs_are_put_together_once_there_are_some() -> None:
    few, many = [[a_pack(f"{number:02}", 3) for number in range(count)] for count in (9, 10)]
    assert not decide(few, PruneOptions()).repack
    assert len(decide(many, PruneOptions()).repack) == 10
    assert not decide(many, PruneOptions(repack_small=False)).repack
    assert not decide(many, PruneOptions(pack_bytes=4 * MB)).repack
    trees = [a_pack(f"t{number}", 3, kind=BlobType.TREE) for number in range(5)]
    assert not decide([*few[:5], *trees], PruneOptions()).repack


PACKS = st.lists(
    st.builds(a_pack, st.text("abcdef", min_size=1, max_size=4), st.integers(0, 20), st.integers(0, 20)),
    unique_by=lambda pack: pack.id,
)


@given(PACKS, st.floats(0, 99), st.none() | st.integers(0, 50 * MB))
def test_every_pack_has_one_fate_and_the_bounds_hold(packs: list[PackUse], percent: float, most: int | None) -> None:
    plan = decide(packs, PruneOptions(max_unused_percent=percent, max_repack_bytes=most, repack_small=False))
    assert plan.keep | plan.repack | plan.delete == {pack.id for pack in packs}
    assert len(plan.keep) + len(plan.repack) + len(plan.delete) == len(packs)
    by_id = {pack.id: pack for pack in packs}
    assert not any(by_id[pack].used_blobs for pack in plan.delete)
    kept_waste = sum(by_id[pack].unused_bytes for pack in plan.keep)
    assert kept_waste == plan.unused_bytes_after
    if most is None:
        assert kept_waste * (100 - percent) <= percent * plan.used_bytes * 1.000001
    else:
        assert plan.repacked_bytes <= most
