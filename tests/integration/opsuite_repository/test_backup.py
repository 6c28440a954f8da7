"""Backups, and stock restic as judge: it checks them, restores them, and takes turns with us."""

from __future__ import annotations

import io
import os
import random
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from components import missing
from restic import PASSWORD, Restic
from sample_trees import assert_same_tree, make_tree

from opsuite_kernel.errors import InvalidInput, NotFound
from opsuite_repository.errors import Cancelled, StorageFull
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType
from opsuite_repository.pipeline.backup import BackupRequest, BackupResult, Resident, back_up, back_up_stream
from opsuite_repository.pipeline.findings import FindingKind
from opsuite_repository.pipeline.processes import HelperPool
from opsuite_repository.pipeline.progress import Progress
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)
NOBODY = 65534


HERE = Path("source")
"""The same folder by a relative path: no folder above it, that others write to, is then in the tree."""


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    make_tree(root)
    return root


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.init(LocalStorage(tmp_path / "repository"), PASSWORD, cost=CHEAP)


@pytest.fixture
def restic(tmp_path: Path, repository: Repository) -> Restic:
    return Restic(tmp_path / "repository")


@pytest.fixture
def helpers() -> Iterator[HelperPool]:
    pool = HelperPool(2)
    yield pool
    pool.close()


def reopened(repository: Repository) -> Repository:
    """What another process would see."""
    again = Repository(repository.storage, repository.key, repository.config)
    again.load_index()
    return again


def snapshots(repository: Repository) -> list[str]:
    return [file.name for file in repository.storage.list(FileType.SNAPSHOT)]


def assert_clean(restic: Restic) -> None:
    assert "no errors were found" in restic("check", "--read-data").stdout


def test_restic_checks_restores_and_continues_what_we_stored(
    source: Path, repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    result = back_up(repository, BackupRequest(paths=(source,), tags=("ours",)))

    assert result.findings == ()
    assert_clean(restic)
    restic("restore", "latest", "--target", tmp_path / "target", "--verify")
    assert_same_tree(source, tmp_path / "target" / source.relative_to("/"))
    continued = restic("backup", source).stdout
    assert "using parent snapshot" in continued
    assert f"{result.summary.files_unmodified + result.summary.files_new} unmodified" in continued


def test_we_continue_what_restic_stored_and_store_nothing_again(
    source: Path, repository: Repository, restic: Restic
) -> None:
    restic("backup", "source", "--host", "shared")
    repository.load_index()

    result = back_up(repository, BackupRequest(paths=(HERE,), hostname="shared"))

    assert result.parent is not None
    assert (result.summary.files_new, result.summary.files_changed) == (0, 0)
    assert result.summary.files_unmodified > 10
    assert (result.summary.data_blobs, result.summary.tree_blobs) == (0, 0)
    assert result.tree == repository.read_snapshot(result.parent).tree
    assert_clean(restic)


def test_a_restic_of_some_years_ago_takes_turns_with_us_too(
    source: Path, repository: Repository, tmp_path: Path
) -> None:
    older = Path("/usr/bin/restic")
    if not older.exists():
        missing("the restic of Debian", "apt install restic")
    restic = Restic(tmp_path / "repository", older)
    (source / "link to no UTF-8").unlink()  # it knows no way to write down such a target
    result = back_up(repository, BackupRequest(paths=(HERE,), hostname="shared"))

    assert_clean(restic)
    restic("restore", "latest", "--target", tmp_path / "theirs", "--verify")
    assert_same_tree(source, tmp_path / "theirs" / "source")
    assert "Files:           0 new,     0 changed" in restic("backup", HERE, "--host", "shared").stdout
    again = back_up(reopened(repository), BackupRequest(paths=(HERE,), hostname="shared"))
    assert (again.summary.files_new, again.summary.files_changed) == (0, 0)
    assert again.parent != result.snapshot_id
    restic("forget", "--keep-last", "1", "--prune")
    assert_clean(restic)


def test_devices_are_stored_as_restic_stores_them(
    repository: Repository, restic: Restic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    try:
        os.mknod(source / "characters", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(source / "blocks", 0o640 | stat.S_IFBLK, os.makedev(7, 300))
    except PermissionError:
        pytest.skip("only root may make devices")
    with socket.socket(socket.AF_UNIX) as unix:
        monkeypatch.chdir(source)
        unix.bind("socket")
        restic("backup", ".", "--host", "shared")
        repository.load_index()

        result = back_up(repository, BackupRequest(paths=(Path(),), hostname="shared"))

    assert result.parent is not None
    assert result.tree == repository.read_snapshot(result.parent).tree
    restore(repository, repository.read_snapshot(newest(repository)), RestoreRequest(target=tmp_path / "target"))
    assert_same_tree_but(source, tmp_path / "target", "socket")


def assert_same_tree_but(one: Path, other: Path, name: str) -> None:
    (one / name).unlink()
    assert_same_tree(one, other)


@pytest.mark.parametrize("path", ["source", ".", "source/deep/er", "../source", "source/text"])
def test_every_way_to_name_a_path_makes_the_tree_that_restic_makes(
    path: str, source: Path, repository: Repository, restic: Restic, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source if path in {".", "../source"} else source.parent
    monkeypatch.chdir(folder)
    result = back_up(repository, BackupRequest(paths=(Path(path),), parent=None))

    restic("backup", path, "--force", "--tag", "theirs")

    (theirs,) = [snapshot for _, snapshot in repository.snapshots() if snapshot.tags == ("theirs",)]
    ours = repository.read_snapshot(result.snapshot_id or "")
    assert ours.paths == theirs.paths
    reopened_ = reopened(repository)
    assert names_below(reopened_, ours.tree) == names_below(reopened_, theirs.tree)


def names_below(repository: Repository, tree: bytes) -> list[object]:
    """Names, kinds and modes of everything in a tree."""
    return [
        (node.name, node.type, node.mode, names_below(repository, node.subtree) if node.subtree else None)
        for node in repository.read_tree(tree)
    ]


@pytest.mark.parametrize(
    "options",
    [
        BackupRequest(excludes=("*.log", "/**/deep/er", "!keep.log")),
        BackupRequest(excludes=("a[0-2]", "b?", "c/**/x", "\\*star")),
        BackupRequest(case_insensitive_excludes=("README*", "DEEP")),
        BackupRequest(exclude_if_present=("mark:magic",), exclude_caches=True, exclude_larger_than=1000),
    ],
    ids=["globs", "classes", "case", "marks"],
)
def test_what_is_excluded_is_what_restic_excludes(
    options: BackupRequest, repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    for name in (
        "keep.log", "x.log", "deep/er/file", "deep/other", "a0/x", "a3/x", "bb", "b", "c/x", "c/d/e/x", "c/y", "*star",
        "readme.txt", "Deep2", "marked/mark", "marked/file", "unmarked/mark", "unmarked/file", "cache/file",
    ):  # fmt: skip
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("magic" if name == "marked/mark" else "x")
    (source / "cache" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (source / "large").write_bytes(bytes(1001))

    ours = back_up(repository, replace(options, paths=(source,)))
    restic("backup", source, "--force", "--tag", "theirs", *_flags(options))

    (theirs,) = [snapshot for _, snapshot in repository.snapshots() if snapshot.tags == ("theirs",)]
    again = reopened(repository)
    assert names_below(again, ours.tree) == names_below(again, theirs.tree)


def _flags(request: BackupRequest) -> list[str]:
    flags = [flag for pattern in request.excludes for flag in ("--exclude", pattern)]
    flags += [flag for pattern in request.case_insensitive_excludes for flag in ("--iexclude", pattern)]
    flags += [flag for mark in request.exclude_if_present for flag in ("--exclude-if-present", mark)]
    flags += ["--exclude-caches"] if request.exclude_caches else []
    return flags + (["--exclude-larger-than", str(request.exclude_larger_than)] if request.exclude_larger_than else [])


def many_files(root: Path, count: int) -> Path:
    """A tree of many small files, and a few that no helper reads."""
    chance = random.Random(count)
    for at in range(count):
        folder = root / f"folder {at // 50}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {at}").write_bytes(chance.randbytes(chance.randrange(200)))
    (root / "large").write_bytes(chance.randbytes(3 << 20))
    return root


def warm(helpers: HelperPool) -> None:
    """Have the helpers up, so that they are used from the first file on."""
    started = helpers.lend()
    assert len(started) == 2
    for helper in started:
        helpers.take_back(helper, is_sound=True)


def test_helper_processes_store_what_this_process_would(
    repository: Repository, restic: Restic, helpers: HelperPool, tmp_path: Path
) -> None:
    many_files(tmp_path / "source", 700)

    alone = back_up(repository, BackupRequest(paths=(HERE,), parent=None), resident=Resident(HelperPool(0)))
    warm(helpers)
    together = back_up(repository, BackupRequest(paths=(HERE,), parent=None), resident=Resident(helpers))

    assert together.tree == alone.tree
    assert (together.summary.data_blobs, together.summary.files_new) == (0, 701)
    assert_clean(restic)


def test_helpers_are_started_where_none_were_brought(repository: Repository, restic: Restic, tmp_path: Path) -> None:
    source = many_files(tmp_path / "source", 1200)

    result = back_up(repository, BackupRequest(paths=(source,)))

    assert (result.findings, result.summary.files_new) == ((), 1201)
    assert_clean(restic)


def test_a_resident_process_notices_every_change(
    repository: Repository, restic: Restic, helpers: HelperPool, tmp_path: Path
) -> None:
    source = many_files(tmp_path / "source", 120)
    resident, request = Resident(helpers), BackupRequest(paths=(HERE,))

    def next_backup() -> tuple[int, int, int, int]:
        repository.refresh_index()
        summary = back_up(repository, request, resident=resident).summary
        again = back_up(repository, BackupRequest(paths=(HERE,), parent=None, dry_run=True))
        assert (again.tree, again.summary.data_blobs) == (repository.read_snapshot(newest(repository)).tree, 0)
        return summary.files_new, summary.files_changed, summary.files_unmodified, summary.tree_blobs

    assert next_backup()[:3] == (121, 0, 0)
    assert next_backup() == (0, 0, 121, 0)
    (source / "folder 1" / "file 60").write_bytes(b"other")
    assert next_backup()[:3] == (0, 1, 120)
    (source / "folder 2" / "new").write_bytes(b"new")
    assert next_backup()[:3] == (1, 0, 121)
    (source / "folder 0" / "inner").mkdir()
    assert next_backup()[:3] == (0, 0, 122)
    (source / "folder 0" / "file 1").unlink()
    assert next_backup()[:3] == (0, 0, 121)
    (source / "folder 0" / "file 2").chmod(0o600)
    assert next_backup()[2] == 120  # restic, too, reads a file whose status has changed
    assert next_backup() == (0, 0, 121, 0)
    assert_clean(restic)


def newest(repository: Repository) -> str:
    return max(repository.snapshots(), key=lambda found: found[1].time.ns)[0]


def test_what_was_remembered_is_forgotten_when_a_prune_came_in_between(
    repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    source = many_files(tmp_path / "source", 20)
    resident, request = Resident(HelperPool(0)), BackupRequest(paths=(source,))
    back_up(repository, request, resident=resident)
    back_up(repository, request, resident=resident)
    restic("forget", *snapshots(repository), "--prune")
    repository.refresh_index()

    result = back_up(repository, request, resident=resident)

    assert (result.parent, result.summary.files_new) == (None, 21)
    assert_clean(restic)


def test_blobs_that_the_repository_has_lost_are_stored_again_though_nothing_changed(
    repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    source = many_files(tmp_path / "source", 20)
    back_up(repository, BackupRequest(paths=(source,)))
    lost = {place for place, entry in repository.index.entries() if entry.type is BlobType.DATA}
    for pack in lost:
        repository.storage.delete(FileType.DATA, pack.hex())
    restic("repair", "index")
    repository.load_index()

    result = back_up(repository, BackupRequest(paths=(source,)))

    assert result.summary.files_unmodified == 0
    assert result.summary.data_blobs > 0
    restic("restore", "latest", "--target", tmp_path / "target", "--verify")
    assert_same_tree(source, tmp_path / "target" / source.relative_to("/"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_what_may_not_be_read_is_told_and_the_rest_is_stored(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "closed").mkdir(parents=True)
    (source / "closed" / "inside").touch()
    for name in ("secret", "large secret", "open"):
        (source / name).write_bytes(bytes(600_000 if "large" in name else 5))
    (source / "secret").chmod(0)
    (source / "large secret").chmod(0)
    (source / "closed").chmod(0)
    os.chmod(source, 0o755)  # noqa: PTH101
    storage = repository.storage
    assert isinstance(storage, LocalStorage)
    opened_to_nobody(tmp_path, storage.root)

    with as_nobody():
        result = back_up(repository, BackupRequest(paths=(source,)))

    denied = {os.fsdecode(finding.path) for finding in result.findings if finding.kind is FindingKind.DENIED}
    assert denied == {str(source / name) for name in ("secret", "large secret", "closed")}
    assert result.is_incomplete
    assert result.summary.files_new == 1


def opened_to_nobody(tmp_path: Path, root: Path) -> None:
    """Let everybody pass through to the test's folders, and write to the repository."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700 and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(0o711)
    for path in (root, *root.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


def test_paths_that_are_missing_are_told_and_none_at_all_is_refused(
    source: Path, repository: Repository, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"

    result = back_up(repository, BackupRequest(paths=(source, missing)))

    assert [(finding.path, finding.kind) for finding in result.findings] == [
        (os.fsencode(missing), FindingKind.MISSING),
    ]
    assert result.is_incomplete
    with pytest.raises(NotFound, match="missing"):
        back_up(repository, BackupRequest(paths=(missing,)))
    with pytest.raises(NotFound):
        back_up(repository, BackupRequest())
    assert len(snapshots(repository)) == 1


def test_two_paths_that_would_be_one_entry_are_refused(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("x", "here/x", "here"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InvalidInput, match="same entry"):
        back_up(repository, BackupRequest(paths=(Path("x"), Path("../x"))))


class Full(LocalStorage):
    """A disk with room for so many packs."""

    def __init__(self, root: Path, packs: int) -> None:
        super().__init__(root)
        self.packs = packs

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        if kind is FileType.DATA:
            if self.packs == 0:
                raise StorageFull(f"{kind}/{name}: no room")
            self.packs -= 1
        super().write(kind, name, data, create=create)


def noise(source: Path, megabytes: int) -> Path:
    source.mkdir()
    for at in range(megabytes // 4):
        (source / f"file{at}").write_bytes(random.Random(at).randbytes(4 << 20))
    return source


def test_a_full_disk_leaves_no_snapshot_and_what_was_stored_serves_the_next_backup(
    repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    source = noise(tmp_path / "source", 24)
    full = Repository(Full(tmp_path / "repository", 2), repository.key, repository.config)
    request = BackupRequest(paths=(source,), pack_bytes=4 << 20)

    with pytest.raises(StorageFull):
        back_up(full, request)

    assert snapshots(repository) == []
    assert_clean(restic)
    again = reopened(repository)
    saved = again.index.count(BlobType.DATA)
    assert saved > 0
    result = back_up(again, request)
    assert result.summary.data_blobs > 0
    assert again.index.count(BlobType.DATA) == saved + result.summary.data_blobs
    assert_clean(restic)


def cancelling(event: threading.Event, after_bytes: int) -> Callable[[Progress], None]:
    def sink(progress: Progress) -> None:
        if progress.bytes_done >= after_bytes:
            event.set()

    return sink


def test_a_cancelled_backup_leaves_no_snapshot(repository: Repository, restic: Restic, source: Path) -> None:
    event = threading.Event()
    event.set()

    with pytest.raises(Cancelled):
        back_up(repository, BackupRequest(paths=(source,)), cancelled=event)

    assert snapshots(repository) == []
    assert_clean(restic)


def test_who_lost_the_lock_writes_no_snapshot(repository: Repository, source: Path) -> None:
    asked = iter([None] * 3)

    def guard() -> None:
        if next(asked, "lost") == "lost":
            raise PermissionError("the lock was lost")

    with pytest.raises(PermissionError, match="lost"):
        back_up(repository, BackupRequest(paths=(source,)), guard=guard)
    assert snapshots(repository) == []


def test_a_dry_run_tells_what_would_be_stored_and_writes_nothing(
    repository: Repository, source: Path, tmp_path: Path
) -> None:
    before = sorted((tmp_path / "repository").rglob("*"))

    dry = back_up(repository, BackupRequest(paths=(HERE,), dry_run=True))

    assert sorted((tmp_path / "repository").rglob("*")) == before
    assert dry.snapshot_id is None
    real = back_up(repository, BackupRequest(paths=(HERE,)))
    assert dry.tree == real.tree
    assert dry.summary.data_blobs == real.summary.data_blobs


def test_an_unchanged_tree_makes_no_snapshot_where_that_is_not_wanted(repository: Repository, tmp_path: Path) -> None:
    many_files(tmp_path / "source", 3)
    request = BackupRequest(paths=(HERE,), skip_if_unchanged=True)
    first = back_up(repository, request)

    second = back_up(repository, request)

    assert (second.snapshot_id, second.tree) == (None, first.tree)
    assert snapshots(repository) == [first.snapshot_id]


def test_two_backups_of_one_process_at_once_lose_nothing(
    repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    many_files(tmp_path / "source", 200)
    results: list[BackupResult] = []
    threads = [
        threading.Thread(target=lambda: results.append(back_up(repository, BackupRequest(paths=(HERE,)))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({result.tree for result in results}) == 1
    assert len(snapshots(repository)) == 2
    assert_clean(restic)


def test_a_stream_becomes_one_file_that_restic_dumps(repository: Repository, restic: Restic, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(5 << 20)

    result = back_up_stream(repository, "dumps/db.sql", io.BytesIO(content), BackupRequest(tags=("db",)))

    assert result.summary.total_bytes_processed == len(content)
    restic("restore", "latest", "--target", tmp_path / "target")
    assert (tmp_path / "target" / "dumps" / "db.sql").read_bytes() == content
    assert_clean(restic)
    again = back_up_stream(repository, "dumps/db.sql", io.BytesIO(content), BackupRequest())
    assert (again.parent, again.summary.data_blobs) == (result.snapshot_id, 0)


def test_a_stream_whose_writer_failed_makes_no_snapshot(repository: Repository) -> None:
    def failed() -> None:
        raise ChildProcessError("the dump ended with 1")

    with pytest.raises(ChildProcessError):
        back_up_stream(repository, "db.sql", io.BytesIO(b"half of it"), BackupRequest(), finish=failed)
    assert snapshots(repository) == []


def test_progress_ends_with_everything_done(repository: Repository, source: Path) -> None:
    told: list[Progress] = []

    result = back_up(repository, BackupRequest(paths=(source,)), progress=told.append)

    assert told[-1].files_done == told[-1].files_total == result.summary.total_files_processed
    assert told[-1].bytes_done == result.summary.total_bytes_processed


def test_folders_may_be_nested_as_deep_as_paths_can_tell(
    repository: Repository, restic: Restic, tmp_path: Path
) -> None:
    deepest = HERE
    for _ in range(900):
        deepest /= "d"
    deepest.mkdir(parents=True)
    (deepest / "large").write_bytes(bytes(600_000))  # read on a thread of its own: the walk is over by then

    result = back_up(repository, BackupRequest(paths=(HERE,)))

    assert (result.findings, result.summary.dirs_new, result.summary.files_new) == ((), 901, 1)
    again = restore(repository, repository.read_snapshot(newest(repository)), RestoreRequest(target=tmp_path / "t"))
    assert (again.findings, again.files_restored) == ((), 1)


def test_a_damaged_snapshot_keeps_nobody_from_backing_up(repository: Repository, tmp_path: Path) -> None:
    many_files(tmp_path / "source", 3)
    first = back_up(repository, BackupRequest(paths=(HERE,)))
    second = back_up(repository, BackupRequest(paths=(HERE,)))
    file = tmp_path / "repository" / "snapshots" / (second.snapshot_id or "")
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])

    third = back_up(repository, BackupRequest(paths=(HERE,)))

    assert (third.parent, third.summary.files_unmodified) == (first.snapshot_id, 4)


def test_other_file_systems_are_stored_as_empty_folders_where_that_is_wanted(repository: Repository) -> None:
    mounted = Path("/dev/shm")
    if not mounted.is_dir() or mounted.stat().st_dev == mounted.parent.stat().st_dev:
        pytest.skip("no file system is mounted where one was expected")

    with tempfile.NamedTemporaryFile(dir=mounted):
        result = back_up(repository, BackupRequest(paths=(mounted.parent,), one_file_system=True))

    (dev,) = repository.read_tree(result.tree)
    assert dev.subtree is not None
    (shm,) = [node for node in repository.read_tree(dev.subtree) if node.name == b"shm"]
    assert shm.subtree is not None
    assert repository.read_tree(shm.subtree) == []
