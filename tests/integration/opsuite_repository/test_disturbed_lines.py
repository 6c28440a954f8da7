"""Backup, retention, prune, check and repair over lines that keep breaking: they come to their end, with all there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from fakes.faulty_wire import Fault, FaultyWire
from fakes.repository_storages import S3_ENVIRONMENT, Place, rest_place, s3_place

from opsuite_repository.checking import ALL, CheckRequest, check
from opsuite_repository.errors import Damaged, StorageDenied
from opsuite_repository.format import keys
from opsuite_repository.locking import locked
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.prune import PRUNE_ROLE, PruneOptions, prune
from opsuite_repository.repair import repair_index
from opsuite_repository.repository import Repository
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import FileType
from opsuite_repository.storage.retrying import Patience

PASSWORD = "correct horse"
CHEAP = keys.Cost(n=1 << 10, r=8, p=1)
QUICK = Patience(attempts=8, first_wait=0.001, longest_wait=0.01, timeout=60)
BREAKING = (Fault.RESET, Fault.BUSY, Fault.ANSWER_LOST, Fault.REQUEST_CUT, Fault.ANSWER_CUT)
METHODS = {"s3": ("GET", "GET", "PUT"), "rest": ("GET", "GET", "POST")}
PACK_BYTES = 64 << 10


@pytest.fixture(params=["s3", "rest"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with s3_place() if request.param == "s3" else rest_place(tmp_path / "served") as place:
        yield place


@pytest.fixture
def address(place: Place, request: pytest.FixtureRequest) -> str:
    return place.of(f"disturbed-{sha256(request.node.name.encode()).hexdigest()[:8]}")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    change(source, seed=0)
    return source


def change(source: Path, *, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        (source / f"file {chance.randrange(30)}").write_bytes(chance.randbytes(12_000))


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def disturb(wire: FaultyWire, address: str, *, seed: int) -> None:
    """Every few requests something goes wrong, never so often in a row that patience would end."""
    chance = random.Random(seed)
    wire.heal()
    for _ in range(200):
        method = chance.choice(METHODS[address.partition(":")[0]])
        wire.strike(method, chance.choice(BREAKING), None)


def opened(address: str) -> Repository:
    return Repository.open(open_storage(address, patience=QUICK), PASSWORD)


def test_a_whole_life_over_lines_that_break(place: Place, address: str, source: Path, tmp_path: Path) -> None:
    wire = place.wire
    assert wire
    Repository.init(open_storage(address, patience=QUICK), PASSWORD, cost=CHEAP)
    for seed in range(1, 4):
        disturb(wire, address, seed=seed)
        repository = opened(address)
        with locked(repository) as lock:
            repository.load_index()
            back_up(repository, BackupRequest(paths=(source,), pack_bytes=PACK_BYTES), guard=lock.ensure)
        last = content_of(source)
        change(source, seed=seed)

    disturb(wire, address, seed=4)
    repository = opened(address)
    ordered = sorted((snapshot.time.ns, name) for name, snapshot in repository.snapshots())
    if address.startswith("s3"):
        tidy(repository, [name for _, name in ordered[:-1]])
    else:  # a server that only lets files be added
        with pytest.raises(StorageDenied):
            tidy(repository, [name for _, name in ordered[:-1]])

    assert wire.struck > 30
    wire.heal()
    assert not check(opened(address), CheckRequest(read=ALL)).findings
    assert not list(repository.storage.list(FileType.LOCK))
    repository.load_index()
    result = restore(repository, repository.read_snapshot(ordered[-1][1]), RestoreRequest(target=tmp_path / "restored"))
    assert not result.findings
    assert content_of(tmp_path / "restored" / source.relative_to("/")) == last


def tidy(repository: Repository, unwanted: list[str]) -> None:
    """Forget, prune in both ways, and make the index anew."""
    with locked(repository, role=PRUNE_ROLE) as lock:
        for name in unwanted:
            repository.storage.delete(FileType.SNAPSHOT, name)
        options = PruneOptions(max_unused_percent=0, pack_bytes=PACK_BYTES, grace=timedelta(0))
        assert prune(repository, options, guard=lock.ensure).marked
    with locked(repository, exclusive=True) as lock:
        plan = prune(repository, PruneOptions(max_unused_percent=0, pack_bytes=PACK_BYTES), guard=lock.ensure)
        assert plan.delete
        repair_index(repository, read_all_packs=True, guard=lock.ensure)


def test_bits_that_flip_on_the_line_are_told_or_repaired_and_never_kept(
    place: Place, address: str, source: Path, tmp_path: Path
) -> None:
    wire = place.wire
    assert wire
    Repository.init(open_storage(address, patience=QUICK), PASSWORD, cost=CHEAP)
    repository = opened(address)
    repository.load_index()
    back_up(repository, BackupRequest(paths=(source,), pack_bytes=PACK_BYTES))
    for number in range(12):
        wire.heal()
        wire.strike("GET", *[None] * number, Fault.ANSWER_FLIPPED)
        target = tmp_path / f"restored {number}"
        try:
            looked = opened(address)
            looked.load_index()
            ((_, snapshot),) = looked.snapshots()
            is_told = bool(restore(looked, snapshot, RestoreRequest(target=target)).findings)
        except Damaged:
            is_told = True
        folder = target / source.relative_to("/")
        found = content_of(folder) if folder.is_dir() else {}
        assert found.items() <= content_of(source).items()
        assert is_told or found == content_of(source)
    wire.heal()
    assert not check(opened(address), CheckRequest(read=ALL)).findings
