"""How commands of `opsuite repo` end: what an error, Ctrl-C or a missing part mean for the exit status."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

import typer

from opsuite_cli import screen
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

FAILED: Final = 1
INCOMPLETE: Final = 3
"""Exit status when the work was done, but for parts of it."""
NO_REPOSITORY: Final = 10
LOCKED: Final = 11
WRONG_PASSWORD: Final = 12
INTERRUPTED: Final = 130


@contextmanager
def reported() -> Iterator[None]:
    """An error inside is told, and ends the command with the status that restic has for it. So does Ctrl-C."""
    try:
        with _terminated_like_interrupted():
            yield
    except OpsuiteError as error:
        _tell(exit_status(error), error.message, _hint(error))
        raise typer.Exit(exit_status(error)) from error
    except KeyboardInterrupt as stop:
        _tell(INTERRUPTED, "interrupted")
        raise typer.Exit(INTERRUPTED) from stop
    except BrokenPipeError as closed:  # whoever reads has seen enough
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # so that the interpreter does not flush into the pipe
        raise typer.Exit(FAILED) from closed
    except OSError as error:  # such as an output on a disk that is full
        _tell(FAILED, str(error))
        raise typer.Exit(FAILED) from error
    except ModuleNotFoundError as absent:
        if (absent.name or "").startswith("opsuite"):
            raise
        _tell(FAILED, f"{absent.name} is not installed", "pip install 'opsuite[repository]'")
        raise typer.Exit(FAILED) from absent


def exit_status(error: OpsuiteError) -> int:
    """The status of restic's that means the same."""
    return _STATUS.get(error.reason, FAILED)


_STATUS: Final[Mapping[str, int]] = {
    "REPOSITORY_MISSING": NO_REPOSITORY,
    "LOCKED": LOCKED,
    "WRONG_PASSWORD": WRONG_PASSWORD,
    "CANCELLED": INTERRUPTED,
}
_HINTS: Final[Mapping[str, str]] = {
    "REPOSITORY_MISSING": "opsuite repo init makes one",
    "LOCKED": "--retry-lock 5m waits for it; opsuite repo unlock removes locks that nobody holds",
    "DAMAGED": "opsuite repo check --read-data finds all that is damaged, and says what repairs it",
}


def _hint(error: OpsuiteError) -> str:
    return _HINTS.get(error.reason, "")


def _tell(status: int, message: str, hint: str = "") -> None:
    if screen.wants_table():
        screen.complain([f"error: {message}", *([f"hint: {hint}"] if hint else [])])
        return
    import json

    told = {"message_type": "exit_error", "code": status, "message": message}
    sys.stderr.write(json.dumps(told, ensure_ascii=False) + "\n")


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does, so that locks are removed and nothing half done is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def cancellable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, for work that ends well by it; the second interrupts."""
    cancelled = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def cancel(number: int, frame: FrameType | None) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()

    try:
        for number in before:
            signal.signal(number, cancel)
        yield cancelled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def refuse_unless(condition: bool, field: str, description: str) -> None:
    """Raises InvalidInput unless the condition holds."""
    if not condition:
        raise InvalidInput([Violation(field, description, "PATTERN")])


def incomplete(lines: Sequence[str]) -> typer.Exit:
    """Say what is missing, and what to raise for it."""
    screen.complain(lines, headed=False)
    return typer.Exit(INCOMPLETE)
