"""Parameters of actions: texts by name, read into what they mean, with all that is wrong with them at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Final

from opsuite_kernel.errors import Violation

LONGEST_VALUE: Final = 8192
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h|d)").fullmatch
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FLAGS: Final = {"true": True, "false": False}


class Reader:
    """Reads the parameters of one spec. What cannot be read is told in `found`, and stands as its default meanwhile."""

    def __init__(self, params: Mapping[str, str]) -> None:
        self._params = params
        self.found: list[Violation] = []

    def text(self, name: str, default: str = "") -> str:
        """As it is."""
        return self._params.get(name) or default

    def whole(self, name: str, default: int, *, least: int, most: int) -> int:
        """A whole number: "2"."""
        text = self.text(name)
        if not text:
            return default
        if not re.fullmatch(r"-?\d{1,9}", text) or not least <= int(text) <= most:
            self.wrong(name, f"must be a whole number from {least} to {most}", "RANGE")
            return default
        return int(text)

    def duration(self, name: str, default: timedelta, *, most: timedelta = timedelta(days=1)) -> timedelta:
        """A time: "500ms", "30s", "5m", "1h", "1d"."""
        text = self.text(name)
        if not text:
            return default
        match = _DURATION(text)
        if match is None or (value := timedelta(seconds=float(match[1]) * _UNITS[match[2]])) > most:
            self.wrong(name, f'must be a time such as "30s" or "5m", at most {most.total_seconds():g} s', "DURATION")
            return default
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Yes or no: "true" or "false"."""
        text = self.text(name)
        if text and text not in _FLAGS:
            self.wrong(name, 'must be "true" or "false"', "ONE_OF")
        return _FLAGS.get(text, default)

    def choice(self, name: str, among: Collection[str], default: str = "") -> str:
        """One of some words."""
        text = self.text(name, default)
        if text and text not in among:
            self.wrong(name, f"must be one of {', '.join(among)}", "ONE_OF")
            return default
        return text

    def listed(self, name: str) -> tuple[str, ...]:
        """A list, separated by commas."""
        return tuple(part.strip() for part in self.text(name).split(",") if part.strip())

    def below(self, prefix: str) -> Mapping[str, str]:
        """Those whose names begin with a prefix, without it."""
        return {name.removeprefix(prefix): value for name, value in self._params.items() if name.startswith(prefix)}

    def require(self, name: str, why: str) -> None:
        """Tell that it is missing, if it is."""
        if not self.text(name):
            self.wrong(name, f"is required {why}", "REQUIRED")

    def wrong(self, name: str, description: str, reason: str) -> None:
        """Tell that something is wrong with one of them."""
        self.found.append(Violation(path_of(name), description, reason))


def path_of(name: str) -> str:
    """Where a parameter stands in a spec."""
    return f'params["{name[:64]}"]'
