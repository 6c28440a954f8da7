"""The append-only REST server with stock restic clients, with bad requests, and behind TLS."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from authority import an_authority
from components import program
from fakes.repository_storages import PASSWORD, QUOTED_PASSWORD, USER, name_of, rest_server

from opsuite_repository.errors import AlreadyExists, StorageDenied, StorageUnavailable
from opsuite_repository.storage.open import open_storage
from opsuite_repository.storage.port import CONFIG_NAME, FileType
from opsuite_repository.storage.rest import RestStorage
from opsuite_repository.storage.retrying import Patience

CONTENT = b"content"
NAME = name_of(CONTENT)
QUICK = Patience(attempts=2, first_wait=0.01, timeout=60.0)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with rest_server(tmp_path / "served") as url:
        yield url


def repository(url: str, name: str = "laptop") -> str:
    return f"rest:{url.replace('://', f'://{USER}:{QUOTED_PASSWORD}@')}{USER}/{name}/"


def status(
    url: str, method: str, path: str, body: bytes | None = None, *, user: str = USER, password: str = PASSWORD
) -> int:
    """The status of one request with exactly this path."""
    credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
    with contextlib.closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        connection.request(method, path, body, {"Authorization": f"Basic {credentials}"})
        return connection.getresponse().status


class Restic:
    """A stock restic client of one repository."""

    def __init__(self, repository: str, home: Path) -> None:
        self._program = program("restic", "tools/restic/build.sh")
        self._environment = {**os.environ, "HOME": str(home), "RESTIC_REPOSITORY": repository, "RESTIC_PASSWORD": "p"}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._program, "--no-cache", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def must(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_stock_restic_backs_up_checks_and_restores_but_deletes_nothing(url: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(3_000_000))
    (source / "small").write_text("a little")
    restic = Restic(repository(url), tmp_path)
    restic.must("init")
    restic.must("backup", str(source))
    (source / "small").write_text("a little more")
    restic.must("backup", str(source))
    kept = files_below(tmp_path / "served")

    refused = restic.run("forget", "--keep-last", "1", "--prune")

    assert refused.returncode != 0
    assert kept <= files_below(tmp_path / "served")
    restic.must("check", "--read-data")
    restic.must("restore", "latest", "--verify", "--target", str(tmp_path / "restored"))
    assert files_below(source) == files_below(tmp_path / "restored" / source.relative_to("/"))
    assert list((tmp_path / "served" / USER / "laptop" / "locks").iterdir()) == []


def files_below(folder: Path) -> set[tuple[str, bytes]]:
    """Paths and contents of all files but locks, which come and go."""
    return {
        (str(path.relative_to(folder)), path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "locks"
    }


@pytest.mark.parametrize("kind", [FileType.KEY, FileType.DATA, FileType.INDEX, FileType.SNAPSHOT])
def test_what_is_stored_can_be_neither_deleted_nor_replaced(url: str, kind: FileType) -> None:
    with contextlib.closing(open_storage(repository(url), patience=QUICK)) as storage:
        storage.write(kind, NAME, CONTENT)

        with pytest.raises(StorageDenied):
            storage.delete(kind, NAME)
        with pytest.raises(StorageUnavailable, match="400"):
            storage.write(kind, NAME, b"other", create=False)

        assert storage.read(kind, NAME) == CONTENT


def test_the_config_can_be_neither_deleted_nor_replaced(url: str) -> None:
    with contextlib.closing(open_storage(repository(url), patience=QUICK)) as storage:
        storage.write(FileType.CONFIG, CONFIG_NAME, b"config")

        with pytest.raises(StorageDenied):
            storage.delete(FileType.CONFIG, CONFIG_NAME)
        with pytest.raises(AlreadyExists):
            storage.write(FileType.CONFIG, CONFIG_NAME, b"other")
        with pytest.raises(StorageDenied):
            storage.write(FileType.CONFIG, CONFIG_NAME, b"other", create=False)

        assert status(url, "DELETE", f"/{USER}/laptop/") == 403
        assert storage.read(FileType.CONFIG, CONFIG_NAME) == b"config"


def test_an_upload_that_is_not_what_its_name_says_is_refused_and_leaves_nothing(url: str, tmp_path: Path) -> None:
    assert status(url, "POST", f"/{USER}/laptop/data/{NAME}", b"other") == 400

    assert files_below(tmp_path / "served") == set()


def test_an_upload_of_what_was_damaged_since_heals_it(url: str, tmp_path: Path) -> None:
    with contextlib.closing(open_storage(repository(url), patience=QUICK)) as storage:
        storage.write(FileType.DATA, NAME, CONTENT)
        stored = tmp_path / "served" / USER / "laptop" / "data" / NAME[:2] / NAME
        stored.chmod(0o600)
        stored.write_bytes(b"damaged")

        storage.write(FileType.DATA, NAME, CONTENT)

        assert storage.read(FileType.DATA, NAME) == CONTENT


def test_an_upload_that_breaks_off_leaves_nothing(url: str, tmp_path: Path) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    connection.putrequest("POST", f"/{USER}/laptop/config")
    connection.putheader("Authorization", f"Basic {credentials}")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"x" * 500)
    growing = tmp_path / "served" / USER / "laptop" / "tmp"
    wait_until(lambda: growing.is_dir() and len(list(growing.iterdir())) == 1)

    connection.close()

    wait_until(lambda: list(growing.iterdir()) == [])
    assert files_below(tmp_path / "served") == set()
    assert status(url, "HEAD", f"/{USER}/laptop/config") == 404


def wait_until(holds: Callable[[], bool]) -> None:
    """Return when it holds; the limit only ends a hang."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize(("user", "password"), [(USER, "wrong"), ("bob", PASSWORD), ("", ""), (USER, "")])
def test_who_is_not_known_sees_nothing(url: str, user: str, password: str) -> None:
    assert status(url, "GET", f"/{USER}/laptop/keys/", user=user, password=password) == 401
    assert status(url, "POST", f"/{USER}/laptop/?create=true", user=user, password=password) == 401


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/bob/laptop/config", 403),
        ("/bob/keys/", 403),
        (f"/{USER}/../bob/config", 400),
        (f"/{USER}/%2e%2e/bob/config", 400),
        (f"/{USER}%2f..%2fbob/config", 400),
        (f"//{USER}/config", 400),
        (f"/{USER}/laptop/data/../../config", 400),
        ("/", 400),
    ],
)
def test_no_path_leads_out_of_the_users_own_repositories(url: str, path: str, expected: int) -> None:
    assert status(url, "GET", path) == expected
    assert status(url, "POST", path, b"x") == expected


def test_a_password_that_is_wrong_is_denied_at_once(url: str) -> None:
    address = repository(url).replace(QUOTED_PASSWORD, "wrong")
    with contextlib.closing(open_storage(address, patience=QUICK)) as storage, pytest.raises(StorageDenied):
        list(storage.list(FileType.SNAPSHOT))


def test_a_connection_that_went_stale_costs_no_attempt(tmp_path: Path) -> None:
    once = Patience(attempts=1, timeout=60.0)
    with contextlib.ExitStack() as stack:
        with rest_server(tmp_path / "served") as url:
            storage = stack.enter_context(contextlib.closing(open_storage(repository(url), patience=once)))
            storage.write(FileType.DATA, NAME, CONTENT)
        with rest_server(tmp_path / "served", port=urlsplit(url).port or 0):
            assert storage.read(FileType.DATA, NAME) == CONTENT


def test_it_tells_the_time_by_its_own_clock(url: str) -> None:
    with contextlib.closing(open_storage(repository(url), patience=QUICK)) as storage:
        now = storage.now()

    assert now is not None
    assert now.utcoffset() is not None


def test_over_tls_it_is_trusted_by_its_certificate_only(tmp_path: Path) -> None:
    files = an_authority(tmp_path / "authority").issue("server")
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(files.certificate, files.key)
    with rest_server(tmp_path / "served", tls=serving) as url:
        address = repository(url).removeprefix("rest:")
        trusting = ssl.create_default_context(cafile=files.ca)
        with contextlib.closing(RestStorage(address, QUICK, tls=trusting)) as storage:
            storage.write(FileType.DATA, NAME, CONTENT)
            assert storage.read(FileType.DATA, NAME) == CONTENT
        with contextlib.closing(RestStorage(address, QUICK)) as storage, pytest.raises(StorageDenied, match="trusted"):
            storage.read(FileType.DATA, NAME)
