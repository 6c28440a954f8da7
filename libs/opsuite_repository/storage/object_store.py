"""A repository in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

One request stores a whole object or nothing, on condition that the name is free. Asking again is left to us, not to
obstore, so that there is one set of bounds and every kind of failure falls under it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from opsuite_repository.errors import (
    AlreadyExists,
    Damaged,
    FileMissing,
    StorageDenied,
    StorageFull,
    StorageUnavailable,
)
from opsuite_repository.storage.checks import checked
from opsuite_repository.storage.port import CONFIG_NAME, FileType, StoredFile, is_name, path_of
from opsuite_repository.storage.retrying import Patience, persist

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

Result = TypeVar("Result")

PAGE: Final = 1000
"""Files that are listed at once, and at most listed again after a failure: what one answer of S3 holds."""
# obstore gives these answers no class of their own, only their text
_NO_CONDITIONS: Final = "501 Not Implemented"
_NOT_SATISFIABLE: Final = "416 "
_FULL: Final = ("507 ", "QuotaExceeded", "InsufficientStorage")


def client_options(patience: Patience, *, allow_http: bool = False) -> ClientConfig:
    """How long obstore may wait. The timeout is that of one whole request: also an upload can stall."""
    return {
        "allow_http": allow_http,
        "connect_timeout": timedelta(seconds=min(10.0, patience.timeout)),
        "timeout": timedelta(seconds=patience.timeout),
    }


def no_retries() -> RetryConfig:
    """Settings that leave asking again to `persist`."""
    return {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}


class ObjectStorage:
    """Storage in an object store that obstore can reach; keys are restic's paths below the store's prefix."""

    def __init__(self, store: ObjectStore, patience: Patience | None = None) -> None:
        self.store = store
        self._patience = patience or Patience()

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        """List by pages; after a failure in the middle it goes on behind the last name that was seen."""
        if kind is FileType.CONFIG:
            with contextlib.suppress(FileMissing):
                yield StoredFile(CONFIG_NAME, self.size(kind, CONFIG_NAME))
            return
        pages = _Pages(self.store, f"{kind}/")
        while page := self._ask(f"{kind}/", pages.next):
            for path, size in page:
                name = path.rpartition("/")[2]
                if is_name(kind, name) and path == path_of(kind, name):
                    yield StoredFile(name, size)

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Get the object, or the range of it."""
        path = path_of(kind, name)
        return self._ask(path, lambda: checked(kind, name, self._get(path, offset, length), offset, length))

    def size(self, kind: FileType, name: str) -> int:
        """Ask for the object's metadata."""
        path = path_of(kind, name)
        return self._ask(path, lambda: obstore.head(self.store, path)["size"])

    def write(self, kind: FileType, name: str, data: bytes | bytearray | memoryview, *, create: bool = True) -> None:
        """Put the object if the name is free. A repeated attempt may find what a lost one stored: fine."""
        path = path_of(kind, name)
        try:
            self._ask(path, lambda: self._put(path, data, create=create))
        except AlreadyExists:
            if self.size(kind, name) != len(data) or self.read(kind, name, 0, len(data)) != data:
                raise

    def delete(self, kind: FileType, name: str) -> None:
        """Delete the object."""
        path = path_of(kind, name)
        with contextlib.suppress(FileMissing):
            self._ask(path, lambda: obstore.delete(self.store, path))

    def now(self) -> None:
        """Return None: obstore does not show the dates of responses."""

    def close(self) -> None:
        """Leave the connections to obstore, which ends them when they are idle."""

    def _ask(self, subject: str, action: Callable[[], Result]) -> Result:
        return persist(lambda: _translated(subject, action), self._patience)

    def _get(self, path: str, offset: int, length: int | None) -> bytes:
        if offset == 0 and length is None:
            return obstore.get(self.store, path).bytes().to_bytes()
        if length == 0:  # no range can say so; the object has to be there all the same
            return self._beyond(path, offset)
        try:
            if length is not None:
                return obstore.get_range(self.store, path, start=offset, length=length).to_bytes()
            return obstore.get(self.store, path, options={"range": {"offset": offset}}).bytes().to_bytes()
        except BaseError as error:
            if _NOT_SATISFIABLE not in str(error):
                raise
            return self._beyond(path, offset)

    def _beyond(self, path: str, offset: int) -> bytes:
        """What lies between `offset` and an end that is not after it: nothing, if the object reaches that far."""
        size = obstore.head(self.store, path)["size"]
        if offset > size:
            raise Damaged(path, f"it ends at {size}, {offset} was asked for")
        return b""

    def _put(self, path: str, data: bytes | bytearray | memoryview, *, create: bool) -> None:
        try:
            obstore.put(self.store, path, data, mode="create" if create else "overwrite", use_multipart=False)
        except BaseError as error:
            knows_no_conditions = isinstance(error, NotSupportedError) or _NO_CONDITIONS in str(error)
            if not create or not knows_no_conditions:
                raise
            self._put_unless_seen(path, data)

    def _put_unless_seen(self, path: str, data: bytes | bytearray | memoryview) -> None:
        """For stores without conditional writes: a moment stays in which two writers of one name both succeed."""
        with contextlib.suppress(FileNotFoundError):
            obstore.head(self.store, path)
            raise AlreadyExists(path)
        obstore.put(self.store, path, data, mode="overwrite", use_multipart=False)


class _Pages:
    """A listing that can be taken up again after a failure; one stream as long as nothing fails."""

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self.store = store
        self._prefix = prefix
        self._last: str | None = None
        self._stream: Iterator[Sequence[ObjectMeta]] | None = None

    def next(self) -> list[tuple[str, int]]:
        """The paths and sizes of the next page; empty at the end."""
        if self._stream is None:
            self._stream = iter(obstore.list(self.store, self._prefix, offset=self._last, chunk_size=PAGE))
        try:
            page = [(meta["path"], meta["size"]) for meta in next(self._stream, ())]
        except BaseError:
            self._stream = None
            raise
        if page:
            self._last = page[-1][0]
        return page


def _translated(subject: str, action: Callable[[], Result]) -> Result:
    try:
        return action()
    except FileNotFoundError as error:
        raise FileMissing(subject) from error
    except (AlreadyExistsError, PreconditionError) as error:
        raise AlreadyExists(subject) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StorageDenied(f"{subject}: {_first_line(error)}") from error
    except (BaseError, OSError) as error:
        if any(sign in str(error) for sign in _FULL):
            raise StorageFull(f"{subject}: {_first_line(error)}") from error
        raise StorageUnavailable(f"{subject}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
