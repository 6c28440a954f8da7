"""Writing many small files, each of them one blob, without a word to anybody in between."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from opsuite_repository.errors import Malformed
from opsuite_repository.format.blobs import BlobId, open_blob
from opsuite_repository.format.sealing import Sealer
from opsuite_repository.pipeline.findings import Finding, writing_failed
from opsuite_repository.pipeline.metadata import Description, Metadata


class Landing(NamedTuple):
    """How restored files get their metadata."""

    by_name: bool = False
    owners: bool = True
    attributes: bool = True

    def metadata(self) -> Metadata:
        """What does it."""
        return Metadata(by_name=self.by_name, owners=self.owners, attributes=self.attributes)


class SmallFile(NamedTuple):
    """A file to write to a path where nothing is, and where its blob is in what was read."""

    path: bytes
    description: Description
    id: BlobId
    offset: int
    length: int
    uncompressed_length: int


class Written(NamedTuple):
    """What became of one file."""

    is_damaged: bool
    """The blob is not what it should be: another copy of it may be, and nothing was written."""
    findings: list[Finding]
    is_whole: bool


class SmallRestorer:
    """Writes them. Not for two threads at once."""

    def __init__(self, sealer: Sealer, landing: Landing) -> None:
        self._sealer = sealer
        self._metadata = landing.metadata()

    def write(self, stored: bytes, files: Sequence[SmallFile]) -> list[Written]:
        """What became of each file."""
        view = memoryview(stored)
        return [self._written(view[file.offset : file.offset + file.length], file) for file in files]

    def _written(self, stored: memoryview, file: SmallFile) -> Written:
        try:
            content = open_blob(self._sealer, file.id, stored, file.uncompressed_length)
        except Malformed:
            return Written(is_damaged=True, findings=[], is_whole=False)
        try:
            write_new(file.path, content)
        except OSError as error:
            return Written(is_damaged=False, findings=[writing_failed(file.path, error)], is_whole=False)
        return Written(is_damaged=False, findings=self._metadata.apply(file.path, file.description), is_whole=True)


def write_new(path: bytes, content: bytes) -> None:
    """A new file with that content, or none. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        os.unlink(path)  # noqa: PTH108  # the path is bytes
        raise
    finally:
        os.close(descriptor)
