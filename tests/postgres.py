"""A throw-away PostgreSQL server per test process, an empty database for each test, and stores on either database.

`conftest.py` exposes the fixtures to every test. The server listens on a Unix socket and on a free loopback port, and
dies with the test process whatever kills that. `fsync` is off: a killed server loses nothing by that, only a killed
machine would.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from components import missing

from opsuite_storage.store import Store, open_store

HOW_TO_GET_IT = "apt-get install postgresql"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_wal_size": "512MB",
    "autovacuum_naptime": "1h",
    "logging_collector": "off",
    "log_min_messages": "fatal",
    "deadlock_timeout": "50ms",
}
EMPTY = """
    DO $$ DECLARE each text; BEGIN
        FOR each IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema$)' LOOP
            EXECUTE format('DROP SCHEMA %I CASCADE', each);
        END LOOP;
        CREATE SCHEMA public;
    END $$
"""


class Cluster:
    """One server with a data directory of its own."""

    def __init__(self, programs: Path, directory: Path, settings: Mapping[str, str]) -> None:
        self._programs = programs
        self._settings = {**SETTINGS, **settings}
        self._user = _unprivileged_user()
        self._serial = itertools.count(1)
        self._free: list[str] = []
        self._server: subprocess.Popen[bytes] | None = None
        self.directory = directory
        self.data = directory / "data"
        self.port = _free_port()
        if self._user:
            shutil.chown(directory, self._user)
        options = ["--auth=trust", "--username=opsuite", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self._run("initdb", f"--pgdata={self.data}", *options)

    def url(self, database: str = "postgres") -> str:
        """The address of a database, through the loopback port."""
        return f"postgresql://opsuite@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The address of a database, through the Unix socket."""
        return f"postgresql://opsuite@/{database}?host={self.directory}&port={self.port}"

    def start(self) -> None:
        """Start the server, also after a crash, and wait until it answers."""
        places = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.directory}
        settings = [f"-c{name}={value}" for name, value in {**self._settings, **places}.items()]
        # Killed by the kernel when the thread that starts it dies, so that no test run leaves a server behind.
        until_we_die = ["setpriv", "--pdeathsig", "QUIT", "--"]
        self._server = subprocess.Popen(
            [*until_we_die, self._programs / "postgres", "-D", self.data, *settings],
            user=self._user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
            stdout=subprocess.DEVNULL,
            stderr=(self.directory / "log").open("ab"),
            start_new_session=True,
        )
        self._wait_until_it_answers()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` in order, `immediate` as if it had crashed, so that the next start recovers."""
        if self._server is None:
            return
        if self._server.poll() is None:
            self._run("pg_ctl", "stop", f"--pgdata={self.data}", f"--mode={mode}", "--no-wait", check=False)
        self._server.wait(timeout=30)
        self._server = None

    def restart(self, mode: str = "immediate") -> None:
        """Stop, then start again on the same port."""
        self.stop(mode)
        self.start()

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run one statement as the owner, outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def take_database(self) -> str:
        """The name of an empty database for one test: one that another test gave back, or a new one."""
        return self._free.pop() if self._free else self.create_database()

    def give_back_database(self, name: str) -> None:
        """Empty a database, whoever is connected to it, for the next test: emptying is 20 times faster than making."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        self.execute(EMPTY, name)
        self._free.append(name)

    def create_database(self, template: str = "template1") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"test_{next(self._serial)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"},
            check=check,
            capture_output=True,
            timeout=60,
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or (self._server and self._server.poll() is not None):
                    raise RuntimeError((self.directory / "log").read_text()) from None
                time.sleep(0.02)


def find_programs() -> Path | None:
    """The folder of `initdb` and `postgres`: on PATH, or where Debian keeps the newest."""
    on_path = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -float(path.parent.name))
    return next((each for each in [*on_path, *debian] if (each / "postgres").exists()), None)


def _unprivileged_user() -> str | None:
    """Who runs the server: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_cluster(**settings: str) -> Generator[Cluster]:
    """A running server, removed afterwards; `settings` such as `fsync="on"` win over the fast ones."""
    programs = find_programs() or missing("PostgreSQL server", HOW_TO_GET_IT)
    directory = Path(tempfile.mkdtemp(prefix="opsuite-pg-"))
    cluster = Cluster(programs, directory, settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop("immediate")
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """The server that all tests of this process share; do not stop it."""
    yield from run_cluster()


@pytest.fixture
def own_postgres_cluster() -> Iterator[Cluster]:
    """A server for one test alone, which may stop, crash and start it."""
    yield from run_cluster()


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """The address of an empty database."""
    name = postgres_cluster.take_database()
    yield postgres_cluster.url(name)
    postgres_cluster.give_back_database(name)


@pytest.fixture
async def sqlite_store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store on SQLite."""
    store = open_store("sqlite", data_dir=tmp_path, name="test")
    yield store
    await store.close()


@pytest.fixture
async def postgres_store(postgres_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store on PostgreSQL."""
    store = open_store(postgres_url, data_dir=tmp_path, name="test")
    yield store
    await store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store, once on each database."""
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    store = open_store(url, data_dir=tmp_path, name="test")
    yield store
    await store.close()
