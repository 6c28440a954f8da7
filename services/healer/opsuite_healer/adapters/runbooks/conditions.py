"""Conditions of steps in CEL, the Common Expression Language, over what an execution knows: texts only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import cel

from opsuite_healer.domain.runbooks.course import ConditionFailed
from opsuite_kernel.errors import InvalidInput, Violation

LONGEST: Final = 2048
KNOWN: Final = 1024


def holds(expression: str, scope: Mapping[str, Any]) -> bool:
    """Fits `domain.runbooks.course.Holds`. Raises ConditionFailed."""
    try:
        result = _program(expression).execute(cel.Context(dict(scope)))
    except Exception as error:  # the library raises whatever fits
        raise ConditionFailed(_told(error)) from error
    if not isinstance(result, bool):
        raise ConditionFailed(f"it is neither true nor false but {type(result).__name__}")
    return result


def names_in(expression: str) -> frozenset[str]:
    """Fits `domain.runbooks.rules.NamesIn`. Raises InvalidInput, with violations at an empty path."""
    if len(expression) > LONGEST:
        raise InvalidInput([Violation("", f"is longer than {LONGEST} characters", "TOO_LONG")])
    try:
        return frozenset(_program(expression).references()["variables"])
    except Exception as error:
        raise InvalidInput([Violation("", f"is not a CEL expression: {_told(error)}", "CONDITION")]) from error


@lru_cache(maxsize=KNOWN)
def _program(expression: str) -> cel.Program:
    return cel.compile(expression)


def _told(error: Exception) -> str:
    told = (str(error).splitlines() or [""])[0]
    return f"there is no {told}" if isinstance(error, KeyError) else told or type(error).__name__
