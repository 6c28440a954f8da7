"""Everything that is done for one file after the other in a folder: look, compare, read, hash, seal, describe.

None of it takes long for one file, so that threads would only hand the interpreter's lock to one another. Hence it is
done for batches of files, and is the same whether a batch is worked on in this process or in another: whoever has the
index answers through `Store`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol

import orjson

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import BlobId, BlobType, SealedBlob, seal_blob
from opsuite_repository.format.chunking import SMALLEST_CHUNK_BYTES
from opsuite_repository.format.gojson import quote
from opsuite_repository.format.sealing import Sealer
from opsuite_repository.format.times import parse_instant
from opsuite_repository.format.trees import Node, NodeType, encode_node
from opsuite_repository.pipeline.findings import Finding, FindingKind, reading_failed
from opsuite_repository.pipeline.nodes import node_of

LARGEST_SMALL_BYTES: Final = SMALLEST_CHUNK_BYTES
"""A file up to this size is one blob wherever a chunker might cut it."""
_TOGETHER_BYTES: Final = 2 << 20
"""So much content is read before the index is asked which of it is new."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are read and stored."""

    level: int | None = 3
    verify: bool = True
    read_all: bool = False
    ignore_inode: bool = False
    ignore_ctime: bool = False
    with_atime: bool = False
    exclude_larger_than: int | None = None


class Batch(NamedTuple):
    """Some entries of one folder that are not folders themselves."""

    folder: bytes
    names: Sequence[bytes]
    parent: bytes | None
    """The tree blob of the folder in the parent snapshot, or as much of it as concerns these names."""


class Deferred(NamedTuple):
    """A file too large for a batch: to be read by whoever cuts files into chunks."""

    path: bytes
    node: Node
    is_new: bool


@dataclass(slots=True)
class BatchResult:
    """What became of a batch."""

    nodes: list[str | Deferred | None] = field(default_factory=list)
    """For each name its JSON, or None where there is nothing to store."""
    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    size_bytes: int = 0
    """Of the content of those files."""
    findings: list[Finding] = field(default_factory=list)


class Store(Protocol):
    """Whoever knows the index and has the packs."""

    def known(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        """Which of these data blobs are in the index."""
        ...

    def claim(self, ids: Sequence[BlobId]) -> Sequence[bool]:
        """Which of these the caller has to bring."""
        ...

    def add(self, blobs: Sequence[SealedBlob]) -> None:
        """Bring them."""
        ...


class SmallFiles:
    """Works on batches; not for two threads at once."""

    def __init__(self, sealer: Sealer, reading: Reading, store: Store) -> None:
        self._sealer = sealer
        self._reading = reading
        self._store = store
        self._waiting: list[_Read] = []
        self._waiting_bytes = 0

    def close(self) -> None:
        """There is nothing to give back."""

    def process(self, batches: Iterable[Batch]) -> list[BatchResult]:
        """The result of each batch; new content has been brought to the store by then."""
        looked = [self._look(batch) for batch in batches]
        self._settle_unchanged(looked)
        for look in looked:
            for found in look.to_read:
                self._read(look.result, found)
        self._bring()
        return [look.result for look in looked]

    def _look(self, batch: Batch) -> _Look:
        look, previous = _Look(), _by_name(batch.parent)
        for at, name in enumerate(batch.names):
            path = batch.folder + name if batch.folder.endswith(b"/") else batch.folder + b"/" + name
            look.result.nodes.append(None)
            try:
                self._look_at(look, _Found(at, path, name), previous)
            except OSError as error:
                look.result.findings.append(reading_failed(path, error))
        return look

    def _look_at(self, look: _Look, found: _Found, previous: dict[str, dict[str, Any]]) -> None:
        status = os.lstat(found.path)
        if stat.S_ISSOCK(status.st_mode) or stat.S_ISDIR(status.st_mode):  # the latter was none when it was listed
            return
        most = self._reading.exclude_larger_than
        if most is not None and stat.S_ISREG(status.st_mode) and status.st_size > most:
            return
        node = node_of(found.name, found.path, status, with_atime=self._reading.with_atime)
        if node.type is not NodeType.FILE:
            look.result.nodes[found.at] = encode_node(node)
            return
        before = previous.get(quote(found.name))
        found.node, found.status, found.is_new = node, status, before is None
        content = None if before is None else self._unchanged_content(before, status)
        if content is None:
            look.to_read.append(found)
        else:
            node.content = content
            look.unchanged.append(found)

    def _unchanged_content(self, before: dict[str, Any], status: os.stat_result) -> tuple[BlobId, ...] | None:
        """The content that the file had, if all that can be seen from outside is as it was (restic's criteria)."""
        try:
            if (
                self._reading.read_all
                or before["type"] != "file"
                or before.get("size", 0) != status.st_size
                or (not self._reading.ignore_inode and before.get("inode", 0) != status.st_ino)
                or parse_instant(before["mtime"]).ns != status.st_mtime_ns
                or (not self._reading.ignore_ctime and parse_instant(before["ctime"]).ns != status.st_ctime_ns)
            ):
                return None
            return tuple(map(bytes.fromhex, before["content"] or ()))
        except (KeyError, TypeError, ValueError, Malformed):
            return None  # a parent that cannot be understood saves nothing, and costs nothing but reading

    def _settle_unchanged(self, looked: Iterable[_Look]) -> None:
        """Take the old content where the repository has all of it still; read the file where it has not."""
        looked = list(looked)
        ids = [id_ for look in looked for found in look.unchanged for id_ in found.node.content or ()]
        known = iter(self._store.known(ids)) if ids else iter(())
        for look in looked:
            for found in look.unchanged:
                if all([next(known) for _ in found.node.content or ()]):  # noqa: C419  # all of them have to be taken
                    look.result.files_unmodified += 1
                    look.result.size_bytes += found.node.size
                    look.result.nodes[found.at] = encode_node(found.node)
                else:
                    look.to_read.append(found)

    def _read(self, result: BatchResult, found: _Found) -> None:
        if found.status.st_size > LARGEST_SMALL_BYTES:
            result.nodes[found.at] = Deferred(found.path, found.node, found.is_new)
            return
        try:
            content, finding = read_small(found.path, found.status)
        except OSError as error:
            result.findings.append(reading_failed(found.path, error))
            return
        if content is None:  # it has grown
            result.nodes[found.at] = Deferred(found.path, found.node, found.is_new)
            return
        if finding:
            result.findings.append(finding)
        self._waiting.append(_Read(result, found, content))
        self._waiting_bytes += len(content)
        if self._waiting_bytes >= _TOGETHER_BYTES:
            self._bring()

    def _bring(self) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        ids = [sha256(read.content).digest() for read in waiting]
        full = [(id_, read.content) for id_, read in zip(ids, waiting, strict=True) if read.content]
        wanted = self._store.claim([id_ for id_, _ in full]) if full else ()
        blobs = [self._sealed(*each) for each, is_wanted in zip(full, wanted, strict=True) if is_wanted]
        if blobs:
            self._store.add(blobs)
        for id_, read in zip(ids, waiting, strict=True):
            read.finish(id_)

    def _sealed(self, id_: BlobId, content: bytes) -> SealedBlob:
        return seal_blob(
            self._sealer, BlobType.DATA, content, id_=id_, level=self._reading.level, verify=self._reading.verify
        )


class _Found:
    """One file that was looked at."""

    __slots__ = ("at", "is_new", "name", "node", "path", "status")
    node: Node
    status: os.stat_result
    is_new: bool

    def __init__(self, at: int, path: bytes, name: bytes) -> None:
        self.at = at
        self.path = path
        self.name = name


class _Look:
    """A batch after the first look."""

    def __init__(self) -> None:
        self.result = BatchResult()
        self.unchanged: list[_Found] = []
        self.to_read: list[_Found] = []


class _Read(NamedTuple):
    """A file whose content is here and not yet stored."""

    result: BatchResult
    found: _Found
    content: bytes

    def finish(self, id_: BlobId) -> None:
        node = self.found.node
        node.content = (id_,) if self.content else ()
        node.size = len(self.content)
        self.result.nodes[self.found.at] = encode_node(node)
        self.result.size_bytes += node.size
        if self.found.is_new:
            self.result.files_new += 1
        else:
            self.result.files_changed += 1


def read_small(path: bytes, expected: os.stat_result) -> tuple[bytes | None, Finding | None]:
    """The content, None if it has grown beyond what is small, and a finding if somebody writes to the file."""
    descriptor = _opened(path)
    try:
        content = os.read(descriptor, expected.st_size + 1)
        if len(content) == expected.st_size + 1 or (content and len(content) < expected.st_size):
            content += b"".join(_rest(descriptor, LARGEST_SMALL_BYTES + 1 - len(content)))
            if len(content) > LARGEST_SMALL_BYTES:
                return None, None
        after = os.fstat(descriptor)
        if not stat.S_ISREG(after.st_mode):
            raise _no_file()
        return content, changed(path, expected, after, len(content))
    finally:
        os.close(descriptor)


def _rest(descriptor: int, most: int) -> Iterator[bytes]:
    while most > 0 and (piece := os.read(descriptor, most)):
        most -= len(piece)
        yield piece


def open_to_read(path: bytes) -> int:
    """A descriptor that follows no link, waits for no pipe, and leaves the time of the last access alone if it may."""
    descriptor = _opened(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _no_file()
    return descriptor


def _opened(path: bytes) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # only the owner may ask for that
        return os.open(path, flags)


def _no_file() -> OSError:
    return FileNotFoundError(errno.ENOENT, "it is no file any more")


def changed(path: bytes, before: os.stat_result, after: os.stat_result, read_bytes: int) -> Finding | None:
    """A finding if the file is another than it was when it was looked at."""
    same = [(each.st_size, each.st_mtime_ns, each.st_ino) for each in (before, after)]
    if same[0] == same[1] and read_bytes == after.st_size:
        return None
    return Finding(path, FindingKind.CHANGED_WHILE_READ, f"it had {before.st_size} bytes, {read_bytes} were read")


def _by_name(tree: bytes | None) -> dict[str, dict[str, Any]]:
    """The nodes of a tree by their quoted names."""
    if tree is None:
        return {}
    try:
        return {node["name"]: node for node in orjson.loads(tree)["nodes"]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return {}
