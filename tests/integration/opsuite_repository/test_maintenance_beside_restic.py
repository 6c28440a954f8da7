"""What we and restic do to keep a repository in order fits together: prune, copy, check, keys; for both versions."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from restic import PASSWORD, Restic

from opsuite_repository.checking import ALL, CheckRequest, DamageKind, check
from opsuite_repository.copying import copy
from opsuite_repository.errors import WrongPassword
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.key_files import change_password, list_keys
from opsuite_repository.locking import locked
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.prune import PRUNE_ROLE, PruneOptions, plan_prune, prune
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    change(source, seed=0, files=60)
    return source


def change(source: Path, *, seed: int, files: int) -> None:
    chance = random.Random(seed)
    for _ in range(files):
        (source / f"file {chance.randrange(60)}").write_bytes(chance.randbytes(10_000))
    (source / "text").write_bytes(f"all work and no play {seed}\n".encode() * 3000)


def opened(folder: Path) -> Repository:
    repository = Repository.open(LocalStorage(folder), PASSWORD)
    repository.load_index()
    return repository


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def a_restic(folder: Path, *options: str | Path) -> Restic:
    """A repository that restic made; its password is the same and opens it faster."""
    restic = Restic(folder)
    restic("init", *options)
    change_password(opened(folder), PASSWORD, cost=CHEAP)
    return restic


def back_up_in_turns(restic: Restic, source: Path) -> None:
    """Three snapshots: restic's, ours on top of it, and restic's on top of ours. Only the last is kept."""
    for seed in range(1, 4):
        if seed == 2:
            back_up(opened(restic.repository), BackupRequest(paths=(source,)))
        else:
            restic("backup", source)
        change(source, seed=seed, files=20)
    restic("backup", source)
    restic("forget", "--keep-last", "1", "--group-by", "")


@pytest.mark.parametrize("version", ["1", "2"])
def test_restic_finds_everything_after_our_prune_and_nothing_left_to_do(
    source: Path, tmp_path: Path, version: str
) -> None:
    restic = a_restic(tmp_path / "repository", "--repository-version", version)
    back_up_in_turns(restic, source)
    options = PruneOptions(max_unused_percent=0)
    repository = opened(restic.repository)
    with locked(repository, exclusive=True) as lock:
        plan = prune(repository, options, guard=lock.ensure)

    assert plan.repack
    assert plan.freed_bytes > 100_000
    restic("check", "--read-data")
    before = {file.name for file in repository.storage.list(FileType.DATA)}
    restic("prune", "--max-unused", "0")
    assert {file.name for file in repository.storage.list(FileType.DATA)} == before
    restic("restore", "latest", "--target", tmp_path / "restored", "--verify")
    assert content_of(tmp_path / "restored" / source.relative_to("/")) == content_of(source)


def test_we_find_nothing_left_to_do_after_restics_prune(source: Path, tmp_path: Path) -> None:
    restic = a_restic(tmp_path / "repository")
    back_up_in_turns(restic, source)
    restic("prune", "--max-unused", "0")
    plan = plan_prune(opened(restic.repository), PruneOptions(max_unused_percent=0))
    assert not plan.repack | plan.delete | plan.unindexed.keys()
    assert not plan.unused_bytes_before
    assert not check(opened(restic.repository), CheckRequest(read=ALL)).findings


def test_what_we_mark_restic_reads_and_prunes(source: Path, tmp_path: Path) -> None:
    restic = a_restic(tmp_path / "repository")
    back_up_in_turns(restic, source)
    repository = opened(restic.repository)
    with locked(repository, role=PRUNE_ROLE) as lock:
        plan = prune(repository, PruneOptions(max_unused_percent=0, grace=timedelta(hours=1)), guard=lock.ensure)
    assert plan.marked

    restic("check", "--read-data")
    restic("prune", "--max-unused", "0")
    restic("check", "--read-data")

    names = {file.name for file in repository.storage.list(FileType.DATA)}
    assert not names & {pack.hex() for pack in plan.marked}
    assert opened(restic.repository).index.retired is None


def test_copies_are_whole_and_both_know_what_is_there_already(source: Path, tmp_path: Path) -> None:
    home = a_restic(tmp_path / "home")
    abroad = a_restic(tmp_path / "abroad", "--copy-chunker-params", *home.as_source(tmp_path))
    home("backup", source)
    change(source, seed=1, files=10)
    back_up(opened(home.repository), BackupRequest(paths=(source,)))
    (older, _), (newer, _) = sorted(opened(home.repository).snapshots(), key=lambda each: each[1].time.ns)

    abroad("copy", *home.as_source(tmp_path), older)
    report = copy(opened(home.repository), opened(abroad.repository), [older, newer])
    assert report.skipped == (older,)
    assert list(report.copied) == [newer]

    abroad("check", "--read-data")
    abroad("copy", *home.as_source(tmp_path))
    listed = json.loads(abroad("snapshots", "--json").stdout)
    assert {snapshot["original"] for snapshot in listed} == {older, newer}
    assert len(listed) == 2
    abroad("restore", report.copied[newer], "--target", tmp_path / "restored", "--verify")
    assert content_of(tmp_path / "restored" / source.relative_to("/")) == content_of(source)


def test_a_password_that_one_changed_opens_for_the_other(tmp_path: Path) -> None:
    restic = a_restic(tmp_path / "repository")
    repository = opened(restic.repository)
    change_password(repository, "ours", cost=CHEAP)
    assert restic("cat", "config", check=False).returncode == 12
    change_password(Repository.open(repository.storage, "ours"), PASSWORD, cost=CHEAP)
    (tmp_path / "new").write_text("theirs")
    restic("key", "passwd", "--new-password-file", tmp_path / "new")
    with pytest.raises(WrongPassword):
        opened(restic.repository)
    theirs = Repository.open(repository.storage, "theirs")
    assert [key.is_current for key in list_keys(theirs)] == [True]


def test_we_and_restic_agree_on_what_is_damaged(source: Path, tmp_path: Path) -> None:
    restic = a_restic(tmp_path / "repository")
    restic("backup", source)
    repository = opened(restic.repository)
    pack = next(pack for pack, entry in repository.index.entries() if entry.type is BlobType.DATA)
    path = restic.repository / "data" / pack.hex()[:2] / pack.hex()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)

    assert check(repository).is_sound
    assert restic("check", check=False).returncode == 0
    report = check(repository, CheckRequest(read=ALL))
    told = restic("check", "--read-data", check=False)
    assert told.returncode == 1
    assert pack.hex()[:8] in told.stderr
    assert [(finding.file, finding.kind) for finding in report.findings] == [
        (f"data/{pack.hex()[:2]}/{pack.hex()}", DamageKind.PACK_DAMAGED)
    ]

    path.unlink()
    assert restic("check", check=False).returncode == 1
    assert {finding.kind for finding in check(repository).findings} == {DamageKind.PACK_MISSING}
