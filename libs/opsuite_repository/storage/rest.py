"""A repository behind a server that speaks restic's REST protocol, version 2.

Source of the protocol: restic's documentation, "REST Backend". Every request may be repeated safely: files never
change, and their names follow from their content.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import queue
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation
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

Result = TypeVar("Result")
Body = bytes | bytearray | memoryview

LISTING: Final = "application/vnd.x.restic.rest.v2"
"""The media type by which version 2 of the protocol is asked for: listings with sizes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class RestStorage:
    """Storage behind a REST server: `http(s)://[user:password@]host[:port]/path/`."""

    def __init__(self, url: str, patience: Patience | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self._patience = patience or Patience()
        self._server = _Connections(url, self._patience.timeout, tls)
        self._now: datetime | None = None

    def list(self, kind: FileType) -> Iterator[StoredFile]:
        """Get the listing with sizes; names that are none of ours are left out."""
        if kind is FileType.CONFIG:
            with contextlib.suppress(FileMissing):
                yield StoredFile(CONFIG_NAME, self.size(kind, CONFIG_NAME))
            return
        with contextlib.suppress(FileMissing):  # stock servers have no folder before its first file
            yield from self._persist(lambda: self._listing(kind))

    def read(self, kind: FileType, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Get the file, or the range of it."""
        return self._persist(lambda: checked(kind, name, self._get(kind, name, offset, length), offset, length))

    def size(self, kind: FileType, name: str) -> int:
        """Ask for the length of the file without its content."""
        return self._persist(lambda: self._head(path_of(kind, name)))

    def write(self, kind: FileType, name: str, data: Body, *, create: bool = True) -> None:
        """Send the file. The protocol has no replacing: what is there has to be deleted, if the server lets us."""
        if kind is FileType.CONFIG:
            self._persist(lambda: self._expect("POST", "?create=true"))
        try:
            self._send(kind, name, data)
        except AlreadyExists:
            if create:
                raise
            self.delete(kind, name)
            self._send(kind, name, data)

    def delete(self, kind: FileType, name: str) -> None:
        """Ask the server to delete; an append-only one raises StorageDenied for everything but locks."""
        with contextlib.suppress(FileMissing):
            self._persist(lambda: self._expect("DELETE", path_of(kind, name)))

    def now(self) -> datetime | None:
        """The date of a fresh response, to the second."""
        with contextlib.suppress(FileMissing):
            self._persist(lambda: self._head(CONFIG_NAME))
        return self._now

    def close(self) -> None:
        """Close the idle connections."""
        self._server.close()

    def _persist(self, action: Callable[[], Result]) -> Result:
        return persist(action, self._patience)

    def _expect(self, method: str, path: str, body: Body | None = None, **headers: str) -> Answer:
        """The answer to a request, if it is one of success."""
        answer = self._server.ask(method, path, body, headers)
        with contextlib.suppress(KeyError, ValueError):
            self._now = parsedate_to_datetime(answer.headers["date"]).astimezone(UTC)
        if answer.status not in (200, 201, 204, 206):
            raise refusal(answer, path)
        return answer

    def _head(self, path: str) -> int:
        answer = self._expect("HEAD", path)
        try:
            return int(answer.headers["content-length"])
        except (KeyError, ValueError) as error:
            raise StorageUnavailable(f"{path}: the server does not tell its length") from error

    def _listing(self, kind: FileType) -> tuple[StoredFile, ...]:
        answer = self._expect("GET", f"{kind}/", Accept=LISTING)
        try:
            files = [StoredFile(str(entry["name"]), int(entry["size"])) for entry in json.loads(answer.body) or ()]
        except (ValueError, TypeError, KeyError) as error:
            raise StorageUnavailable(f"{kind}/: the server's listing cannot be read") from error
        return tuple(file for file in files if is_name(kind, file.name))

    def _get(self, kind: FileType, name: str, offset: int, length: int | None) -> bytes:
        path = path_of(kind, name)
        if offset == 0 and length is None:
            return self._expect("GET", path).body
        if length == 0:
            return self._beyond(path, offset)
        last = "" if length is None else str(offset + length - 1)
        answer = self._server.ask("GET", path, None, {"Range": f"bytes={offset}-{last}"})
        if answer.status == 416:
            return self._beyond(path, offset)
        if answer.status == 200:  # the server does not know ranges
            return answer.body[offset:] if length is None else answer.body[offset : offset + length]
        if answer.status != 206:
            raise refusal(answer, path)
        if not answer.headers.get("content-range", "").startswith(f"bytes {offset}-"):
            raise StorageUnavailable(f"{path}: the server sent another range than was asked for")
        return answer.body

    def _beyond(self, path: str, offset: int) -> bytes:
        """What lies between `offset` and an end that is not after it: nothing, if the file reaches that far."""
        size = self._head(path)
        if offset > size:
            raise Damaged(path, f"it ends at {size}, {offset} was asked for")
        return b""

    def _send(self, kind: FileType, name: str, data: Body) -> None:
        """Store under a name that is free. Raises AlreadyExists; content that is there already is as good as sent."""
        path = path_of(kind, name)
        try:
            self._persist(lambda: self._expect("POST", path, data))
        except (AlreadyExists, StorageDenied) as error:  # a stock server says Forbidden when the name is taken
            try:
                there = self.read(kind, name, 0, self.size(kind, name))
            except (FileMissing, StorageDenied):
                raise error from None
            if there != data:
                raise AlreadyExists(path) from error


class _Connections:
    """Connections to one server, each used by one thread at a time and kept while it works."""

    def __init__(self, url: str, timeout: float, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput([Violation("repository", "names no server: rest:https://host/path/", "ADDRESS")])
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/") + "/"
        self._timeout = timeout
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._headers = {"User-Agent": "opsuite"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def ask(self, method: str, path: str, body: Body | None, headers: Mapping[str, str]) -> Answer:
        """One request, one response. Raises StorageUnavailable when there was no whole response."""
        with contextlib.suppress(queue.Empty):
            connection = self._idle.get_nowait()
            # the server may have closed an idle connection: that says nothing about the server, so try a new one
            with contextlib.suppress(StorageUnavailable):
                return self._ask(connection, method, path, body, headers)
        return self._ask(self._connection(), method, path, body, headers)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Body | None,
        headers: Mapping[str, str],
    ) -> Answer:
        try:
            connection.request(method, self._base + _flat(path), body=body, headers={**self._headers, **headers})
            response = connection.getresponse()
            answer = Answer(
                response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
            )
        except ssl.SSLCertVerificationError as error:
            connection.close()
            raise StorageDenied(
                f"{self._host}: the server's certificate is not trusted: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise StorageUnavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        self._idle.put(connection)
        return answer

    def close(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


def refusal(answer: Answer, path: str) -> OpsuiteError:
    """The kind of error that a response other than success means."""
    message = f"{path}: the server answered {answer.status}"
    match answer.status:
        case 404:
            return FileMissing(path)
        case 401 | 403:
            return StorageDenied(message)
        case 409:
            return AlreadyExists(path)
        case 413 | 507:
            return StorageFull(message)
        case _:  # 400 too: a server that verifies names says so when bytes were changed on the way
            return StorageUnavailable(message, retry_after=_retry_after(answer))


def _retry_after(answer: Answer) -> timedelta | None:
    """The wait that the server asks for, if it says so in seconds."""
    seconds = answer.headers.get("retry-after", "")
    return timedelta(seconds=int(seconds)) if seconds.isascii() and seconds.isdigit() else None


def _flat(path: str) -> str:
    """The path of a file as the protocol has it: packs lie in one folder there."""
    folder, _, rest = path.partition("/")
    return f"{folder}/{rest.rpartition('/')[2]}" if folder == FileType.DATA else path
