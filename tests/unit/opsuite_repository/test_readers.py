"""ls, find, diff, dump and stats on repositories in memory: what restic is not asked about elsewhere."""

from __future__ import annotations

import io
import json
import struct
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import pytest
from fakes.memory_storage import MemoryStorage

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound
from opsuite_repository.diff import Change, diff
from opsuite_repository.dump import Archive, acl_text, dump
from opsuite_repository.errors import Damaged
from opsuite_repository.find import FindRequest, ObjectKind, Objects, find
from opsuite_repository.format import keys
from opsuite_repository.format.blobs import BlobId, BlobType, blob_id, seal_blob
from opsuite_repository.format.index import IndexedPack, encode_index
from opsuite_repository.format.modes import DIR, written
from opsuite_repository.format.packs import PackBuilder
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.times import Instant
from opsuite_repository.format.trees import ExtendedAttribute, Node, NodeType, encode_tree
from opsuite_repository.listing import listing, ncdu
from opsuite_repository.repository import Repository
from opsuite_repository.snapshot_walk import Broken, node_at, tree_at, walk
from opsuite_repository.stats import StatsMode, stats
from opsuite_repository.storage.port import FileType

Plan: TypeAlias = "Mapping[str, bytes | Node | Plan]"
TIME = Instant(1_700_000_000_123_456_789)
NOWHERE: BlobId = bytes(31) + b"?"


class Garden:
    """A repository in memory, in which trees are planted."""

    def __init__(self) -> None:
        self.repository = Repository.init(MemoryStorage(), "x", cost=keys.Cost(n=2, r=1, p=1))
        self.read: list[str] = []

    def plant(self, plan: Plan, **about: Any) -> BlobId:
        """The tree with these files and folders."""
        nodes = [self.node(name.encode(), content, about) for name, content in sorted(plan.items())]
        return self.store(BlobType.TREE, encode_tree(nodes))

    def node(self, name: bytes, content: bytes | Node | Plan, about: dict[str, Any]) -> Node:
        if isinstance(content, Node):
            content.name = name
            return content
        if isinstance(content, bytes):
            blobs = (self.store(BlobType.DATA, content),) if content else ()
            about = {"size": len(content)} | about
            return Node(name=name, type=NodeType.FILE, mode=0o644, mtime=TIME, links=1, content=blobs, **about)
        return Node(name=name, type=NodeType.DIR, mode=DIR | 0o755, mtime=TIME, subtree=self.plant(content, **about))

    def store(self, kind: BlobType, content: bytes) -> BlobId:
        builder = PackBuilder(self.repository.sealer)
        builder.add(seal_blob(self.repository.sealer, kind, content))
        pack = builder.finish()
        self.repository.write_pack(pack)
        self.repository.write_document(FileType.INDEX, encode_index([IndexedPack(pack.id, pack.entries)]))
        self.repository.load_index()
        return blob_id(content)


def a_folder(subtree: BlobId | None) -> Node:
    return Node(name=b"", type=NodeType.DIR, mode=DIR | 0o755, mtime=TIME, subtree=subtree)


@pytest.fixture
def garden() -> Garden:
    return Garden()


PLAN: Plan = {"a": b"one", "folder": {"b": b"two", "deep": {"c.txt": b"three"}}, "z": b""}


def test_a_walk_gives_a_folder_before_what_is_in_it(garden: Garden) -> None:
    tree = garden.plant(PLAN)

    paths = [visited.path for visited in walk(garden.repository, tree)]

    assert paths == [b"/a", b"/folder", b"/folder/b", b"/folder/deep", b"/folder/deep/c.txt", b"/z"]


def test_a_walk_goes_on_behind_what_cannot_be_read_if_somebody_is_told(garden: Garden) -> None:
    tree = garden.plant({"bad": a_folder(NOWHERE), "worse": a_folder(None), "z": b"good"})
    broken: list[Broken] = []

    paths = [visited.path for visited in walk(garden.repository, tree, broken=broken.append)]

    assert paths == [b"/bad", b"/worse", b"/z"]
    assert [each.path for each in broken] == [b"/bad", b"/worse"]
    with pytest.raises(Damaged):
        list(walk(garden.repository, tree))


def test_paths_lead_to_folders_and_entries(garden: Garden) -> None:
    tree = garden.plant(PLAN)

    assert node_at(garden.repository, tree, b"folder/deep/c.txt").size == 5
    assert node_at(garden.repository, tree, b"/folder/").subtree == tree_at(garden.repository, tree, b"/folder")
    assert tree_at(garden.repository, tree, b"/") == tree_at(garden.repository, tree, b"") == tree
    for absent in (b"/nothing", b"/a/b", b"/folder/c.txt"):
        with pytest.raises(NotFound):
            node_at(garden.repository, tree, absent)
    with pytest.raises(NotFound):
        tree_at(garden.repository, tree, b"/a")


def test_folders_of_a_listing_begin_at_the_top(garden: Garden) -> None:
    tree = garden.plant(PLAN)

    with pytest.raises(InvalidInput):
        list(listing(garden.repository, tree, [b"folder"]))
    assert [each.path for each in listing(garden.repository, tree, [b"/folder"])] == [
        b"/folder", b"/folder/b", b"/folder/deep",
    ]  # fmt: skip


def test_the_file_for_ncdu_nests_as_the_folders_do(garden: Garden) -> None:
    snapshot = Snapshot(time=TIME, tree=garden.plant(PLAN), paths=("/",))

    entries = walk(garden.repository, snapshot.tree)
    top = json.loads("\n".join(ncdu(snapshot, entries)))[3]

    assert _names(top) == ["/", "a", ["folder", "b", ["deep", "c.txt"]], "z"]
    assert top[1]["asize"] == 3
    assert top[1]["dsize"] == 512


def _names(entry: Any) -> Any:
    return [_names(each) for each in entry] if isinstance(entry, list) else entry["name"]


def test_a_search_goes_on_behind_a_folder_that_is_broken(garden: Garden) -> None:
    tree = garden.plant({"bad": a_folder(NOWHERE), "folder": {"b.txt": b"two"}})
    broken: list[Broken] = []

    found = [
        each.path for each in find(garden.repository, tree, FindRequest(patterns=("*.txt",)), broken=broken.append)
    ]

    assert found == [b"/folder/b.txt"]
    assert [each.path for each in broken] == [b"/bad"]


def test_ids_are_looked_for_by_their_beginning_and_have_to_be_known(garden: Garden) -> None:
    tree = garden.plant(PLAN)
    blob = blob_id(b"three").hex()

    (reference,) = Objects(garden.repository, ObjectKind.BLOB, [blob[:12].upper()]).references(garden.repository, tree)
    (top,) = Objects(garden.repository, ObjectKind.TREE, [tree.hex()]).references(garden.repository, tree)

    assert (reference.id, reference.path) == (blob, b"/folder/deep/c.txt")
    assert reference.parent_tree == tree_at(garden.repository, tree, b"/folder/deep").hex()
    assert top.path == b"/"
    for kind, typed in ((ObjectKind.TREE, blob), (ObjectKind.PACK, blob), (ObjectKind.BLOB, "0" * 64)):
        with pytest.raises(NotFound):
            Objects(garden.repository, kind, [typed])
    for wrong in ("", "xyz"):
        with pytest.raises(InvalidInput):
            Objects(garden.repository, ObjectKind.BLOB, [wrong])


def changes(garden: Garden, one: BlobId, other: BlobId, *, metadata: bool = False) -> list[Change]:
    found: list[Change] = []
    diff(garden.repository, one, other, found=found.append, metadata=metadata)
    return found


def test_content_that_changed_by_itself_is_suspicious(garden: Garden) -> None:
    one, other = garden.plant({"a": b"one"}), garden.plant({"a": b"two"})
    touched = garden.plant({"a": b"two"}, ctime=Instant(5))

    assert changes(garden, one, other) == [Change(b"/a", "M?")]
    assert changes(garden, one, touched) == [Change(b"/a", "M")]


def test_the_zone_of_a_time_is_no_change(garden: Garden) -> None:
    one = garden.plant({"a": b"one"}, ctime=Instant(5))
    zoned, later = garden.plant({"a": b"one"}, ctime=Instant(5, 60)), garden.plant({"a": b"one"}, ctime=Instant(6))

    assert one != zoned
    assert changes(garden, one, zoned, metadata=True) == []
    assert changes(garden, one, later, metadata=True) == [Change(b"/a", "U")]
    assert changes(garden, one, later) == []


def test_what_moved_is_added_and_removed_and_takes_no_room(garden: Garden) -> None:
    one, other = garden.plant({"x": {"big": b"b" * 999}}), garden.plant({"y": {"big": b"b" * 999}})
    found: list[Change] = []

    counted = diff(garden.repository, one, other, found=found.append)

    assert found == [Change(b"/x/", "-"), Change(b"/x/big", "-"), Change(b"/y/", "+"), Change(b"/y/big", "+")]
    assert (counted.added.files, counted.added.dirs, counted.added.data_blobs, counted.added.tree_blobs) == (1, 1, 0, 1)


def test_differences_go_on_behind_what_is_broken_if_somebody_is_told(garden: Garden) -> None:
    one = garden.plant({"bad": {"x": b"x"}, "z": b"one"})
    other = garden.plant({"bad": a_folder(NOWHERE), "z": b"two"})
    broken: list[Broken] = []
    found: list[Change] = []

    diff(garden.repository, one, other, found=found.append, broken=broken.append)

    assert Change(b"/z", "M?") in found
    assert broken[0].path == b"/bad/"
    with pytest.raises(Damaged):
        diff(garden.repository, one, other, found=found.append)


def deep(garden: Garden, levels: int, content: bytes) -> BlobId:
    """A file below so many folders, all of it in one pack each of trees and data."""
    trees = PackBuilder(garden.repository.sealer)
    nodes = [garden.node(b"file", content, {})]
    for _ in range(levels):
        plain = encode_tree(nodes)
        trees.add(seal_blob(garden.repository.sealer, BlobType.TREE, plain))
        nodes = [a_folder(blob_id(plain))]
        nodes[0].name = b"d"
    pack = trees.finish()
    garden.repository.write_pack(pack)
    garden.repository.write_document(FileType.INDEX, encode_index([IndexedPack(pack.id, pack.entries)]))
    return garden.store(BlobType.TREE, encode_tree(nodes))


def test_folders_may_be_nested_deeper_than_calls(garden: Garden) -> None:
    levels = sys.getrecursionlimit()
    one, other, none = deep(garden, levels, b"one"), deep(garden, levels, b"other"), garden.plant({})

    assert [each.modifier for each in changes(garden, one, other)] == ["M"]
    assert len(changes(garden, one, none)) == levels + 1
    assert changes(garden, garden.plant({"x": a_folder(one)}), garden.plant({"x": a_folder(one), "y": b"y"})) == [
        Change(b"/y", "+")
    ]
    assert sum(1 for _ in walk(garden.repository, one)) == levels + 1


def dumped(garden: Garden, tree: BlobId, path: bytes = b"/", archive: Archive = Archive.TAR) -> io.BytesIO:
    out = io.BytesIO()
    dump(garden.repository, tree, path, out, archive)
    out.seek(0)
    return out


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("path", [b"/a", b"/"])
def test_a_file_that_is_not_as_long_as_said_is_never_dumped_silently(garden: Garden, size: int, path: bytes) -> None:
    tree = garden.plant({"a": b"one"}, size=size)

    with pytest.raises((Damaged, OSError)):
        dumped(garden, tree, path)


def test_only_files_and_folders_are_dumped(garden: Garden) -> None:
    tree = garden.plant({"link": Node(name=b"", type=NodeType.SYMLINK, link_target=b"a")})

    with pytest.raises(Conflict):
        dumped(garden, tree, b"/link")
    with pytest.raises(NotFound):
        dumped(garden, tree, b"/nothing")


ACL = struct.pack("<IHHIHHIHHI", 2, 0x01, 7, 0xFFFFFFFF, 0x02, 4, 1000, 0x20, 1, 0xFFFFFFFF)


def test_an_archive_holds_attributes_times_and_devices(garden: Garden) -> None:
    attributes = (
        ExtendedAttribute("user.raw", b"\xff\0"),
        ExtendedAttribute("system.posix_acl_access", ACL),
        ExtendedAttribute("system.posix_acl_default", b"rubbish"),
    )
    disk = Node(name=b"", type=NodeType.BLOCK_DEVICE, device=0x801, mtime=Instant(-5 * 10**9))
    socket = Node(name=b"", type=NodeType.SOCKET)
    tree = garden.plant({"a": b"one", "disk": disk, "socket": socket}, extended_attributes=attributes)

    with tarfile.open(fileobj=dumped(garden, tree), encoding="utf-8", errors="surrogateescape") as tar:
        file, device = tar.getmembers()

    assert file.pax_headers["mtime"] == "1700000000.123456789"
    assert file.pax_headers["SCHILY.xattr.user.raw"].encode("utf-8", "surrogateescape") == b"\xff\0"
    assert file.pax_headers["SCHILY.acl.access"] == "user::rwx\nuser:1000:r--\nother::--x\n"
    assert "SCHILY.acl.default" not in file.pax_headers
    assert (device.isblk(), device.devmajor, device.devminor) == (True, 8, 1)


@pytest.mark.parametrize("acl", [b"", b"\2\0\0\0\1", b"\1\0\0\0", struct.pack("<IHHI", 2, 3, 7, 0)])
def test_what_is_no_acl_is_left_out(acl: bytes) -> None:
    assert acl_text(acl) is None


def test_times_that_zip_cannot_hold_become_the_nearest_year(garden: Garden) -> None:
    nodes = cast(
        "Plan",
        {
            "old": Node(name=b"", type=NodeType.FILE, mtime=Instant(0), content=()),
            "young": Node(name=b"", type=NodeType.FILE, mtime=Instant(200 * 366 * 86_400 * 10**9), content=()),
        },
    )

    with zipfile.ZipFile(dumped(garden, garden.plant(nodes), archive=Archive.ZIP)) as archive:
        assert [each.date_time[0] for each in archive.infolist()] == [1980, 2107]


def test_hard_links_are_restored_once_for_each_snapshot(garden: Garden) -> None:
    linked = garden.plant({"a": b"one", "b": b"one", "c": b"one"}, inode=7)
    for_one = stats(garden.repository, [linked], StatsMode.RESTORE_SIZE)
    assert (for_one.size, for_one.files) == (9, 3)  # `links` says that they are none

    nodes = {
        name: Node(name=b"", type=NodeType.FILE, links=2, inode=inode, size=10, content=())
        for name, inode in (("a", 7), ("b", 7), ("c", 8), ("d", 0), ("e", 0))
    }
    tree = garden.plant(cast("Plan", nodes))

    assert stats(garden.repository, [tree, tree], StatsMode.RESTORE_SIZE).size == 2 * 40


@pytest.mark.parametrize("mode", [StatsMode.BLOBS_PER_FILE, StatsMode.RAW_DATA])
def test_a_blob_that_no_pack_has_is_not_counted_as_nothing(garden: Garden, mode: StatsMode) -> None:
    tree = garden.plant({"a": Node(name=b"", type=NodeType.FILE, content=(NOWHERE,))})

    with pytest.raises(Damaged):
        stats(garden.repository, [tree], mode)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (DIR | 0o755, "drwxr-xr-x"),
        (0o644, "-rw-r--r--"),
        (1 << 27 | 0o777, "Lrwxrwxrwx"),
        (DIR | 1 << 20 | 0o777, "dtrwxrwxrwx"),
        (1 << 23 | 1 << 22 | 0o711, "ugrwx--x--x"),
        (1 << 26 | 1 << 21 | 0o600, "Dcrw-------"),
        (1 << 25 | 0o600, "prw-------"),
        (1 << 24, "S---------"),
    ],
)
def test_modes_are_written_as_go_writes_them(mode: int, text: str) -> None:
    assert written(mode) == text
