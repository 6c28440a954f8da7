"""Where a service keeps its state: transactions as synchronous functions, on SQLite or on PostgreSQL.

A body is one synchronous function over a SQLAlchemy connection. It never awaits, neither commits nor rolls back, and
may be run again when the database refused its transaction, so it has no effect outside the database. What it returns
reaches the caller only after the commit is durable; what it raises rolls back its own work and reaches the caller as
it is, except that a database that cannot be used is Unavailable, and a lost answer to a commit is TimedOut.

    rollout = await store.write(lambda tx: start(tx, wish, now))
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import sqlalchemy as sa

from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import InvalidInput, Violation

T = TypeVar("T")
Dialect = Literal["sqlite", "postgresql"]


class Store(Protocol):
    """One database of one service."""

    @property
    def dialect(self) -> Dialect:
        """Which database this is; only statements that must differ ask."""

    async def write(
        self,
        body: Callable[[sa.Connection], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        """What `body` returns, once its transaction is durable.

        A caller that is cancelled after its body began no longer hears the end, but the body still commits or rolls
        back as a whole. `then` gets the result on the event loop once it is durable, whether or not the caller still
        waits: for what has to follow a commit. `at_commit` gets it sooner, in the thread that committed, and may
        neither wait nor raise: for the one thing that waits for nothing but the commit. SQLite runs one body at a time;
        PostgreSQL runs them side by side at READ COMMITTED, so what must not change between reading and writing is
        locked, or guarded in the statement that writes.

        Raises: Unavailable (nothing was written, worth repeating), TimedOut (the connection died during the commit,
        so whether it was written is not known), and whatever `body` raises.
        """

    async def read(self, body: Callable[[sa.Connection], T], *, snapshot: bool = True) -> T:
        """What `body` returns, seeing one snapshot of everything committed before; it cannot write.

        A body of one statement, or one whose statements may each see more than the one before, does without `snapshot`:
        on PostgreSQL that spares the transaction around it, and with it two trips to the server.
        """

    async def alter(self, body: Callable[[sa.Connection], T]) -> T:
        """Like `write` for changes of the schema: alone, under a lock that other processes respect.

        Foreign keys are not enforced on the way (SQLite rebuilds tables), only checked at the end.
        """

    def now(self, connection: sa.Connection) -> datetime:
        """The database's clock (aware, UTC), the same for all replicas: PostgreSQL's own, on SQLite this machine's."""

    async def close(self) -> None:
        """Finish what was asked for, refuse what comes later, let go of the database."""


def open_store(url: str, *, data_dir: Path, name: str, clock: Clock | None = None) -> Store:
    """The store at `url`, to be closed by the caller; call it from the event loop that will use it.

    `clock` is what `Store.now` asks on SQLite; None is this machine's.

    `sqlite` is the file `<data_dir>/<name>.db`, `sqlite:///path` another one; `postgresql://user@host/database` may say
    `?schema=name` (created by the first migration) beside libpq's own parameters.

    Raises: InvalidInput (no such kind of URL), Conflict (the file is no database, or a corrupt one).
    """
    # Each driver is loaded only where it is used: the other one costs start-up time.
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from opsuite_storage.sqlite import SqliteStore

        path = url.removeprefix("sqlite").removeprefix(":///")
        return SqliteStore(Path(path) if path else data_dir / f"{name}.db", clock=clock or SystemClock())
    if scheme in {"postgresql", "postgres"}:
        from opsuite_storage.postgresql import PostgresqlStore

        return PostgresqlStore(url)
    problem = f'a database is "sqlite", "sqlite:///path" or "postgresql://…", not "{scheme}:…"'
    raise InvalidInput([Violation("database_url", problem)])
