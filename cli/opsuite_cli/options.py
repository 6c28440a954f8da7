"""Options of every command: whom to talk to, and how to print. They may stand anywhere on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from typer.core import TyperGroup


class Output(StrEnum):
    """How answers are printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True, slots=True)
class Options:
    """What was chosen for this call of the command."""

    address: str | None = None
    """None: OPSUITE_DEPLOYER_ADDRESS, else the socket in the data directory."""
    token_file: Path | None = None
    """None: OPSUITE_TOKEN or OPSUITE_TOKEN_FILE, else the token in the data directory."""
    output: Output = Output.TABLE


_VALUED: Final = ("--address", "--token-file", "--output", "-o")
_FLAGS: Final = ("--json",)
_CURRENT: Final[ContextVar[Options]] = ContextVar("options", default=Options())  # noqa: B039  # frozen


def current() -> Options:
    """The options of this call."""
    return _CURRENT.get()


def choose(options: Options) -> None:
    """Set the options of this call."""
    _CURRENT.set(options)


def in_front(args: Sequence[str], valued: Sequence[str] = _VALUED, flags: Sequence[str] = _FLAGS) -> list[str]:
    """The arguments with those options in front of the command's name, where they are read; `--` ends the search."""
    front, rest = list[str](), list[str]()
    words = iter(args)
    for word in words:
        if word == "--":
            return [*front, *rest, word, *words]
        if word in flags or word.startswith(tuple(f"{name}=" for name in valued if name.startswith("--"))):
            front.append(word)
        elif word in valued:
            front += [word, *_next(words)]
        else:
            rest.append(word)
    return front + rest


def _next(words: Any) -> list[str]:
    value = next(words, None)
    return [] if value is None else [value]


class Anywhere(TyperGroup):
    """The top of the command line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the common options first, wherever they stand."""
        return super().parse_args(ctx, in_front(args))
