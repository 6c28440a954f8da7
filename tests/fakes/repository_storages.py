"""Places for repositories that tests start: an S3 server and our REST server on loopback, and wires to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from fakes.faulty_wire import FaultyWire, faulty_wire
from moto.server import ThreadedMotoServer

from opsuite_repository.storage.rest_server import application, serve
from opsuite_repository.storage.rest_users import PasswordHash, Users

BUCKET = "backups"
PAGE = 5
"""Files on one page of a listing of the S3 server."""
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "MOTO_S3_DEFAULT_MAX_KEYS": str(PAGE),
}
USER = "alice"
PASSWORD = "open sesame"  # of a server that lives for one test
QUOTED_PASSWORD = "open%20sesame"  # the same in a URL


@dataclass(frozen=True, slots=True)
class Place:
    """A place for repositories: `address` takes a repository's name."""

    address: str
    wire: FaultyWire | None = None

    def of(self, repository: str) -> str:
        """The address of one repository."""
        return self.address + repository


def name_of(data: bytes) -> str:
    """The name that a file of this content has."""
    return sha256(data).hexdigest()


@contextlib.contextmanager
def s3_place() -> Iterator[Place]:
    """A bucket of an S3 server in this process."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        make = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")  # loopback
        urllib.request.urlopen(make).close()  # loopback
        with faulty_wire(port) as wire:
            yield Place(f"s3:http://127.0.0.1:{wire.port}/{BUCKET}/", wire)
    finally:
        server.stop()


@contextlib.contextmanager
def rest_place(root: Path) -> Iterator[Place]:
    """The repositories of one user of our REST server, which keeps them below `root`."""
    with rest_server(root) as url, faulty_wire(urlsplit(url).port or 0) as wire:
        yield Place(f"rest:http://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{wire.port}/{USER}/", wire)


@contextlib.contextmanager
def rest_server(root: Path, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Our REST server on a thread of its own, with one user; gives its URL."""
    app = application(root, Users({USER: PasswordHash.of(PASSWORD, log_cost=10)}))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    serving = serve(app, port=port, tls=tls)
    try:
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(60)
    finally:
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


WRITER = """
import os, sys
from hashlib import sha256
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import FileType
storage = open_storage(sys.argv[1])
while True:
    data = os.urandom(300_000)
    name = sha256(data).hexdigest()
    storage.write(FileType.DATA, name, data)
    print(name, flush=True)
"""
"""A program that stores files for ever and tells the name of each that is durable."""


def writer_command(address: str) -> list[str]:
    """How to start the writer."""
    return [sys.executable, "-c", WRITER, address]
