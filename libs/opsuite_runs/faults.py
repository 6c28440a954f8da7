"""Named places in the code at which a test kills the process, to prove that nothing is lost or done twice.

    INTENT_RECORDED = declare("deployer.intent_recorded", "a step's intent is committed, it has not begun")
    ...
    INTENT_RECORDED.hit()

`OPSUITE_FAULT=name` in the environment at process start kills this process (SIGKILL) at the first hit of that point,
`OPSUITE_FAULT=name:3` at the third. `OPSUITE_FAULT_LOG=path` appends the name of every hit to a file, one a line, so
that a test learns which points a run passes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

VARIABLE: Final = "OPSUITE_FAULT"
LOG_VARIABLE: Final = "OPSUITE_FAULT_LOG"


def parse(setting: str) -> tuple[str, int] | None:
    """Name of the point and number of the deadly hit in a value of OPSUITE_FAULT; None when it is empty.

    Raises ValueError when the number is none: a test that kills nobody would pass for the wrong reason.
    """
    name, _, number = setting.partition(":")
    if not name:
        return None
    hits = int(number or "1")
    if hits < 1:
        raise ValueError(f"{VARIABLE}={setting}: hits are counted from 1")
    return name, hits


_ARMED: Final = parse(os.environ.get(VARIABLE, ""))
_LOG: Final = os.environ.get(LOG_VARIABLE, "")
_IS_IDLE: Final = _ARMED is None and not _LOG
_declared: Final[dict[str, FaultPoint]] = {}


class FaultPoint:
    """One named place. Threads may hit it; which of two simultaneous hits is counted first is not defined."""

    __slots__ = ("_hits", "doc", "name")

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.doc = doc
        self._hits = 0

    def hit(self) -> None:
        """Pass this place; does not return when this is the hit that was asked for."""
        if _IS_IDLE:
            return
        self._hits += 1
        if _LOG:
            _append(_LOG, self.name)
        if (self.name, self._hits) == _ARMED:
            os.kill(os.getpid(), signal.SIGKILL)


def declare(name: str, doc: str) -> FaultPoint:
    """The point of that name; `doc` says what has and what has not happened there. Raises ValueError: name taken."""
    if name in _declared:
        raise ValueError(f"fault point {name} is declared twice")
    point = _declared[name] = FaultPoint(name, doc)
    return point


def declared() -> Mapping[str, str]:
    """Name and doc of every point that imported modules have declared."""
    return MappingProxyType({name: point.doc for name, point in _declared.items()})


def _append(path: str, name: str) -> None:
    with Path(path).open("a") as file:  # opened anew: the whole line is written before the process may be killed
        file.write(f"{name}\n")
