"""A server for restic's REST protocol, version 2, that only lets files be added.

Stock restic clients back up to `rest:http://user:password@host:port/user/…`. What is there stays: a client can neither
change nor delete anything but lock files. An upload becomes visible when its content is on disk and is what its name
says. TLS is the context given to `serve`, or a proxy before it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from aiohttp import web

from opsuite_repository.errors import (
    AlreadyExists,
    Damaged,
    FileMissing,
    StorageDenied,
    StorageFull,
    StorageUnavailable,
)
from opsuite_repository.storage.local import Incoming, LocalStorage, make_folders, translated
from opsuite_repository.storage.port import CONFIG_NAME, FileType, is_name
from opsuite_repository.storage.rest import LISTING
from opsuite_repository.storage.rest_users import Users

LARGEST_FILE: Final = 512 * 2**20
"""Bytes of one upload: four times restic's largest pack."""
SILENCE: Final = 120.0
"""Seconds without a byte after which an upload is given up."""

_PIECE: Final = 2**20
_SEGMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RESERVED: Final = frozenset({*FileType, "tmp"})
_DEEPEST: Final = 4
_OLD_LISTING: Final = "application/vnd.x.restic.rest.v1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Repositories:
    """The storages below a folder."""

    def __init__(self, root: Path) -> None:
        # kept, because opening one tidies its folder
        self.of = lru_cache(maxsize=1024)(lambda repository: LocalStorage(root.joinpath(*repository)))


class _Door:
    """Where passwords are checked: on one thread, so that guessing takes neither memory nor the threads of others."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._thread = ThreadPoolExecutor(1, "passwords")

    async def admits(self, name: str, password: str) -> bool:
        """Whether these are the name and password of a user. Nobody waits whose password was right before."""
        if self._users.recall(name, password):
            return True
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._users.check, name, password)

    async def close(self, _: web.Application) -> None:
        """End the thread; whoever is still waiting gets no answer."""
        self._thread.shutdown(wait=False, cancel_futures=True)


_DOOR: Final = web.AppKey("door", _Door)
_REPOSITORIES: Final = web.AppKey("repositories", _Repositories)


@dataclass(frozen=True, slots=True)
class Target:
    """What the path of a request means: a repository, and in it nothing more, a folder, or a file."""

    repository: tuple[str, ...]
    kind: FileType | None = None
    name: str | None = None


def target_of(raw_path: str) -> Target | None:
    """Understand a path as it stands in the request line; None for everything that is not plainly one of ours.

    Nothing is decoded: no name that is allowed needs an escape, so an escape can only be a trick.
    """
    segments = raw_path.removeprefix("/").split("/")
    if segments[-1] == CONFIG_NAME:
        return _target(segments[:-1], FileType.CONFIG, CONFIG_NAME)
    if len(segments) >= 2 and segments[-2] in _RESERVED:
        kind = FileType(segments[-2]) if segments[-2] in set(FileType) - {FileType.CONFIG} else None
        return None if kind is None else _target(segments[:-2], kind, segments[-1] or None)
    return _target(segments[:-1] if segments[-1] == "" else segments)


def _target(repository: list[str], kind: FileType | None = None, name: str | None = None) -> Target | None:
    if not 1 <= len(repository) <= _DEEPEST:
        return None
    if any(part in _RESERVED or _SEGMENT.fullmatch(part) is None for part in repository):
        return None
    if kind is not None and name is not None and not is_name(kind, name):
        return None
    return Target(tuple(repository), kind, name)


def application(root: Path, users: Users) -> web.Application:
    """The server's application: repositories below `root`, each user's below a folder of the user's name."""
    app = web.Application(middlewares=[_errors])
    app[_REPOSITORIES] = _Repositories(root)
    app[_DOOR] = _Door(users)
    app.on_cleanup.append(app[_DOOR].close)
    app.router.add_route("*", "/{path:.*}", _handle)
    return app


@asynccontextmanager
async def serve(
    app: web.Application, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """Serve until the block ends, and give the server's URL; port 0 takes a free one."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
        yield f"{'http' if tls is None else 'https'}://{host}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What a repository's errors are as responses."""
    try:
        return await handler(request)
    except FileMissing:
        return web.Response(status=404)
    except (AlreadyExists, StorageDenied):
        return web.Response(status=403)
    except StorageFull:
        return web.Response(status=507)
    except StorageUnavailable:
        return web.Response(status=503)
    except TimeoutError:  # the client fell silent
        return web.Response(status=408)


async def _handle(request: web.Request) -> web.StreamResponse:
    user = await _user(request)
    target = target_of(request.raw_path.partition("?")[0])
    if target is None:
        return web.Response(status=400)
    if target.repository[0] != user:
        return web.Response(status=403)
    storage = await asyncio.to_thread(request.app[_REPOSITORIES].of, target.repository)
    if target.kind is None:
        return await _create(request, storage)
    if target.name is None:
        return await _list(request, storage, target.kind)
    return await _file(request, storage, target.kind, target.name)


async def _user(request: web.Request) -> str:
    """The authenticated user of the request. Raises 401 for everybody else."""
    try:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        name, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        scheme, name, colon, password = "", "", "", ""
    if scheme.lower() == "basic" and colon and await request.app[_DOOR].admits(name, password):
        return name
    raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="repositories"'})


async def _create(request: web.Request, storage: LocalStorage) -> web.Response:
    if request.method != "POST" or request.query.get("create") != "true":
        return web.Response(status=403 if request.method == "DELETE" else 405)
    await asyncio.to_thread(_make_repository, storage.root)
    return web.Response()


def _make_repository(folder: Path) -> None:
    try:
        for kind in set(FileType) - {FileType.CONFIG}:
            make_folders(folder / kind, folder)
    except OSError as error:
        raise translated(error, "the repository") from error


async def _list(request: web.Request, storage: LocalStorage, kind: FileType) -> web.Response:
    if request.method not in ("GET", "HEAD"):
        return web.Response(status=405)
    files = await asyncio.to_thread(lambda: tuple(storage.list(kind)))
    if request.headers.get("Accept") == LISTING:
        entries = json.dumps([{"name": file.name, "size": file.size} for file in files])
        return web.Response(body=entries.encode(), content_type=LISTING)
    return web.Response(body=json.dumps([file.name for file in files]).encode(), content_type=_OLD_LISTING)


async def _file(request: web.Request, storage: LocalStorage, kind: FileType, name: str) -> web.StreamResponse:
    match request.method:
        case "GET" | "HEAD":
            await asyncio.to_thread(storage.size, kind, name)
            return web.FileResponse(storage.path(kind, name), headers={"Content-Type": "application/octet-stream"})
        case "POST":
            return await _receive(request, storage, kind, name)
        case "DELETE" if kind is FileType.LOCK:
            await asyncio.to_thread(storage.delete, kind, name)
            return web.Response()
        case "DELETE":
            return web.Response(status=403)
        case _:
            return web.Response(status=405)


async def _receive(request: web.Request, storage: LocalStorage, kind: FileType, name: str) -> web.Response:
    """Take an upload. Whatever goes wrong before its last byte leaves nothing behind."""
    if (request.content_length or 0) > LARGEST_FILE:
        return web.Response(status=413)
    digest, size = sha256(), 0
    with storage.incoming(kind, name) as incoming:
        while piece := await asyncio.wait_for(request.content.read(_PIECE), SILENCE):
            size += len(piece)
            if size > LARGEST_FILE:
                return web.Response(status=413)
            digest.update(piece)
            await asyncio.to_thread(incoming.write, piece)
        if kind is not FileType.CONFIG and digest.hexdigest() != name:
            return web.Response(status=400, text="the content is not what its name says")
        await asyncio.to_thread(_publish, incoming, storage, kind, name)
    return web.Response()


def _publish(incoming: Incoming, storage: LocalStorage, kind: FileType, name: str) -> None:
    """Make a verified upload visible. One that is there already is as good, unless it was damaged since: then it heals.

    Without this a client whose answer got lost could never finish: it may neither delete the file nor send it again.
    """
    try:
        incoming.publish()
    except AlreadyExists:
        if kind is FileType.CONFIG:  # its content proves nothing
            raise
        try:
            storage.read(kind, name)
        except Damaged:
            incoming.publish(replace=True)
