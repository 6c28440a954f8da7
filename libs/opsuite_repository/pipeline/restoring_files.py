"""Everything in a restore that is no folder: files, their hard links, links, devices, pipes."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable

from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.pipeline.fetching import Fetcher, size_of
from opsuite_repository.pipeline.findings import Finding, FindingKind, writing_failed
from opsuite_repository.pipeline.metadata import description_of
from opsuite_repository.pipeline.placing import GrowingFile, clear, holds, make_other, status_of
from opsuite_repository.pipeline.progress import Meter
from opsuite_repository.pipeline.restore_request import Overwrite, Ownership, RestoreRequest
from opsuite_repository.pipeline.restoring_small import Landing, Written


class FileRestorer:
    """Decides what happens to each path, does it, and counts it."""

    def __init__(self, request: RestoreRequest, fetcher: Fetcher, meter: Meter) -> None:
        self._request = request
        self._fetcher = fetcher
        self._meter = meter
        self.landing = Landing(
            by_name=request.ownership is Ownership.NAMES,
            owners=request.ownership is not Ownership.NONE,
            attributes=request.extended_attributes,
        )
        """How files get their metadata."""
        self._metadata = self.landing.metadata()
        self._lock = threading.Lock()
        self._growing: set[GrowingFile] = set()
        self._first_of: dict[tuple[int, int], bytes] = {}
        self._links: list[tuple[bytes, bytes, Node]] = []
        self._to_verify: list[tuple[bytes, Node]] = []
        self.begun = self.restored = self.unchanged = self.others = self.restored_bytes = self.verified = 0
        self.findings: list[Finding] = []

    def found(self, *findings: Finding) -> None:
        """Remember what went wrong."""
        with self._lock:
            self.findings += findings

    def describe(self, path: bytes, node: Node) -> None:
        """Give what is at the path its metadata."""
        self.found(*self._metadata.apply(path, description_of(node)))

    def restore(self, path: bytes, node: Node, *, in_new_folder: bool) -> None:
        """Restore one entry, or start to. Raises OSError."""
        found = None if in_new_folder else status_of(path)
        if found is not None and self._is_kept(node, found):
            self._keep(node)
        elif node.type is NodeType.FILE:
            self._restore_file(path, node, found)
        elif self._request.dry_run:
            self.others += 1
        else:
            clear(path, found, whole_folders=self._request.delete)
            if make_other(path, node):
                self.others += 1
                self.describe(path, node)

    def _is_kept(self, node: Node, found: os.stat_result) -> bool:
        """Whether what is there is not to be touched at all."""
        match self._request.overwrite:
            case Overwrite.NEVER:
                return True
            case Overwrite.IF_NEWER:
                return found.st_mtime_ns >= node.mtime.ns
            case _:
                return False

    def _keep(self, node: Node) -> None:
        if node.type is NodeType.FILE:
            with self._lock:
                self.unchanged += 1
            self._meter.add(files=1, size_bytes=node.size)

    def _restore_file(self, path: bytes, node: Node, found: os.stat_result | None) -> None:
        if self._becomes_link(path, node):
            return
        if self._request.verify and not self._request.dry_run:
            self._to_verify.append((path, node))
        if found is not None and self._is_right(path, node, found):
            if not self._request.dry_run:
                self.describe(path, node)
            self._keep(node)
        elif self._request.dry_run:
            self._count(node.size)
        else:
            is_file = found is not None and stat.S_ISREG(found.st_mode)
            if not is_file:
                clear(path, found, whole_folders=self._request.delete)
            self._fill(path, node, replaces=is_file)

    def _becomes_link(self, path: bytes, node: Node) -> bool:
        """Whether an earlier path is the same file; this one is linked to it when it is complete."""
        if node.links < 2 or not node.inode:
            return False
        first = self._first_of.setdefault((node.device_id, node.inode), path)
        if first == path:
            return False
        self._links.append((path, first, node))
        return True

    def _is_right(self, path: bytes, node: Node, found: os.stat_result) -> bool:
        if not stat.S_ISREG(found.st_mode) or found.st_size != node.size:
            return False
        if self._request.overwrite is Overwrite.IF_CHANGED and found.st_mtime_ns == node.mtime.ns:
            return True
        places = self._fetcher.locate(node.content or ())
        known = [size_of(place) for place in places if place is not None]
        return len(known) == len(places) and holds(path, node, known)

    def _fill(self, path: bytes, node: Node, *, replaces: bool) -> None:
        self.begun += 1
        file = GrowingFile(path, node, replaces=replaces, sparse=self._request.sparse, done=self._filled)
        with self._lock:
            self._growing.add(file)
        places = self._fetcher.locate(node.content or ())
        offset = 0
        for id_, place in zip(node.content or (), places, strict=True):
            if place is None:
                file.miss(f"no pack of the index has the blob {id_.hex()}")
            else:
                self._fetcher.want(id_, place, file, offset)
                offset += size_of(place)
        file.planned()

    def _filled(self, file: GrowingFile, written: Written) -> None:
        """On the thread that brought the last blob."""
        with self._lock:
            self._growing.discard(file)
            self.findings += written.findings
        if written.is_whole:
            if not file.is_described:
                self.describe(file.path, file.node)
            self._count(file.written_bytes)

    def _count(self, size: int) -> None:
        with self._lock:
            self.restored += 1
            self.restored_bytes += size
        self._meter.add(files=1, size_bytes=size)

    def discard(self) -> None:
        """Remove files that will never be complete."""
        for file in self._growing:
            file.discard()

    def link(self) -> None:
        """Make the hard links."""
        for path, first, node in self._links:
            try:
                self._link(path, first, node)
            except OSError as error:
                self.found(writing_failed(path, error))

    def _link(self, path: bytes, first: bytes, node: Node) -> None:
        if not self._request.dry_run:
            found, source = status_of(path), status_of(first)
            if source is None or not stat.S_ISREG(source.st_mode):
                why = f"{os.fsdecode(first)}, to which it is a hard link, was not restored"
                self.found(Finding(path, FindingKind.NOT_WRITTEN, why))
                return
            if found is None or (found.st_dev, found.st_ino) != (source.st_dev, source.st_ino):
                clear(path, found, whole_folders=self._request.delete)
                os.link(first, path, follow_symlinks=False)  # the path is bytes
        self._count(0)

    def verify(self, check: Callable[[], None]) -> None:
        """Read everything again and compare it with what the snapshot says."""
        failed = {finding.path for finding in self.findings}
        for path, node in self._to_verify:
            check()
            if path not in failed:
                self._verify(path, node)

    def _verify(self, path: bytes, node: Node) -> None:
        places = self._fetcher.locate(node.content or ())
        sizes = [size_of(place) if place else 0 for place in places]
        try:
            if holds(path, node, sizes):
                self.verified += 1
            else:
                self.found(Finding(path, FindingKind.DIFFERENT, "the content is not that of the snapshot"))
        except OSError as error:
            self.found(writing_failed(path, error))
