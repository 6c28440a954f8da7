"""What can go wrong with a repository, each as one of the kernel's kinds."""

from __future__ import annotations

from typing import ClassVar

from opsuite_kernel.errors import Conflict, Denied, Exhausted, Internal, NotFound, Unauthenticated, Unavailable


class WrongPassword(Unauthenticated):
    """No key file of the repository opens with the given password."""

    reason: ClassVar[str] = "WRONG_PASSWORD"


class Damaged(Internal):
    """A file of the repository is not what it has to be; `file` names it, `why` says what is wrong with it."""

    reason: ClassVar[str] = "DAMAGED"

    def __init__(self, file: str, why: str) -> None:
        super().__init__(f"{file} is damaged: {why}", metadata={"file": file, "why": why})
        self.file = file
        self.why = why


class Locked(Conflict):
    """Somebody else works on the repository in a way that excludes what was asked for."""

    reason: ClassVar[str] = "LOCKED"

    def __init__(self, holder: str) -> None:
        super().__init__(f"the repository is locked by {holder}", metadata={"holder": holder})
        self.holder = holder


class AlreadyExists(Conflict):
    """A file of that name is there with other content; it was left as it is."""

    reason: ClassVar[str] = "ALREADY_EXISTS"

    def __init__(self, file: str) -> None:
        super().__init__(f"{file} exists already with other content", metadata={"file": file})
        self.file = file


class FileMissing(NotFound):
    """The storage answered, and holds no such file."""

    reason: ClassVar[str] = "FILE_MISSING"

    def __init__(self, file: str) -> None:
        super().__init__("file", file)
        self.file = file


class StorageDenied(Denied):
    """The storage refuses this to us: permissions, credentials, or a server that only lets files be added."""

    reason: ClassVar[str] = "STORAGE_DENIED"


class StorageFull(Exhausted):
    """No room, or a quota is reached; nothing was stored."""

    reason: ClassVar[str] = "STORAGE_FULL"


class StorageUnavailable(Unavailable):
    """The storage did not answer sensibly, although it was asked several times. A write may have taken effect."""

    reason: ClassVar[str] = "STORAGE_UNAVAILABLE"
