"""What the domain needs of whatever evaluates the expressions of formulas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

Evaluate = Callable[[str, Mapping[str, float | None]], float]
"""The value of an expression over named metrics (None: has no value). Raises FormulaFailed."""

NamesIn = Callable[[str], Collection[str]]
"""The metrics that an expression refers to. Raises InvalidInput when it is no expression; paths start at it."""


class FormulaFailed(Exception):
    """An expression has no value: it does not compile, or something that it needs is missing."""
