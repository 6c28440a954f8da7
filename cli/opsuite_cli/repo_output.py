"""Output of `opsuite repo` that goes on for long: lines one by one, and how far the work has come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from opsuite_cli import options, repo_words, screen
from opsuite_cli.options import Output

if TYPE_CHECKING:
    from opsuite_repository.pipeline.progress import Progress, ProgressSink

_BETWEEN: Final = {"terminal": 0.0, "json": 1.0, "plain": 10.0}
"""Seconds between two reports."""


def line(document: Any) -> None:
    """A document that others may precede or follow: a line of JSON, or a document of a YAML stream."""
    if options.current().output is Output.YAML:
        sys.stdout.write("---\n")
        screen.write(document)
        return
    sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")


@contextmanager
def progress() -> Iterator[ProgressSink]:
    """Shows reports: redrawn in a terminal, as JSON for programs, else as a plain line now and then."""
    shown = _Shown()
    try:
        yield shown.take
    finally:
        shown.clear()


class _Shown:
    def __init__(self) -> None:
        is_watched = sys.stderr.isatty() and not screen.complaints().is_dumb_terminal
        self._way = "json" if not screen.wants_table() else "terminal" if is_watched else "plain"
        self._told = time.monotonic()
        self._width = 0

    def take(self, report: Progress) -> None:
        """Show a report, unless the last one is too young."""
        now = time.monotonic()
        if now - self._told < _BETWEEN[self._way]:
            return
        self._told = now
        if self._way == "json":
            line(repo_words.progress_document(report))
            sys.stdout.flush()
            return
        text = screen.visible(repo_words.progress_line(report))
        if self._way == "terminal":
            sys.stderr.write("\r" + text.ljust(self._width))
            self._width = len(text)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave no line half drawn."""
        if self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
