"""Whether a repository is whole: its files, what refers to what and, when asked for, every byte of it.

A check goes on after everything it finds, names the file that is wrong and knows which repair is made for that. It
changes nothing, and a shared lock is enough; snapshots that are made meanwhile may be in it or not. What restic's
`check` calls an error is one here; see `HARMLESS` for what is none.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import pairwise

from opsuite_repository.check_report import (
    ALL,
    HARMLESS,
    CheckReport,
    CheckRequest,
    DamageKind,
    Finding,
    Percent,
    Read,
    Repair,
    Size,
    Subset,
)
from opsuite_repository.errors import Damaged, FileMissing, Malformed, Unsupported
from opsuite_repository.format import keys, snapshots
from opsuite_repository.format.blobs import BlobId, BlobType, PackId
from opsuite_repository.format.trees import Node, NodeType, decode_tree
from opsuite_repository.index_files import LoadedIndex, load_tolerantly
from opsuite_repository.pack_checking import check_packs
from opsuite_repository.pipeline.progress import Meter, ProgressSink
from opsuite_repository.pipeline.work import Course
from opsuite_repository.reachable import ReadTree, reachable_trees
from opsuite_repository.repository import Repository
from opsuite_repository.storage.port import FileType, path_of

__all__ = [
    "ALL", "HARMLESS", "CheckReport", "CheckRequest", "DamageKind", "Finding", "Percent", "Repair", "Size", "Subset",
    "check",
]  # fmt: skip


def check(
    repository: Repository,
    request: CheckRequest | None = None,
    *,
    progress: ProgressSink | None = None,
    cancelled: threading.Event | None = None,
    guard: Callable[[], None] | None = None,
) -> CheckReport:
    """Check everything that is metadata, and the packs that the request chooses. The index is loaded by this.

    Raises Cancelled, and what the storage raises when it cannot be reached; whatever is wrong is in the report. The
    files and bytes of `progress` are the packs that are read.
    """
    return _Check(repository, request or CheckRequest(), Course(cancelled, guard)).run(progress)


class _Check:
    def __init__(self, repository: Repository, request: CheckRequest, course: Course) -> None:
        self._repository = repository
        self._request = request
        self._course = course
        self._findings: list[Finding] = []
        self._trees = self._packs_read = self._bytes_read = 0

    def run(self, progress: ProgressSink | None) -> CheckReport:
        self._check_keys()
        roots = self._readable_roots()  # before the index, so that it has every blob of theirs
        loaded = load_tolerantly(self._repository)
        self._findings += [
            Finding(path_of(FileType.INDEX, name), DamageKind.INDEX_DAMAGED, error.why)
            for name, error in loaded.damaged.items()
        ]
        sizes = self._pack_sizes()
        self._findings += _wrong_sizes(loaded, sizes)
        for tree in reachable_trees(self._repository, roots):
            self._course.check()
            self._trees += 1
            self._findings += self._wrong_in_tree(tree)
        self._read_packs(loaded, sizes, progress)
        return CheckReport(
            findings=tuple(self._findings),
            snapshots=len(roots),
            trees=self._trees,
            packs=len(sizes),
            packs_read=self._packs_read,
            bytes_read=self._bytes_read,
        )

    def _check_keys(self) -> None:
        for name in [file.name for file in self._repository.storage.list(FileType.KEY)]:
            why = _wrong_with_key(self._repository, name)
            if why:
                self._findings.append(Finding(path_of(FileType.KEY, name), DamageKind.KEY_DAMAGED, why))

    def _readable_roots(self) -> list[BlobId]:
        roots = []
        for name, document in self._repository.try_documents(FileType.SNAPSHOT):
            try:
                if isinstance(document, Damaged):
                    raise document
                roots.append(snapshots.parse(document).tree)
            except (Damaged, Malformed) as error:
                self._findings.append(
                    Finding(path_of(FileType.SNAPSHOT, name), DamageKind.SNAPSHOT_DAMAGED, error.message)
                )
        return roots

    def _pack_sizes(self) -> dict[PackId, int]:
        return {bytes.fromhex(file.name): file.size for file in self._repository.storage.list(FileType.DATA)}

    def _wrong_in_tree(self, tree: ReadTree) -> Iterator[Finding]:
        file = f"tree {tree.id.hex()}"
        if tree.wrong is not None:
            yield Finding(file, DamageKind.TREE_DAMAGED, tree.wrong.why)
            return
        try:
            nodes = decode_tree(tree.content)
        except Malformed as error:
            yield Finding(file, DamageKind.TREE_DAMAGED, error.message)
            return
        if any(one.name >= other.name for one, other in pairwise(nodes)):
            yield Finding(file, DamageKind.TREE_DAMAGED, "its names are not in order")
        for node in nodes:
            yield from self._wrong_in_node(file, node)

    def _wrong_in_node(self, file: str, node: Node) -> Iterator[Finding]:
        if node.type is NodeType.DIR and node.subtree is None:
            yield Finding(file, DamageKind.TREE_DAMAGED, f"the directory {_shown(node)} has no tree")
        if node.type is NodeType.FILE:
            if node.content is None:
                yield Finding(file, DamageKind.TREE_DAMAGED, f"the file {_shown(node)} has no content")
            index, blobs = self._repository.index, node.content or ()
            missing = sum(index.find(BlobType.DATA, blob) is None for blob in blobs)
            if missing:
                why = f"{missing} of {len(blobs)} blobs of the file {_shown(node)} are in no pack of the index"
                yield Finding(file, DamageKind.BLOB_MISSING, why)

    def _read_packs(self, loaded: LoadedIndex, sizes: dict[PackId, int], progress: ProgressSink | None) -> None:
        chosen = [(pack, sizes[pack]) for pack in choose(self._request.read, sizes)]
        meter = Meter(progress, files_total=len(chosen), bytes_total=sum(size for _, size in chosen))
        told = {finding.file for finding in self._findings if finding.kind is DamageKind.PACK_DAMAGED}
        for checked in check_packs(self._repository, loaded, chosen):
            self._course.check()
            self._packs_read += 1
            self._bytes_read += checked.size_bytes
            self._findings += [finding for finding in checked.findings if finding.file not in told]
            meter.add(files=1, size_bytes=checked.size_bytes)
        meter.finish()


def choose(read: Read, sizes: dict[PackId, int]) -> list[PackId]:
    """The packs to read, by restic's rule where it has one: subsets go by the first byte of the name."""
    packs = sorted(sizes)
    match read:
        case None:
            return []
        case Subset(number, of):
            return [pack for pack in packs if pack[0] % of == number - 1]
        case Percent(percent):
            part = percent / 100
        case Size(size_bytes):
            part = min(1.0, size_bytes / (sum(sizes.values()) or 1))
    count = max(1, round(len(packs) * part))
    return random.sample(packs, min(count, len(packs)))


def _wrong_with_key(repository: Repository, name: str) -> str | None:
    try:
        stored = repository.storage.read(FileType.KEY, name)
        keys.parse(stored)
    except Damaged as error:
        return error.why
    except (Malformed, Unsupported) as error:
        return error.message
    except FileMissing:  # removed meanwhile
        return None
    return None if sha256(stored).hexdigest() == name else "its content is not what its name says"


def _wrong_sizes(loaded: LoadedIndex, sizes: dict[PackId, int]) -> Iterator[Finding]:
    """What the listing of packs alone can tell."""
    for pack, indexed in loaded.packs.items():
        file = path_of(FileType.DATA, pack.hex())
        if pack not in sizes:
            yield Finding(file, DamageKind.PACK_MISSING, f"the index names {indexed.blobs} blobs in it")
        elif sizes[pack] != indexed.size_bytes:
            why = f"it has {sizes[pack]} bytes; by the index it should have {indexed.size_bytes}"
            yield Finding(file, DamageKind.PACK_DAMAGED, why)
    for pack in sizes.keys() - loaded.packs.keys():
        yield Finding(path_of(FileType.DATA, pack.hex()), DamageKind.PACK_UNINDEXED, "no index names it")


def _shown(node: Node) -> str:
    return repr(node.name.decode("utf-8", "backslashreplace"))
