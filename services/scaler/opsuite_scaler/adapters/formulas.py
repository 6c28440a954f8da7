"""Formulas over metrics in CEL, the Common Expression Language.

Beside CEL's operators there are `min`, `max`, `avg` and `clamp(value, low, high)`, and `coalesce(a, b, …)`, which gives
the first one that has a value: a metric that failed is `null`, and what is computed from null is null or fails. All
numbers are floating-point, so that `queue / 2` means what it says: CEL itself would not divide a double by an int.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import cel

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_scaler.domain.expressions import FormulaFailed

Function = Callable[..., float | None]

LONGEST: Final = 4096
_CALL_OF_METHOD: Final = re.compile(r"\.\s*[A-Za-z_]\w*\s*\(")
_WORDS: Final = re.compile(
    r"""(?P<other>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[A-Za-z_]\w*|\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+"""
    r"""|0[xX][0-9a-fA-F]+u?|\d+[uU]|[\w)\]]\s*\[\s*\d+)|(?P<whole>\d+)"""
)


class CelFormulas:
    """Fits `Evaluate` of the domain and `NamesIn` of its rules."""

    def __call__(self, expression: str, values: Mapping[str, float | None]) -> float:
        """The value of an expression. Raises FormulaFailed."""
        try:
            result = _program(expression).execute(cel.Context(dict(values), dict(FUNCTIONS)))
        except Exception as error:
            raise FormulaFailed(_first_line(error)) from error
        if isinstance(result, bool) or not isinstance(result, int | float):
            raise FormulaFailed(f"it is not a number but {type(result).__name__}")
        return float(result)

    def names(self, expression: str) -> frozenset[str]:
        """The metrics it refers to. Raises InvalidInput, with violations at an empty path."""
        if len(expression) > LONGEST:
            raise InvalidInput([Violation("", f"is longer than {LONGEST} characters", "MAX_LEN")])
        if _CALL_OF_METHOD.search(expression):
            raise InvalidInput([Violation("", "calls a method or macro; formulas know functions only", "FORMULA")])
        try:
            references = _program(expression).references()
        except ValueError as error:
            raise InvalidInput([Violation("", f"is not a CEL expression: {_first_line(error)}", "FORMULA")]) from error
        words = [name for name in references["functions"] if name.isidentifier() and not name.startswith("_")]
        if unknown := sorted(set(words) - set(FUNCTIONS)):
            known = ", ".join(sorted(FUNCTIONS))
            told = f"calls {', '.join(unknown)}; known are {known}"
            raise InvalidInput([Violation("", told, "FORMULA")])
        return frozenset(references["variables"])


def _average(*values: float) -> float:
    return sum(values) / len(values)


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(value, high))


def _coalesce(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _quietly(function: Function) -> Function:
    """Null instead of an error, which the library would print: arguments are missing, null, or no numbers."""

    def call(*values: Any) -> float | None:
        try:
            return function(*values)
        except (TypeError, ValueError, ZeroDivisionError):
            return None

    return call


FUNCTIONS: Final[Mapping[str, Function]] = {
    "min": _quietly(lambda *values: min(values)),
    "max": _quietly(lambda *values: max(values)),
    "avg": _quietly(_average),
    "clamp": _quietly(_clamp),
    "coalesce": _coalesce,
}


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program:
    return cel.compile(_WORDS.sub(_as_double, expression))


def _as_double(word: re.Match[str]) -> str:
    """Whole numbers with a point, but for those that stand in a text, a name, or an index."""
    return f"{word['whole']}.0" if word["whole"] else word[0]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
