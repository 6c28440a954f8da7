"""Backup and restore beside restic and borg: the same data, the same passwords, each as safe as it is by default.

Data, repositories and targets are in memory where there is room, so that what is compared is work, not the disk.
`OPSUITE_BENCH_MIB` is the size of the mixed data (2048), `OPSUITE_BENCH_ENTRIES` the number of entries of the widest
tree (1,000,000), `OPSUITE_BENCH_BLOBS` that of the largest index (10,000,000).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from bench.repository_contestants import Borg, Contestant, Cost, Ours, Restic, closing_all
from bench.repository_data import MIB, make_entries, make_mixed, make_small
from bench.table import Row, p50
from opsuite_repository.format.blob_index import BlobIndex
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.format.index import IndexedPack
from opsuite_repository.format.packs import PackEntry

MEGABYTES: Final = int(os.environ.get("OPSUITE_BENCH_MIB", "2048"))
ENTRIES: Final = int(os.environ.get("OPSUITE_BENCH_ENTRIES", "1000000"))
BLOBS: Final = int(os.environ.get("OPSUITE_BENCH_BLOBS", "10000000"))
SMALL_FILES: Final = 20_000
BLOBS_IN_A_PACK: Final = 12
"""Of chunks of 1.4 MiB on average, in packs of 16 MiB."""
ROOM: Final = 6
"""Source, three or four repositories, and one target at a time, each about as large as the data."""


class Goals(NamedTuple):
    """How many times restic's throughput; None where there is no goal."""

    fresh: float | None
    resident: float | None


FIRST_MIXED, RESTORE_MIXED = Goals(2.0, None), Goals(2.0, None)
FIRST_SMALL, RESTORE_SMALL = Goals(1.5, None), Goals(None, None)
UNCHANGED: Final = Goals(None, 3.0)
MOST_CPU, MOST_MEMORY = 1.0, 1.5


async def main(rounds: int) -> list[Row]:
    rounds = max(1, rounds // 2)
    return [
        *await asyncio.to_thread(mixed, rounds),
        *await asyncio.to_thread(small, rounds),
        *await asyncio.to_thread(entries),
        *await asyncio.to_thread(index_memory),
    ]


def mixed(rounds: int) -> list[Row]:
    """Half text, half noise, in few files."""
    name = f"{MEGABYTES} MiB of mixed data"
    goals = {"first backup": FIRST_MIXED, "unchanged": UNCHANGED, "restore": RESTORE_MIXED}
    return in_turns(name, goals, rounds, MEGABYTES * MIB, lambda root: make_mixed(root, MEGABYTES))


def small(rounds: int) -> list[Row]:
    """Many files of a few kilobytes."""
    name = f"{SMALL_FILES:,} small files"
    goals = {"first backup": FIRST_SMALL, "unchanged": UNCHANGED, "restore": RESTORE_SMALL}
    return in_turns(name, goals, rounds, SMALL_FILES * 4096, lambda root: make_small(root, SMALL_FILES))


def entries() -> list[Row]:
    """A very wide tree in which nothing changes; borg and the fresh process are left out, for the time they take."""
    name = f"{ENTRIES:,} entries"
    with room_for(ENTRIES * 4096) as folder:
        source = folder / "source"
        make_entries(source, ENTRIES)
        contestants: list[Contestant] = [Restic(folder), Ours(folder, is_resident=True)]
        with closing_all(contestants):
            first = {each.name: [each.backup(source)] for each in contestants}
            again = {each.name: [each.backup(source) for _ in range(2)] for each in contestants}
    return [
        *compared(f"{name}, first backup", first, Goals(None, None)),
        *compared(f"{name}, unchanged", again, UNCHANGED),
    ]


def in_turns(
    name: str, goals: dict[str, Goals], rounds: int, size_bytes: int, make: Callable[[Path], None]
) -> list[Row]:
    """Every contestant does everything in each round, in a new repository each time."""
    costs: dict[str, dict[str, list[Cost]]] = {what: {} for what in goals}
    sizes: dict[str, int] = {}
    with room_for(size_bytes * ROOM) as folder:
        make(folder / "source")
        warm_up(folder, size_bytes)
        for at in range(rounds):
            place = folder / f"round{at}"
            place.mkdir()
            contestants = all_contestants(place)
            with closing_all(contestants):
                for what, do in {"first backup": first, "unchanged": first, "restore": back}.items():
                    for each in contestants:
                        costs[what].setdefault(each.name, []).append(do(each, folder))
            sizes = {each.name: each.stored_bytes() for each in contestants}
            shutil.rmtree(place)
    rows = [row for what, goal in goals.items() for row in compared(f"{name}, {what}", costs[what], goal)]
    return [*rows, *size_rows(name, sizes)]


def all_contestants(folder: Path) -> list[Contestant]:
    ours = [Ours(folder, is_resident=False), Ours(folder, is_resident=True)]
    return [Restic(folder), *ours, *([Borg(folder)] if shutil.which("borg") else [])]


def first(contestant: Contestant, folder: Path) -> Cost:
    return contestant.backup(folder / "source")


def back(contestant: Contestant, folder: Path) -> Cost:
    cost = contestant.restore(folder / "target")
    shutil.rmtree(folder / "target")
    return cost


def warm_up(folder: Path, size_bytes: int) -> None:
    """Have the memory that will be used given to this machine: a virtual one gets it from its host at first touch."""
    with (folder / "filler").open("wb") as file:
        for _ in range(size_bytes * (ROOM - 1) // MIB):
            file.write(bytes(MIB))
    (folder / "filler").unlink()


def compared(name: str, costs: dict[str, list[Cost]], goals: Goals) -> list[Row]:
    """Rows for time, processor time and memory of ours beside restic's, and for the time of the others."""
    restic = costs["restic"]
    rows: list[Row] = []
    for who, goal in (("ours", goals.fresh), ("ours, resident", goals.resident)):
        if who in costs:
            rows += beside_restic(f"{name}{who.removeprefix('ours')}", costs[who], restic, goal)
    if "borg" in costs:
        borg, ours = median(costs["borg"], "seconds"), median(costs["ours"], "seconds")
        rows.append(Row(f"{name}, times as fast as borg", f"{ours:.2f} s", f"borg {borg:.2f} s", borg / ours))
    return rows


def beside_restic(name: str, ours: Sequence[Cost], restic: Sequence[Cost], goal: float | None) -> list[Row]:
    mine, theirs = median(ours, "seconds"), median(restic, "seconds")
    cpu, their_cpu = median(ours, "cpu_seconds"), median(restic, "cpu_seconds")
    memory, their_memory = median(ours, "memory_bytes") / MIB, median(restic, "memory_bytes") / MIB
    return [
        Row(name, f"{mine:.2f} s", f"restic {theirs:.2f} s", theirs / mine, goal, at_least=True),
        Row(f"{name}, processor", f"{cpu:.2f} s", f"restic {their_cpu:.2f} s", cpu / their_cpu, MOST_CPU),
        Row(
            f"{name}, memory",
            f"{memory:.0f} MiB",
            f"restic {their_memory:.0f} MiB",
            *memory_ratio(memory, their_memory),
        ),
    ]


def memory_ratio(ours: float, theirs: float) -> tuple[float | None, float | None]:
    """None for runs so short that memory was not looked at."""
    return (ours / theirs, MOST_MEMORY) if ours and theirs else (None, None)


def median(costs: Sequence[Cost], what: str) -> float:
    return p50([getattr(cost, what) for cost in costs])


def size_rows(name: str, sizes: dict[str, int]) -> list[Row]:
    restic = sizes["restic"]
    return [
        Row(f"{name}, repository", f"{sizes[who] / MIB:.0f} MiB", f"restic {restic / MIB:.0f} MiB", sizes[who] / restic)
        for who in ("ours",)
    ]


def index_memory() -> list[Row]:
    """The index of a repository larger than any disk here, filled with made-up blobs."""
    index, before = BlobIndex(), psutil.Process().memory_info().rss
    began = time.perf_counter()
    for _ in range(BLOBS // BLOBS_IN_A_PACK):
        ids = os.urandom(32 * (BLOBS_IN_A_PACK + 1))
        blobs = [
            PackEntry(BlobType.DATA, ids[32 * n : 32 * n + 32], n << 20, 1 << 20, 3 << 19)
            for n in range(1, BLOBS_IN_A_PACK + 1)
        ]
        index.add(IndexedPack(ids[:32], blobs))
    seconds = time.perf_counter() - began
    grown = psutil.Process().memory_info().rss - before
    each = grown / index.count(BlobType.DATA)
    return [
        Row(
            f"index of {BLOBS:,} blobs",
            f"{grown / MIB:.0f} MiB",
            f"filled in {seconds:.0f} s",
            each,
            unit="bytes a blob",
        )
    ]


@contextmanager
def room_for(size_bytes: int) -> Iterator[Path]:
    """A folder in memory, or on the disk when there is too little."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > size_bytes * 1.2
    has_room = has_room and psutil.virtual_memory().available > size_bytes * 1.2
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-", dir=memory if has_room else None) as folder:
        yield Path(folder)
