"""Files that change, grow and vanish between two looks at them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from opsuite_kernel.errors import Unavailable
from opsuite_repository.format.blobs import BlobId, SealedBlob
from opsuite_repository.format.sealing import MasterKey, Sealer
from opsuite_repository.pipeline.engines import RemoteEngine
from opsuite_repository.pipeline.findings import FindingKind
from opsuite_repository.pipeline.folder_cache import FolderCache
from opsuite_repository.pipeline.processes import Helper, HelperPool
from opsuite_repository.pipeline.small_files import (
    LARGEST_SMALL_BYTES,
    Batch,
    BatchResult,
    Deferred,
    Reading,
    SmallFiles,
    changed,
    open_to_read,
    read_small,
)


class Everything:
    """A store that wants all there is, and remembers it."""

    def __init__(self) -> None:
        self.blobs: list[SealedBlob] = []

    def known(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        return [any(blob.id == id_ for blob in self.blobs) for id_ in ids]

    def claim(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        return [True for _ in ids]

    def add(self, blobs: Sequence[SealedBlob]) -> None:
        self.blobs += blobs


def processed(
    folder: Path, names: Sequence[str], parent: bytes | None = None, store: Everything | None = None
) -> BatchResult:
    files = SmallFiles(Sealer(MasterKey.random()), Reading(), store or Everything())
    (result,) = files.process([Batch(os.fsencode(folder), [os.fsencode(name) for name in names], parent)])
    return result


def test_a_file_that_vanished_after_it_was_listed_is_told_and_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("x")

    result = processed(tmp_path, ["gone", "here"])

    assert [finding.kind for finding in result.findings] == [FindingKind.VANISHED]
    assert [node is None for node in result.nodes] == [True, False]
    assert (result.files_new, result.size_bytes) == (1, 1)


def test_a_folder_or_socket_in_the_place_of_a_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    result = processed(tmp_path, ["folder"])

    assert (result.nodes, result.findings) == ([None], [])


def test_a_file_that_is_written_to_while_it_is_read_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    status = file.stat()
    file.write_bytes(b"before and after")

    content, finding = read_small(os.fsencode(file), status)

    assert content == b"before and after"
    assert finding is not None
    assert finding.kind is FindingKind.CHANGED_WHILE_READ


def test_a_file_that_was_replaced_between_two_looks_is_told(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        path.write_bytes(b"same")
        os.utime(path, ns=(1, 1))

    assert changed(b"x", one.stat(), one.stat(), 4) is None
    assert changed(b"x", one.stat(), other.stat(), 4) is not None
    assert changed(b"x", one.stat(), one.stat(), 3) is not None


def test_a_file_that_outgrew_a_batch_is_left_to_those_who_cut(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"small")
    status = file.stat()
    file.write_bytes(bytes(LARGEST_SMALL_BYTES + 1))

    assert read_small(os.fsencode(file), status) == (None, None)
    (node,) = processed(tmp_path, ["file"]).nodes
    assert isinstance(node, Deferred)
    assert node.is_new


def test_a_link_or_pipe_in_the_place_of_a_file_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")

    for name in ("link", "pipe"):
        with pytest.raises(OSError):  # which one depends on the system
            open_to_read(os.fsencode(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        read_small(os.fsencode(tmp_path / "pipe"), (tmp_path / "pipe").lstat())


@pytest.mark.parametrize(
    "change",
    [
        lambda node: node.update(size=4),
        lambda node: node.update(inode=node["inode"] + 1),
        lambda node: node.update(mtime="2001-01-01T00:00:00Z"),
        lambda node: node.update(ctime="2001-01-01T00:00:00Z"),
        lambda node: node.update(type="symlink"),
        lambda node: node.update(content=["00" * 32]),
        lambda node: node.update(content="nonsense"),
        lambda node: node.pop("mtime"),
        lambda node: node.update(name="other"),
    ],
    ids=["size", "inode", "mtime", "ctime", "kind", "lost blob", "nonsense", "no time", "name"],
)
def test_a_file_is_read_again_as_soon_as_anything_is_different(change: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    store = Everything()
    (first,) = processed(tmp_path, ["file"], store=store).nodes
    assert isinstance(first, str)
    node = orjson.loads(first)
    unchanged = processed(tmp_path, ["file"], orjson.dumps({"nodes": [node]}), store)
    assert (unchanged.files_unmodified, unchanged.nodes) == (1, [first])

    assert callable(change)
    change(node)
    result = processed(tmp_path, ["file"], orjson.dumps({"nodes": [node]}), store)

    assert result.files_unmodified == 0
    assert result.files_new + result.files_changed == 1
    assert result.nodes == [first]


def test_a_parent_that_cannot_be_understood_saves_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("abc")
    for parent in (b"{", b"[]", b'{"nodes":[{}]}', b'{"nodes":7}'):
        assert processed(tmp_path, ["file"], parent).files_new == 1


def test_a_fingerprint_tells_every_change_of_a_file(tmp_path: Path) -> None:
    file, folder, cache = tmp_path / "file", os.fsencode(tmp_path) + b"/", FolderCache()
    file.write_text("abc")
    seen = [cache.fingerprint(folder, [b"file"])]

    for change in (
        lambda: file.write_text("abd"),
        lambda: file.chmod(0o600),
        lambda: os.utime(file, ns=(1, 1)),
        lambda: (tmp_path / "second name").hardlink_to(file),
    ):
        change()
        seen.append(cache.fingerprint(folder, [b"file"]))
    seen.append(cache.fingerprint(folder, [b"second name"]))
    seen.append(cache.fingerprint(folder, [b"file", b"second name"]))

    assert None not in seen
    assert len(set(seen)) == len(seen)
    assert cache.fingerprint(folder, [b"missing"]) is None


def test_a_helper_that_died_waiting_is_replaced() -> None:
    pool = HelperPool(1)
    (helper,) = pool.lend()
    pool.take_back(helper, is_sound=True)
    helper.kill()

    (replaced,) = pool.lend()

    assert replaced is not helper
    assert replaced.is_alive
    pool.take_back(replaced, is_sound=True)
    pool.close()
    assert not replaced.is_alive


def test_a_helper_that_dies_working_is_told_and_not_used_again() -> None:
    pool = HelperPool(1)
    (helper,) = pool.lend()
    engine = RemoteEngine(helper, pool, MasterKey.random(), Reading(), Everything())
    helper.kill()

    with pytest.raises(Unavailable, match="helper"):
        engine.process([Batch(b"/", [b"etc"], None)])
    engine.close()

    assert not pool.has_idle
    pool.close()


def test_what_a_helper_raises_is_raised_here() -> None:
    pool = HelperPool(1)
    (helper,) = pool.lend()
    helper.send(("batches", []))
    with pytest.raises(RuntimeError, match="how to read"):
        helper.receive()
    pool.take_back(helper, is_sound=False)
    assert not pool.has_idle
    pool.close()
    assert pool.lend() == []


def test_a_helper_ends_when_its_socket_does() -> None:
    helper = Helper()
    assert helper.wait_until_ready()
    helper.close()
    assert not helper.is_alive
