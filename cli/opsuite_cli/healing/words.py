"""The healer's messages in the words that are printed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any


def word(message: Any, field: str) -> str:
    """The value of an enum field without the prefix of its enum; a number that is not known stays one."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    known = enum.values_by_number.get(number)
    return "-" if number == 0 else known.name.removeprefix(prefix) if known else str(number)


def short(name: str) -> str:
    """A resource name without its collection."""
    return name.rpartition("/")[2]


def target(message: Any, field: str = "target") -> str:
    """`process/checkout#checkout-1`; a dash where there is none."""
    if not message.HasField(field):
        return "-"
    ref = getattr(message, field)
    scope = f"{ref.namespace}/" if ref.namespace else ""
    return f"{ref.platform or '-'}/{scope}{ref.workload}{'#' + ref.replica if ref.replica else ''}"


def ago(message: Any, field: str, now: datetime | None = None) -> str:
    """How long ago, or in how long: `3m 5s`; a dash where there is no time."""
    if not message.HasField(field):
        return "-"
    moment = getattr(message, field).ToDatetime(tzinfo=UTC)
    return span(abs((now or datetime.now(UTC)) - moment))


def when(message: Any, field: str) -> str:
    """A time as people read it, in UTC."""
    return f"{getattr(message, field).ToDatetime():%Y-%m-%d %H:%M:%S}" if message.HasField(field) else "-"


def lasting(message: Any, field: str) -> str:
    """A duration; a dash where there is none."""
    return span(getattr(message, field).ToTimedelta()) if message.HasField(field) else "-"


def span(length: timedelta) -> str:
    """The two greatest units of a time: `2d 3h`, `45s`."""
    seconds = int(length.total_seconds())
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number or (unit == "s" and not parts):
            parts.append(f"{number}{unit}")
    return " ".join(parts[:2])


def labels(given: Mapping[str, str]) -> str:
    """`a=1, b=2`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(given.items()))
