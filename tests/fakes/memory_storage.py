"""A repository's files in a dictionary, for tests that touch no disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from opsuite_repository.errors import AlreadyExists, Damaged, FileMissing
from opsuite_repository.storage.port import FileType, StoredFile, path_of


class MemoryStorage:
    """Keeps the promises of the port; `files` may be changed from outside, as disks do on their own."""

    def __init__(self) -> None:
        self.files: dict[tuple[FileType, str], bytes] = {}
        self.log: list[str] = []
        """What was written and deleted, in order."""

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        return iter([StoredFile(name, len(data)) for (each, name), data in self.files.items() if each is kind])

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._content(kind, name)
        end = len(content) if length is None else offset + length
        if end > len(content):
            raise Damaged(path_of(kind, name), "it ends too early")
        return content[offset:end]

    def size(self, kind: FileType, name: str) -> int:
        return len(self._content(kind, name))

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        content = bytes(data)
        if create and self.files.get((kind, name), content) != content:
            raise AlreadyExists(path_of(kind, name))
        self.files[kind, name] = content
        self.log.append(f"write {kind}")

    def delete(self, kind: FileType, name: str) -> None:
        self.files.pop((kind, name), None)
        self.log.append(f"delete {kind}")

    def now(self) -> datetime | None:
        return None

    def close(self) -> None:
        pass

    def _content(self, kind: FileType, name: str) -> bytes:
        try:
            return self.files[kind, name]
        except KeyError as error:
            raise FileMissing(path_of(kind, name)) from error
