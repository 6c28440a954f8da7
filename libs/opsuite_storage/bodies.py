"""Transaction bodies: how one is run, and that none ends the transaction it was lent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
INSIDE: Final = "opsuite_storage.inside_body"


def run(body: Callable[[sa.Connection], T], connection: sa.Connection) -> T:
    """What `body` returns, on a connection whose transaction it cannot end."""
    marks = connection.info
    marks[INSIDE] = True
    try:
        return body(connection)
    finally:
        marks[INSIDE] = False


def keep_open(engine: sa.Engine) -> None:
    """Refuse `commit` and `rollback` inside a body: others may share the transaction, and all would half happen."""
    sa.event.listen(engine, "commit", _refuse_inside_body)
    sa.event.listen(engine, "rollback", _refuse_inside_body)


def _refuse_inside_body(connection: sa.Connection) -> None:
    if connection.info.get(INSIDE):
        raise RuntimeError("a transaction body neither commits nor rolls back; it returns or raises")
