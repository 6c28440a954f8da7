"""Restores, of our snapshots and of restic's, into folders that are empty, full, or in the way."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from restic import PASSWORD, Restic
from sample_trees import assert_same_tree, make_tree

from opsuite_kernel.errors import NotFound
from opsuite_repository.errors import Cancelled
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobType, blob_id, seal_blob
from opsuite_repository.format.modes import SYMLINK
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import Node, NodeType, encode_node
from opsuite_repository.pipeline.backup import BackupRequest, back_up
from opsuite_repository.pipeline.findings import FindingKind
from opsuite_repository.pipeline.packing import Packer
from opsuite_repository.pipeline.placing import GrowingFile, holds
from opsuite_repository.pipeline.processes import HelperPool
from opsuite_repository.pipeline.progress import Progress
from opsuite_repository.pipeline.restore import Overwrite, Ownership, RestoreRequest, RestoreResult, restore
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage
from opsuite_repository.storage.port import FileType, path_of

CHEAP = keys.Cost(n=1 << 10, r=8, p=1)
HERE = Path("source")


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.init(LocalStorage(tmp_path / "repository"), PASSWORD, cost=CHEAP)


def backed_up(repository: Repository, *paths: Path) -> Snapshot:
    result = back_up(repository, BackupRequest(paths=paths or (HERE,)))
    assert result.findings == ()
    return repository.read_snapshot(result.snapshot_id or "")


def restored(repository: Repository, snapshot: Snapshot, request: RestoreRequest) -> RestoreResult:
    """Restore what has to succeed."""
    result = restore(repository, snapshot, request)
    assert result.findings == ()
    return result


def test_our_snapshot_comes_back_as_it_was(repository: Repository, source: Path, target: Path) -> None:
    make_tree(source)
    snapshot = backed_up(repository)

    result = restored(repository, snapshot, RestoreRequest(target=target, verify=True))

    assert_same_tree(source, target / "source")
    assert (target / "source" / "text").samefile(target / "source" / "hard link")
    assert result.files_verified == result.files_restored - 1  # a hard link needs no second look


def test_a_snapshot_of_restic_comes_back_as_it_was(
    repository: Repository, source: Path, target: Path, tmp_path: Path
) -> None:
    make_tree(source)
    Restic(tmp_path / "repository")("backup", HERE)
    repository.load_index()
    ((_, snapshot),) = repository.snapshots()

    restored(repository, snapshot, RestoreRequest(target=target))

    assert_same_tree(source, target / "source")


def many_files(root: Path, count: int) -> None:
    chance = random.Random(count)
    for at in range(count):
        folder = root / f"folder {at // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {at}").write_bytes(chance.randbytes(chance.randrange(300)))
        (folder / f"file {at}").chmod(0o600 | at % 64)
        os.utime(folder / f"file {at}", ns=(1, 1_000_000_007 * at))


@pytest.fixture
def helpers() -> Iterator[HelperPool]:
    pool = HelperPool(2)
    for helper in pool.lend():
        pool.take_back(helper, is_sound=True)
    yield pool
    pool.close()


def test_helper_processes_write_what_this_process_would(
    repository: Repository, source: Path, target: Path, helpers: HelperPool
) -> None:
    many_files(source, 800)
    snapshot = backed_up(repository)

    result = restore(repository, snapshot, RestoreRequest(target=target), helpers=helpers)

    assert (result.findings, result.files_restored) == ((), 800)
    assert_same_tree(source, target / "source")
    assert helpers.has_idle


def test_helpers_are_started_where_none_were_brought(repository: Repository, source: Path, target: Path) -> None:
    many_files(source, 1200)

    assert restored(repository, backed_up(repository), RestoreRequest(target=target)).files_restored == 1200
    assert_same_tree(source, target / "source")


def test_what_is_right_already_is_not_written_again(repository: Repository, source: Path, target: Path) -> None:
    make_tree(source)
    snapshot = backed_up(repository)
    request = RestoreRequest(target=target)
    restored(repository, snapshot, request)
    (target / "source" / "text").chmod(0o600)
    inode = (target / "source" / "random").stat().st_ino

    again = restored(repository, snapshot, request)

    assert again.bytes_restored == 0
    assert (target / "source" / "random").stat().st_ino == inode
    assert_same_tree(source, target / "source")


@pytest.fixture
def two_versions(repository: Repository, source: Path, target: Path) -> Snapshot:
    """A snapshot in which each file says `then`, and a target in which it says another thing."""
    for name, when in (("older", 100), ("newer", 300), ("same time", 200), ("missing", 200)):
        (source / name).write_text("then")
        os.utime(source / name, ns=(when, when))
    snapshot = backed_up(repository)
    (target / "source").mkdir(parents=True)
    for name in ("older", "newer", "same time"):
        (target / "source" / name).write_text("here")
        os.utime(target / "source" / name, ns=(200, 200))
    return snapshot


@pytest.mark.parametrize(
    ("overwrite", "untouched"),
    [
        (Overwrite.ALWAYS, set[str]()),
        (Overwrite.IF_CHANGED, {"same time"}),
        (Overwrite.IF_NEWER, {"older", "same time"}),
        (Overwrite.NEVER, {"older", "newer", "same time"}),
    ],
)
def test_each_way_to_overwrite_touches_only_what_it_says(
    overwrite: Overwrite, untouched: set[str], repository: Repository, two_versions: Snapshot, target: Path
) -> None:
    result = restored(repository, two_versions, RestoreRequest(target=target, overwrite=overwrite))

    kept = {path.name for path in (target / "source").iterdir() if path.read_text() == "here"}
    assert kept == untouched
    assert (result.files_restored, result.files_unchanged) == (4 - len(untouched), len(untouched))


def test_what_the_snapshot_does_not_have_goes_only_if_that_is_wanted(
    repository: Repository, source: Path, target: Path
) -> None:
    (source / "folder").mkdir()
    (source / "folder" / "file").touch()
    snapshot = backed_up(repository)
    for extra in ("extra/deep", "source/extra/deep", "source/folder/extra"):
        (target / extra).mkdir(parents=True)
    (target / "source" / "outside").symlink_to(source)

    restored(repository, snapshot, RestoreRequest(target=target))
    assert (target / "source" / "folder" / "extra").exists()
    request = RestoreRequest(target=target, delete=True)
    assert restored(repository, snapshot, replace(request, dry_run=True)).deleted >= 4
    assert (target / "extra" / "deep").exists()
    assert restored(repository, snapshot, request).deleted == 6

    assert_same_tree(source, target / "source")
    assert [path.name for path in target.iterdir()] == ["source"]


def test_only_what_is_included_and_not_excluded_comes_back(
    repository: Repository, source: Path, target: Path, tmp_path: Path
) -> None:
    for name in ("a/b/one.txt", "a/b/two.log", "a/c/one.txt", "d/one.txt", "e/f/three"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    snapshot = backed_up(repository)

    restored(repository, snapshot, RestoreRequest(target=target, includes=("/source/a", "f"), excludes=("*.log",)))

    files = {str(path.relative_to(target / "source")) for path in target.rglob("*") if path.is_file()}
    assert files == {"a/b/one.txt", "a/c/one.txt", "e/f/three"}
    assert not (target / "source" / "d").exists()


def test_a_subfolder_or_a_single_file_can_be_the_root(repository: Repository, source: Path, target: Path) -> None:
    make_tree(source)
    snapshot = backed_up(repository)

    restored(repository, snapshot, RestoreRequest(target=target, subfolder=b"/source/deep"))
    restored(repository, snapshot, RestoreRequest(target=target, subfolder=b"source/text"))

    assert_same_tree(source / "deep" / "er", target / "er")
    assert (target / "text").read_bytes() == (source / "text").read_bytes()
    with pytest.raises(NotFound, match="nowhere"):
        restore(repository, snapshot, RestoreRequest(target=target, subfolder=b"/source/nowhere"))


def test_zeroes_become_holes_where_that_is_wanted(repository: Repository, source: Path, target: Path) -> None:
    content = b"begin" + bytes(20 << 20) + b"end"
    (source / "image").write_bytes(content)
    snapshot = backed_up(repository)

    restored(repository, snapshot, RestoreRequest(target=target, sparse=True))

    there = target / "source" / "image"
    assert there.read_bytes() == content
    assert there.stat().st_blocks * 512 < 2 << 20


def test_nothing_is_ever_written_through_a_link(
    repository: Repository, source: Path, target: Path, tmp_path: Path
) -> None:
    (source / "folder").mkdir()
    (source / "folder" / "file").write_text("restored")
    (source / "plain").write_text("restored")
    snapshot = backed_up(repository)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "victim").write_text("untouched")
    (target / "source").mkdir(parents=True)
    (target / "source" / "folder").symlink_to(elsewhere)
    (target / "source" / "plain").symlink_to(elsewhere / "victim")

    restored(repository, snapshot, RestoreRequest(target=target))

    assert [path.name for path in elsewhere.iterdir()] == ["victim"]
    assert (elsewhere / "victim").read_text() == "untouched"
    assert_same_tree(source, target / "source")


def test_a_tree_with_one_name_twice_leads_nowhere(repository: Repository, target: Path, tmp_path: Path) -> None:
    """A link and a folder of one name could lead a file through the link; only a forged tree has both."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    inner = stored_tree(repository, [Node(name=b"file", type=NodeType.FILE, content=(), mode=0o600)])
    link = Node(name=b"a", type=NodeType.SYMLINK, mode=SYMLINK | 0o777, link_target=os.fsencode(elsewhere))
    folder = Node(name=b"a", type=NodeType.DIR, subtree=inner)
    forged = stored_tree(
        repository, [Node(name=b"b", type=NodeType.DIR, subtree=stored_tree(repository, [link, folder]))]
    )

    result = restore(repository, Snapshot(time=Instant(1), tree=forged, paths=("/",)), RestoreRequest(target=target))

    assert [finding.kind for finding in result.findings] == [FindingKind.DAMAGED]
    assert list(elsewhere.iterdir()) == []


def stored_tree(repository: Repository, nodes: list[Node]) -> bytes:
    """A tree that no honest writer would make."""
    plain = f'{{"nodes":[{",".join(map(encode_node, nodes))}]}}\n'.encode()
    with Packer(repository) as packer:
        packer.add(seal_blob(repository.sealer, BlobType.TREE, plain))
    return blob_id(plain)


def test_a_folder_in_the_way_of_a_file_stays_unless_deleting_is_wanted(
    repository: Repository, source: Path, target: Path
) -> None:
    (source / "name").write_text("a file")
    snapshot = backed_up(repository)
    (target / "source" / "name" / "inside").mkdir(parents=True)

    result = restore(repository, snapshot, RestoreRequest(target=target))

    assert [(finding.path, finding.kind) for finding in result.findings] == [
        (os.fsencode(target / "source" / "name"), FindingKind.NOT_WRITTEN)
    ]
    restored(repository, snapshot, RestoreRequest(target=target, delete=True))
    assert (target / "source" / "name").read_text() == "a file"


def test_a_file_whose_blob_is_damaged_is_named_and_not_left_behind(
    repository: Repository, source: Path, target: Path, tmp_path: Path
) -> None:
    for at in range(3):
        (source / f"file{at}").write_bytes(random.Random(at).randbytes(3000))
    snapshot = backed_up(repository)
    bad = blob_id((source / "file1").read_bytes())
    damage(repository, tmp_path, bad)
    (target / "source").mkdir(parents=True)
    (target / "source" / "file1").write_text("the one before")

    result = restore(repository, snapshot, RestoreRequest(target=target))

    assert [(finding.path, finding.kind) for finding in result.findings] == [
        (os.fsencode(target / "source" / "file1"), FindingKind.DAMAGED)
    ]
    assert result.files_restored == 2
    assert {path.name: path.read_bytes()[:3] for path in (target / "source").iterdir()} == {
        "file0": (source / "file0").read_bytes()[:3], "file1": b"the", "file2": (source / "file2").read_bytes()[:3],
    }  # fmt: skip


def damage(repository: Repository, tmp_path: Path, blob: bytes) -> None:
    """Flip a bit of a stored blob on the disk."""
    place = repository.index.find(BlobType.DATA, blob)
    assert place is not None
    file = tmp_path / "repository" / path_of(FileType.DATA, place.pack.hex())
    content = bytearray(file.read_bytes())
    content[place.offset + 20] ^= 1
    file.chmod(0o600)
    file.write_bytes(content)


def test_a_damaged_blob_in_a_batch_for_a_helper_harms_no_other_file(
    repository: Repository, source: Path, target: Path, tmp_path: Path, helpers: HelperPool
) -> None:
    many_files(source, 300)
    snapshot = backed_up(repository)
    damage(repository, tmp_path, blob_id((source / "folder 1" / "file 150").read_bytes()))

    result = restore(repository, snapshot, RestoreRequest(target=target), helpers=helpers)

    assert [finding.path for finding in result.findings] == [os.fsencode(target / "source/folder 1/file 150")]
    assert result.files_restored == 299
    assert not (target / "source" / "folder 1" / "file 150").exists()


def test_another_copy_of_a_blob_saves_the_file(
    repository: Repository, source: Path, target: Path, tmp_path: Path
) -> None:
    content = random.Random(5).randbytes(3000)
    (source / "file").write_bytes(content)
    snapshot = backed_up(repository)
    damage(repository, tmp_path, blob_id(content))
    with Packer(repository) as packer:
        packer.add(seal_blob(repository.sealer, BlobType.DATA, content))

    restored(repository, snapshot, RestoreRequest(target=target))

    assert (target / "source" / "file").read_bytes() == content


def test_a_folder_whose_tree_is_damaged_is_named_and_the_rest_comes_back(
    repository: Repository, source: Path, target: Path
) -> None:
    good = stored_tree(repository, [Node(name=b"file", type=NodeType.FILE, content=(), mode=0o600)])
    nodes = [
        Node(name=b"bad", type=NodeType.DIR, mode=0o700, subtree=bytes(32)),
        Node(name=b"good", type=NodeType.DIR, mode=0o700, subtree=good),
    ]
    snapshot = Snapshot(time=Instant(1), tree=stored_tree(repository, nodes), paths=("/",))

    result = restore(repository, snapshot, RestoreRequest(target=target))

    assert [(finding.path, finding.kind) for finding in result.findings] == [
        (os.fsencode(target / "bad"), FindingKind.DAMAGED)
    ]
    assert (target / "good" / "file").read_bytes() == b""


def test_a_dry_run_counts_and_writes_nothing(repository: Repository, source: Path, target: Path) -> None:
    make_tree(source)
    snapshot = backed_up(repository)

    dry = restored(repository, snapshot, RestoreRequest(target=target, dry_run=True))

    assert not target.exists()
    real = restored(repository, snapshot, RestoreRequest(target=target))
    assert (dry.files_restored, dry.folders_restored, dry.others_restored, dry.bytes_restored) == (
        real.files_restored, real.folders_restored, real.others_restored, real.bytes_restored,
    )  # fmt: skip


def test_a_cancelled_restore_leaves_no_half_file(repository: Repository, source: Path, target: Path) -> None:
    for at in range(8):
        (source / f"file{at}").write_bytes(random.Random(at).randbytes(6 << 20))
    snapshot = backed_up(repository)
    cancelled = threading.Event()

    with pytest.raises(Cancelled):
        restore(
            repository, snapshot, RestoreRequest(target=target),
            progress=lambda progress: cancelled.set(), cancelled=cancelled, guard=cancelled.set,
        )  # fmt: skip

    for path in (target / "source").iterdir():
        assert path.read_bytes() == (source / path.name).read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_files_belong_to_whoever_is_asked_for(repository: Repository, source: Path, target: Path) -> None:
    (source / "file").touch()
    os.chown(source / "file", 12345, 23456)
    snapshot = backed_up(repository)

    owners = {}
    for ownership in Ownership:
        restored(repository, snapshot, RestoreRequest(target=target / ownership, ownership=ownership))
        found = (target / ownership / "source" / "file").stat()
        owners[ownership] = found.st_uid, found.st_gid

    assert owners == {
        Ownership.IDS: (12345, 23456), Ownership.NAMES: (12345, 23456), Ownership.NONE: (os.getuid(), os.getgid()),
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_names_win_over_numbers_where_both_are_known(repository: Repository, target: Path) -> None:
    file = Node(
        name=b"file", type=NodeType.FILE, content=(), mode=0o600, uid=4711, gid=4711, user="nobody", group="root"
    )
    snapshot = Snapshot(time=Instant(1), tree=stored_tree(repository, [file]), paths=("/",))

    restored(repository, snapshot, RestoreRequest(target=target, ownership=Ownership.NAMES))

    assert ((target / "file").owner(), (target / "file").group()) == ("nobody", "root")


def test_progress_ends_with_everything_done(repository: Repository, source: Path, target: Path) -> None:
    make_tree(source)
    snapshot = backed_up(repository)
    told: list[Progress] = []

    result = restore(repository, snapshot, RestoreRequest(target=target), progress=told.append)

    assert told[-1].files_done == told[-1].files_total == result.files_restored
    assert told[-1].bytes_done == result.bytes_restored


def test_half_a_file_of_a_helper_that_died_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    node = Node(name=b"file", type=NodeType.FILE, content=(bytes(32),), size=100)
    file = GrowingFile(os.fsencode(path), node, replaces=False, sparse=False, done=lambda file, written: None)
    assert file.as_small() is not None
    path.write_bytes(b"half")

    file.discard()

    assert not path.exists()


def test_only_the_very_content_is_taken_for_right(tmp_path: Path) -> None:
    path, node = tmp_path / "file", Node(name=b"file", type=NodeType.FILE, content=(blob_id(b"one"), blob_id(b"two!")))
    for content, is_right in ((b"onetwo!", True), (b"onetwo?", False), (b"onetwo", False), (b"onetwo!!", False)):
        path.write_bytes(content)
        assert holds(os.fsencode(path), node, [3, 4]) is is_right
