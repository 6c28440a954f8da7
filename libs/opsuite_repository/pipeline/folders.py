"""Folders on their way to becoming trees, and what a backup counts meanwhile."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from opsuite_repository.format.blobs import BlobId
from opsuite_repository.format.trees import Node
from opsuite_repository.pipeline.findings import Finding
from opsuite_repository.pipeline.folder_cache import Fingerprint, RememberedFolder
from opsuite_repository.pipeline.small_files import BatchResult


@dataclass(slots=True)
class Tally:
    """What was counted, by any number of threads."""

    files_new: int = 0
    files_changed: int = 0
    files_unmodified: int = 0
    dirs_new: int = 0
    dirs_changed: int = 0
    dirs_unmodified: int = 0
    size_bytes: int = 0
    """Of the content of all files."""
    findings: list[Finding] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, result: BatchResult) -> None:
        """Count the files of a batch."""
        with self._lock:
            self.files_new += result.files_new
            self.files_changed += result.files_changed
            self.files_unmodified += result.files_unmodified
            self.size_bytes += result.size_bytes
            self.findings += result.findings

    def add_folder(self, *, is_new: bool, is_unmodified: bool) -> None:
        """Count a folder."""
        with self._lock:
            self.dirs_new += is_new
            self.dirs_unmodified += is_unmodified
            self.dirs_changed += not (is_new or is_unmodified)

    def found(self, *findings: Finding) -> None:
        """Remember what went wrong."""
        with self._lock:
            self.findings += findings


class PendingFolder:
    """A folder of which some entries are still missing."""

    def __init__(
        self,
        path: bytes,
        node: Node | None,
        above: PendingFolder | None,
        place: int,
        before: BlobId | None,
    ) -> None:
        self.path = path
        self.node = node
        """None for the root, which has no name and no metadata."""
        self.above = above
        self.place = place
        """Which entry of the folder above it is."""
        self.before = before
        """Its tree in the parent snapshot."""
        self.names: list[bytes] = []
        self.folders: list[int] = []
        self.files: Fingerprint | None = None
        """What its files look like, where that is remembered; it is None from the moment one could not be stored."""
        self.unchanged: RememberedFolder | None = None
        """The folder at the last backup, if its files are still the same: nobody brings their nodes then."""
        self.nodes: list[str | None] = []
        """The JSON of each entry, by name; None for what is missing yet, or is not stored."""
        self._missing = 1  # whoever lists the folder counts as one
        self._lock = threading.Lock()

    def expect(self, names: list[bytes], folders: list[int]) -> None:
        """These entries are to come; those at the places `folders` are folders."""
        self.names, self.folders = names, folders
        self.nodes = [None] * len(names)
        with self._lock:
            self._missing += len(names)

    def complete(self, count: int = 1) -> bool:
        """So many have come, or never will; whether they were the last."""
        with self._lock:
            self._missing -= count
            return self._missing == 0

    def encode(self) -> bytes:
        """The tree."""
        return f'{{"nodes":[{",".join(filter(None, self.nodes))}]}}\n'.encode()
