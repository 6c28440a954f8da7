"""Statements that run many times for every request, without what SQLAlchemy does around each execution.

On SQLite that costs several times what the database itself does, and all of it under the interpreter's lock; so the
text, compiled once, goes to the driver as it is, while values and columns are converted by their types as ever. On
PostgreSQL the way to the server is what costs, and the statement is executed like any other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.visitors import cloned_traverse

Convert = Callable[[Any], Any] | None
Statement = sa.Select[Any] | sa.UpdateBase
_NOTHING: Final[Mapping[str, object]] = {}


class Prepared:
    """One statement, with the same results and errors as `connection.execute`; a value for each `bindparam`."""

    def __init__(self, statement: Statement, columns: Iterable[str] = ()) -> None:
        """`columns` are those that an INSERT without `values` gets by name."""
        self._statement = statement
        self._columns = list(columns) or None
        self._ready: _Ready | None = None

    def rows(self, connection: sa.Connection, values: Mapping[str, object] = _NOTHING) -> list[dict[str, Any]]:
        """What it selects or returns, by names of columns."""
        if connection.dialect.name != "sqlite":
            return [dict(row) for row in connection.execute(self._statement, values).mappings()]
        return self._compiled(connection.dialect).rows(connection, values)

    def row(self, connection: sa.Connection, values: Mapping[str, object] = _NOTHING) -> dict[str, Any] | None:
        """The first row, if there is one."""
        found = self.rows(connection, values)
        return found[0] if found else None

    def value(self, connection: sa.Connection, values: Mapping[str, object] = _NOTHING) -> Any:
        """The first column of the first row; None if there is none."""
        found = self.row(connection, values)
        return None if found is None else next(iter(found.values()))

    def only_value(self, connection: sa.Connection, values: Mapping[str, object] = _NOTHING) -> Any:
        """The first column of the row that there has to be. Raises sqlalchemy.exc.NoResultFound."""
        found = self.row(connection, values)
        if found is None:
            raise sa.exc.NoResultFound("a row was required, and there is none")
        return next(iter(found.values()))

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Run it for each of `rows`."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, rows)
        else:
            self._compiled(connection.dialect).run(connection, rows)

    def _compiled(self, dialect: sa.Dialect) -> _Ready:
        if self._ready is None:
            self._ready = _Ready(self._statement, self._columns, dialect)
        return self._ready


class _Ready:
    """The text for the driver, and what converts values on their way in and columns on their way out.

    Most values and columns are told and stored as they are, so only the others are gone through one by one.
    """

    def __init__(self, statement: Statement, columns: list[str] | None, dialect: sa.Dialect) -> None:
        spelt_out, given = _with_constants(statement)
        compiled = spelt_out.compile(dialect=dialect, column_keys=columns, compile_kwargs={"render_postcompile": True})
        assert isinstance(compiled, SQLCompiler)  # noqa: S101 - for the type checker
        self._text = str(compiled)
        self._dialect = dialect
        self._constants = {name: value for name, value in compiled.params.items() if name not in given}
        self._parameters = tuple(compiled.positiontup or ())
        told = ((position, _in(compiled.binds.get(name), dialect)) for position, name in enumerate(self._parameters))
        self._told = [(position, convert) for position, convert in told if convert is not None]
        self._columns = tuple(column.key or "" for column in statement.exported_columns)
        found = ((column.key or "", _out(column, dialect)) for column in statement.exported_columns)
        self._found = [(name, convert) for name, convert in found if convert is not None]

    def rows(self, connection: sa.Connection, values: Mapping[str, object]) -> list[dict[str, Any]]:
        try:
            found = _driver(connection).execute(self._text, self._bound(values)).fetchall()
        except sqlite3.Error as error:
            raise self._as_ever(error) from error
        return [self._named(row) for row in found]

    def run(self, connection: sa.Connection, rows: Sequence[Mapping[str, object]]) -> None:
        try:
            _driver(connection).executemany(self._text, [self._bound(row) for row in rows])
        except sqlite3.Error as error:
            raise self._as_ever(error) from error

    def _bound(self, values: Mapping[str, object]) -> list[Any]:
        known = {**self._constants, **values} if self._constants else values
        bound: list[Any] = [known[name] for name in self._parameters]
        for position, convert in self._told:
            bound[position] = convert(bound[position])
        return bound

    def _named(self, row: Sequence[Any]) -> dict[str, Any]:
        named: dict[str, Any] = dict(zip(self._columns, row, strict=True))
        for name, convert in self._found:
            named[name] = convert(named[name])
        return named

    def _as_ever(self, error: sqlite3.Error) -> BaseException:
        """What SQLAlchemy would raise, so that no caller has to know how a statement was run."""
        return sa.exc.DBAPIError.instance(self._text, None, error, sqlite3.Error, dialect=self._dialect)


def _with_constants(statement: Statement) -> tuple[Statement, set[str]]:
    """The statement with its constants in the text, and the names of the values that it is given for each run.

    SQLite uses a partial index only where it knows the value that the index asks for. Where that is told beside the
    text, the statement is planned anew for each run, which takes ten times as long as running it.
    """
    given = set[str]()

    def spell_out(bound: sa.BindParameter[Any]) -> None:
        if bound.required:
            given.add(bound.key)
            bound.required = False  # it need not be there to compile
        elif isinstance(bound.value, str | int):
            bound.literal_execute = True

    return cloned_traverse(statement, {}, {"bindparam": spell_out}), given


def _in(bound: sa.BindParameter[Any] | None, dialect: sa.Dialect) -> Convert:
    return None if bound is None else bound.type.dialect_impl(dialect).bind_processor(dialect)


def _out(column: sa.ColumnElement[Any], dialect: sa.Dialect) -> Convert:
    # The column type is what the driver was told; this driver returns what is stored, whatever that says.
    return column.type.dialect_impl(dialect).result_processor(dialect, None)


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - for the type checker
    return driver
