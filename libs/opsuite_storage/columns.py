"""Column types that mean the same on SQLite and PostgreSQL, and names by which migrations find constraints again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

NAMING: Final[Mapping[str, str]] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""A check constraint needs a name of its own; all others are named after their columns."""


def new_metadata() -> sa.MetaData:
    """Metadata for the tables of one service, with the naming convention that SQLite's batch migrations rely on."""
    return sa.MetaData(naming_convention=NAMING)


_WIDTH: Final = len("2026-11-24 09:30:00.000000")


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment to the microsecond: aware going in (any zone; a naive one is refused), aware and UTC coming out.

    PostgreSQL keeps timestamptz; SQLite keeps UTC as text of one width, so that it sorts.
    """

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """To PostgreSQL."""
        if value is not None and value.tzinfo is None:
            raise TypeError(f"a stored time says its zone; {value.isoformat()} does not")
        return value if value is None else value.astimezone(UTC)

    def bind_processor(self, dialect: sa.Dialect) -> Callable[[Any], Any] | None:
        """SQLAlchemy's way to the text of SQLite takes ten times as long, and every row holds several times."""
        return _to_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """The way back."""
        return _from_text if dialect.name == "sqlite" else _to_utc


def _to_text(value: datetime | None) -> str | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise TypeError(f"a stored time says its zone; {value.isoformat()} does not")
    return value.astimezone(UTC).isoformat(" ", "microseconds")[:_WIDTH]


def _to_utc(value: datetime | None) -> datetime | None:
    return None if value is None else value.astimezone(UTC)


def _from_text(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text + "+00:00")


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_EMPTY: Final[Mapping[str, Callable[[], object]]] = {"[]": list, "{}": dict}
"""Most of what is kept is empty, and a page holds a hundred of them."""


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value: JSONB on PostgreSQL, compact text on SQLite. Python's None is SQL's NULL.

    What comes back equals what went in, except that JSONB does not keep the order of keys.
    """

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The type of the database."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        """To the database."""
        if value is None or dialect.name == "postgresql":
            return value
        if value == []:
            return "[]"
        return "{}" if value == {} else _ENCODE(value)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """From SQLite; the driver of PostgreSQL makes values of its own accord."""
        return None if dialect.name == "postgresql" else _from_json


def _from_json(text: str | None) -> Any:
    if text is None:
        return None
    empty = _EMPTY.get(text)
    return json.loads(text) if empty is None else empty()
