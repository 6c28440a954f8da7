"""Transaction bodies: how one is run, and that none ends the transaction it was lent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
_LENT: Final[set[int]] = set()
"""Connections that a body is using now, by identity: a connection that broke can be asked nothing else."""


class EndedByBody(RuntimeError):
    """A fault of the body; its transaction is rolled back."""


def run(body: Callable[[sa.Connection], T], connection: sa.Connection) -> T:
    """What `body` returns, on a connection whose transaction it cannot end."""
    _LENT.add(id(connection))
    try:
        return body(connection)
    finally:
        _LENT.discard(id(connection))


def keep_open(engine: sa.Engine) -> None:
    """Refuse `commit` and `rollback` inside a body: others may share the transaction, and all would half happen."""
    sa.event.listen(engine, "commit", _refuse_inside_body)
    sa.event.listen(engine, "rollback", _refuse_inside_body)


def _refuse_inside_body(connection: sa.Connection) -> None:
    if id(connection) in _LENT:
        raise EndedByBody("a transaction body neither commits nor rolls back; it returns or raises")
