"""The order of a List request, and where in it a page begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from opsuite_storage.filter_syntax import wrong
from opsuite_storage.filters import Fields

_PART: Final = re.compile(r"\s*(?P<field>[A-Za-z_][A-Za-z0-9_.]*)(\s+(?P<direction>asc|desc))?\s*")


@dataclass(frozen=True, slots=True)
class Key:
    """One column to sort by; never NULL."""

    column: sa.ColumnElement[Any]
    descending: bool = False

    def clause(self) -> sa.ColumnElement[Any]:
        """For ORDER BY."""
        return self.column.desc() if self.descending else self.column.asc()


def parse_order(text: str, fields: Fields, *, default: Sequence[Key], unique: sa.ColumnElement[Any]) -> tuple[Key, ...]:
    """The keys of an `order_by` such as `create_time desc, name`; of `default` when it is blank.

    Every order ends in the column `unique`, in the direction of the key before it (which lets one index serve both),
    so that no two rows are equal.

    Raises: InvalidInput (field `order_by`: SYNTAX, UNKNOWN_FIELD or REPEATED, with the position).
    """
    keys = list(default) if not text.strip() else _parse(text, fields)
    if not any(key.column is unique for key in keys):
        keys.append(Key(unique, descending=keys[-1].descending if keys else False))
    return tuple(keys)


def _parse(text: str, fields: Fields) -> list[Key]:
    keys: dict[str, Key] = {}
    position = 1
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            raise wrong("expected a field, or a field and asc or desc", position, field="order_by")
        name, at = found["field"], position + found.start("field")
        target = fields.get(name)
        if target is None or not target.sortable:
            known = ", ".join(sorted(each for each, field in fields.items() if field.sortable))
            raise wrong(f"cannot order by {name}, only by {known}", at, reason="UNKNOWN_FIELD", field="order_by")
        if name in keys:
            raise wrong(f"{name} stands here twice", at, reason="REPEATED", field="order_by")
        keys[name] = Key(target.column, descending=found["direction"] == "desc")
        position += len(part) + 1
    return list(keys.values())


def beyond(keys: Sequence[Key], position: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Rows that come after `position` (one value for each key) in the order of `keys`."""
    if len({key.descending for key in keys}) == 1:  # a comparison of rows: one seek in an index
        here = sa.tuple_(*(key.column for key in keys))
        there = sa.tuple_(
            *(sa.bindparam(None, value, key.column.type) for key, value in zip(keys, position, strict=True))
        )
        row_wise: sa.ColumnElement[bool] = here < there if keys[0].descending else here > there
        return row_wise
    return _beyond_in_mixed_directions(keys, position)


def _beyond_in_mixed_directions(keys: Sequence[Key], position: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Strictly beyond in the first key, or equal in it and beyond in the rest."""
    first, value = keys[0], position[0]
    strictly: sa.ColumnElement[bool] = first.column < value if first.descending else first.column > value
    if len(keys) == 1:
        return strictly
    rest = _beyond_in_mixed_directions(keys[1:], position[1:])
    return sa.or_(strictly, sa.and_(first.column == value, rest))
