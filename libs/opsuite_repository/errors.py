"""What can go wrong with a repository, each as one of the kernel's kinds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from opsuite_kernel.errors import Conflict, Denied, Exhausted, Internal, NotFound, Unauthenticated, Unavailable


class RepositoryMissing(NotFound):
    """There is no repository at that place: no `config` file."""

    reason: ClassVar[str] = "REPOSITORY_MISSING"

    def __init__(self, place: str) -> None:
        super().__init__("repository", place)


class Unsupported(Conflict):
    """The file is sound but asks for what this version cannot do: a newer format, another key derivation."""

    reason: ClassVar[str] = "UNSUPPORTED"


class Malformed(Internal):
    """Bytes that are not what the format says. The codecs raise it; whoever knows the file makes it a `Damaged`."""

    reason: ClassVar[str] = "MALFORMED"


class Unauthentic(Malformed):
    """The seal does not fit: the bytes were changed, or sealed with another key."""

    reason: ClassVar[str] = "UNAUTHENTIC"


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


class LockLost(Conflict):
    """Our lock was removed or could not be refreshed in time: others may be changing the repository already."""

    reason: ClassVar[str] = "LOCK_LOST"


class Cancelled(Conflict):
    """Whoever asked for the work took it back. What was done so far does no harm, and helps the next try."""

    reason: ClassVar[str] = "CANCELLED"

    def __init__(self) -> None:
        super().__init__("cancelled")


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


@contextmanager
def naming(file: str) -> Iterator[None]:
    """Whatever is Malformed inside becomes Damaged: the same fault, with the name of the file that has it."""
    try:
        yield
    except Malformed as error:
        raise Damaged(file, error.message) from error
