"""Every byte of a small repository is flipped in turn: each damage is named, and nothing wrong comes back silently."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from fakes.memory_storage import MemoryStorage
from fakes.repository_in_memory import CHEAP, PASSWORD, a_repository
from restic import PASSWORD as RESTIC_PASSWORD
from restic import Restic

from opsuite_repository.checking import ALL, CheckReport, CheckRequest, Repair, check
from opsuite_repository.errors import Damaged
from opsuite_repository.format import keys
from opsuite_repository.key_files import remove_key
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.prune import PruneOptions, prune
from opsuite_repository.repair import repair_index, repair_packs, repair_snapshots
from opsuite_repository.repository import Repository, add_key
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType, path_of

CONTENT = {
    "text": b"all work and no play makes jack a dull boy\n" * 60,
    "random": random.Random(6).randbytes(300),
    "deep/er": random.Random(7).randbytes(200),
    "empty": b"",
}
SAMPLED = 23
"""So many bytes lie between two that are flipped in a quick run; a prime, so that no structure is missed for ever."""

FULL = pytest.mark.long, pytest.mark.timeout(1800)


class Flip(NamedTuple):
    kind: FileType
    name: str
    at: int
    bit: int

    @property
    def file(self) -> str:
        return path_of(self.kind, self.name)


class Small:
    """The repository, as it was before anything was flipped."""

    def __init__(self, source: Path) -> None:
        for name, content in CONTENT.items():
            (source / name).parent.mkdir(exist_ok=True, parents=True)
            (source / name).write_bytes(content)
        repository = a_repository()
        add_key(repository.storage, repository.key.master, "another", cost=CHEAP)
        back_up(repository, BackupRequest(paths=(source,)))
        assert isinstance(repository.storage, MemoryStorage)
        self.files = dict(repository.storage.files)
        self.root = str(source)

    def flips(self, every: int) -> Iterator[Flip]:
        chance, count = random.Random(every), 0
        for (kind, name), content in sorted(self.files.items()):
            for at in range(len(content)):
                count += 1
                if count % every == 0:
                    yield Flip(kind, name, at, 1 << chance.randrange(8))

    def flipped(self, flip: Flip) -> MemoryStorage:
        storage = MemoryStorage()
        storage.files = dict(self.files)
        content = bytearray(storage.files[flip.kind, flip.name])
        content[flip.at] ^= flip.bit
        storage.files[flip.kind, flip.name] = bytes(content)
        return storage


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small(tmp_path_factory.mktemp("source"))


@pytest.mark.parametrize("every", [SAMPLED, pytest.param(1, marks=FULL)])
def test_every_damage_is_named(small: Small, every: int) -> None:
    for flip in small.flips(every):
        named, report = told(small.flipped(flip))
        assert flip.file in named, flip
        assert report is None or not report.is_sound, flip


def told(storage: MemoryStorage) -> tuple[set[str], CheckReport | None]:
    """The files that are named as damaged, and the report if the repository could be opened."""
    for password in (PASSWORD, "another"):
        try:
            repository = Repository.open(storage, password)
        except Damaged as error:
            if password == PASSWORD:
                continue  # the other key opens it, unless it is the config
            return {error.file}, None
        report = check(repository, CheckRequest(read=ALL))
        return {finding.file for finding in report.findings}, report
    raise AssertionError("one of the passwords was tried last")


@pytest.mark.parametrize("every", [SAMPLED, pytest.param(1, marks=FULL)])
def test_nothing_wrong_comes_back_silently(small: Small, every: int, tmp_path: Path) -> None:
    for flip in small.flips(every):
        target = tmp_path / "restored"
        is_told = restored(small.flipped(flip), target)
        found = content_of(target / small.root.lstrip("/"))
        assert found.items() <= CONTENT.items(), flip
        assert is_told or found == CONTENT, flip
        shutil.rmtree(target, ignore_errors=True)


def restored(storage: MemoryStorage, target: Path) -> bool:
    """Restore what there is; whether anything was said to be wrong."""
    try:
        repository = Repository.open(storage, PASSWORD)
        snapshots = list(repository.snapshots())
        repository.load_index()
        results = [restore(repository, snapshot, RestoreRequest(target=target)) for _, snapshot in snapshots]
    except Damaged:
        return True
    return any(result.findings for result in results)


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("every", [3 * SAMPLED, pytest.param(1, marks=FULL)])
def test_a_repair_saves_what_can_be_saved(small: Small, every: int, tmp_path: Path) -> None:
    saved_all = 0
    for flip in small.flips(every):
        if flip.kind is FileType.CONFIG:
            continue  # it is named, and nothing else knows what it said
        storage = small.flipped(flip)
        lost = repaired(storage, flip, small.root)

        target = tmp_path / "restored"
        assert not restored(storage, target), flip
        found = content_of(target / small.root.lstrip("/"))
        if flip.kind is not FileType.SNAPSHOT:
            assert found.items() >= {name: content for name, content in CONTENT.items() if name not in lost}.items(), (
                flip
            )
        assert found.items() <= {**CONTENT, **dict.fromkeys(lost, b"")}.items(), flip
        saved_all += found == CONTENT
        shutil.rmtree(target, ignore_errors=True)
    assert saved_all


def repaired(storage: MemoryStorage, flip: Flip, root: str) -> set[str]:
    """Do what the check says, in the order it says; the files, or folders with all in them, that are told as lost."""
    try:
        repository = Repository.open(storage, PASSWORD)
    except Damaged:
        repository = Repository.open(storage, "another")
        add_key(storage, repository.key.master, PASSWORD, cost=CHEAP)
    advice = {finding.repair: finding for finding in check(repository, CheckRequest(read=ALL)).findings}
    if Repair.REMOVE_KEY in advice:
        remove_key(repository, flip.name)
    if Repair.INDEX in advice:
        repair_index(repository)
    if Repair.PACKS in advice:
        repair_packs(repository, [flip.name])
    repository.load_index()
    snapshots = repair_snapshots(repository, remove_unreadable=Repair.FORGET in advice)
    prune(repository, PruneOptions(max_unused_percent=0))
    report = check(repository, CheckRequest(read=ALL))
    assert not report.findings, (flip, report.findings)
    paths = {change.path for each in snapshots.repaired for change in each.changes}
    return {name for name in CONTENT if not paths.isdisjoint(folders_of(f"{root}/{name}"))}


def folders_of(path: str) -> set[str]:
    """The path itself and all above it, down to "" for the root."""
    return {path, "", *(str(folder) for folder in PurePosixPath(path).parents)}


def test_restic_finds_nothing_wrong_after_our_repair(tmp_path: Path) -> None:
    source, folder = tmp_path / "source", tmp_path / "repository"
    source.mkdir()
    for number in range(30):
        (source / f"file {number}").write_bytes(random.Random(number).randbytes(3000))
    restic = Restic(folder)
    Repository.init(LocalStorage(folder), RESTIC_PASSWORD, cost=keys.Cost(n=1 << 10, r=8, p=1))
    restic("backup", source)
    (source / "more").write_bytes(b"more" * 1000)
    restic("backup", source)
    packs = [path for path in (folder / "data").rglob("*") if path.is_file()]
    biggest = max(packs, key=lambda path: path.stat().st_size)
    index = next((folder / "index").iterdir())
    for path, at in ((biggest, 5000), (index, 50)):
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.chmod(0o600)
        path.write_bytes(content)
    assert restic("check", "--read-data", check=False).returncode != 0

    repository = Repository.open(LocalStorage(folder), RESTIC_PASSWORD)
    assert repair_index(repository).removed_files == (index.name,)
    assert len(repair_packs(repository, [biggest.name]).lost_blobs) == 1
    result = repair_snapshots(repository)

    restic("check", "--read-data")
    assert len(result.repaired) == 2
    restic("restore", "latest", "--target", tmp_path / "restored", "--verify")
    found = content_of(tmp_path / "restored" / source.relative_to("/"))
    (change,) = result.repaired[0].changes
    lost = change.path.rpartition("/")[2]
    assert found == {**content_of(source), lost: b""}
