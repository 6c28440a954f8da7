"""Whoever works on a repository is killed in the middle of it, and nothing is lost or in the way of the next."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fakes.repository_storages import S3_ENVIRONMENT, s3_place
from repository_worker import PASSWORD, Workers, workers
from restic import Restic

from opsuite_repository.checking import ALL, CheckRequest, DamageKind, check
from opsuite_repository.format import keys
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.repository import Repository
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import FileType, Storage, path_of

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)
JOBS = ("backup", "backup", "forget", "prune", "mark")
KEEP = 3

Content = dict[str, str]


class Victim:
    """A repository whose workers are killed, and what is known of it."""

    def __init__(self, address: str, folder: Path, zygote: Workers, seed: int) -> None:
        self.address = address
        self.folder = folder
        self.source = folder / "source"
        self.zygote = zygote
        self.chance = random.Random(seed)
        self.known: dict[str, Content] = {}
        """What each snapshot has to restore to."""
        self.usual_changes = dict.fromkeys(JOBS, 12)
        self.killed = 0
        self.source.mkdir()
        self.change_source(30)
        Repository.init(self.storage(), PASSWORD, cost=CHEAP)
        assert self.run("backup").startswith("done")
        self.learn()

    def storage(self) -> Storage:
        return open_storage(self.address)

    def repository(self) -> Repository:
        return Repository.open(self.storage(), PASSWORD)

    def change_source(self, files: int) -> None:
        for _ in range(files):
            (self.source / f"file {self.chance.randrange(40)}").write_bytes(self.chance.randbytes(12_000))

    def run(self, do: str, *, die_at: int | None = None) -> str:
        job: dict[str, Any] = {"do": do, "address": self.address, "source": str(self.source), "keep": KEEP}
        return self.zygote.run(job, die_at=die_at, seed=self.chance.randrange(1 << 30))

    def round(self) -> None:
        """Have a job killed, and see what is left."""
        do = self.chance.choice(JOBS)
        if do == "backup":
            self.change_source(8)
        told = self.run(do, die_at=self.chance.randint(1, self.usual_changes[do]))
        if told == "killed":
            self.killed += 1
        else:
            assert told.startswith("done"), f"{do}: {told}"
            self.usual_changes[do] = max(4, int(told.split()[1]))
        self.learn()
        self.check_all_of(self.chance.sample(sorted(self.known), 1))

    def learn(self) -> None:
        """A snapshot that is new has to be of the source as it is now."""
        now = content_of(self.source)
        found = {name for name, _ in self.repository().snapshots()}
        self.known = {name: self.known.get(name, now) for name in found}

    def check_all_of(self, names: list[str]) -> None:
        """Nothing is missing that is referred to, and these snapshots come back identical."""
        repository = self.repository()
        report = check(repository, CheckRequest(read=ALL))
        assert report.is_sound, report.findings
        assert {finding.kind for finding in report.findings} <= {DamageKind.PACK_UNINDEXED}
        for name in names:
            target = self.folder / "restored"
            restore(repository, repository.read_snapshot(name), RestoreRequest(target=target))
            assert content_of(target / self.source.relative_to("/")) == self.known[name]
            shutil.rmtree(target)

    def recover(self) -> None:
        """The next run needs no human, and tidies up."""
        self.change_source(2)
        for do in ("backup", "prune"):
            told = self.run(do)
            assert told.startswith("done"), told
        self.learn()
        repository = self.repository()
        report = check(repository, CheckRequest(read=ALL))
        assert not report.findings
        assert not list(repository.storage.list(FileType.LOCK))

    def judge(self) -> None:
        """restic says the same, and restores the same."""
        here = self.folder / "for restic"
        copy_files(self.storage(), here)
        restic = Restic(here)
        restic("check", "--read-data", "--no-lock")  # the lock of the last that died may be there
        for name in self.known:
            restic("restore", name, "--no-lock", "--target", self.folder / "by restic", "--verify")
            assert content_of(self.folder / "by restic" / self.source.relative_to("/")) == self.known[name]
            shutil.rmtree(self.folder / "by restic")
        shutil.rmtree(here)


def content_of(folder: Path) -> Content:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def copy_files(storage: Storage, to: Path) -> None:
    """All of a repository as a folder."""
    for kind in FileType:
        names = ["config"] if kind is FileType.CONFIG else [file.name for file in storage.list(kind)]
        (to / kind).parent.mkdir(parents=True, exist_ok=True)
        if kind is not FileType.CONFIG:
            (to / kind).mkdir(exist_ok=True)
        for name in names:
            path = to / path_of(kind, name)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(storage.read(kind, name))


@contextlib.contextmanager
def victim(address: str, folder: Path, seed: int) -> Iterator[Victim]:
    with workers(S3_ENVIRONMENT) as zygote:
        yield Victim(address, folder, zygote, seed)


def survive(it: Victim, deaths: int, *, judged_every: int) -> None:
    """Until so many workers were killed; those that were done before their time count as nothing."""
    rounds = 0
    while it.killed < deaths:
        it.round()
        rounds += 1
        if rounds % judged_every == 0:
            it.recover()
            it.judge()
    it.recover()
    it.judge()


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_folder_survives_the_death_of_whoever_works_on_it(tmp_path: Path, seed: int) -> None:
    with victim(str(tmp_path / "repository"), tmp_path, seed) as it:
        survive(it, deaths=6, judged_every=20)


@pytest.mark.usefixtures("s3_environment")
def test_a_bucket_survives_the_death_of_whoever_works_on_it(tmp_path: Path) -> None:
    with s3_place() as place, victim(place.of("victim"), tmp_path, 3) as it:
        survive(it, deaths=4, judged_every=20)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 14))
def test_a_folder_survives_two_hundred_deaths(tmp_path: Path, seed: int) -> None:
    with victim(str(tmp_path / "repository"), tmp_path, seed) as it:
        survive(it, deaths=50, judged_every=5)


@pytest.mark.long
@pytest.mark.usefixtures("s3_environment")
@pytest.mark.parametrize("seed", range(20, 24))
def test_a_bucket_survives_two_hundred_deaths(tmp_path: Path, seed: int) -> None:
    with s3_place() as place, victim(place.of(f"victim-{seed}"), tmp_path, seed) as it:
        survive(it, deaths=50, judged_every=10)
