"""What people and programs see: text on standard output, complaints on standard error; colours in terminals only."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from opsuite_cli import options
from opsuite_cli.options import Output

if TYPE_CHECKING:  # most answers need neither
    from google.protobuf.message import Message
    from rich.console import Console
    from rich.text import Text

COLOURS: Final = {
    "SUCCEEDED": "green",
    "SKIPPED": "dim",
    "PENDING": "dim",
    "RUNNING": "cyan",
    "STARTING": "cyan",
    "VERIFYING": "cyan",
    "ROLLING_BACK": "yellow",
    "ROLLED_BACK": "yellow",
    "PAUSED": "yellow",
    "INTERRUPTED": "yellow",
    "FAILED_CONTINUED": "yellow",
    "QUEUED": "blue",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "ROLLBACK_FAILED": "red",
    "CANCELLED": "magenta",
    "SUPERSEDED": "magenta",
    "ABORTED": "magenta",
}
"""Style of each status of a deployment or step; others have none."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]").sub


@cache
def console() -> Console:
    """Standard output: colours follow NO_COLOR and are left out where nobody looks."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False, markup=False, emoji=False)


@cache
def complaints() -> Console:
    """Standard error, in the same manner."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False)


def is_watched() -> bool:
    """Whether a person sees standard output and it can be redrawn."""
    return sys.stdout.isatty() and not console().is_dumb_terminal


def visible(text: str) -> str:
    """The text without what would move the cursor, recolour the screen or worse: steps write what they like."""
    return _CONTROL("\ufffd", text)


def say(text: str = "", style: str = "") -> None:
    """One line, or several."""
    if style:
        console().print(visible(text), style=style)
    else:
        sys.stdout.write(visible(text) + "\n")  # rich would turn tabs into spaces
        sys.stdout.flush()


def styled(pieces: Iterable[tuple[str, str]]) -> Text:
    """A line made of texts with their styles."""
    from rich.text import Text

    return Text.assemble(*((visible(text), style) for text, style in pieces))


def complain(lines: Iterable[str], *, headed: bool = True) -> None:
    """What went wrong; the first line in red if it is the heading of the others."""
    for number, line in enumerate(lines):
        complaints().print(visible(line), style="bold red" if headed and number == 0 else None)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns under headers, as wide as they need; a status in its colour."""
    from rich.text import Text

    widths = [max(len(row[column]) for row in (headers, *rows)) for column in range(len(headers))]
    say(_aligned(headers, widths), "bold")
    for row in rows:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            line.append(visible(cell).ljust(width), COLOURS.get(cell, ""))
            line.append("  ")
        line.rstrip()
        console().print(line)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def wants_table() -> bool:
    """Whether people read this; otherwise `document` says it."""
    return options.current().output is Output.TABLE


def document(answer: Message | Sequence[Message] | dict[str, Any]) -> None:
    """An answer whole, as JSON or YAML; fields carry the names of the contract."""
    write(plain(answer))


def write(data: object) -> None:
    """Plain data as JSON or YAML."""
    if options.current().output is Output.YAML:
        import yaml

        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        import json

        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(answer: Message | Sequence[Message] | dict[str, Any]) -> Any:
    """An answer as plain data."""
    from google.protobuf.json_format import MessageToDict

    if isinstance(answer, dict):
        return answer
    if isinstance(answer, Sequence):
        return [MessageToDict(one, preserving_proto_field_name=True) for one in answer]
    return MessageToDict(answer, preserving_proto_field_name=True)
