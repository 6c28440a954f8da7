"""One row per figure: what was measured, beside what, the ratio, the goal, whether it was reached."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `value` is what the goal judges: a ratio where there is something beside it, else the figure."""

    figure: str
    ours: str
    beside: str = ""
    value: float | None = None
    goal: float | None = None
    at_least: bool = False
    """The goal is a least value, not a most."""
    unit: str = "x"
    why_not: str = ""
    """Why there is no figure here."""

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none, or no figure."""
        if self.value is None or self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    def cells(self) -> tuple[str, ...]:
        """As it is printed."""
        if self.why_not:
            return self.figure, "-", "", "", "", f"NOT MEASURED: {self.why_not}"
        value = "" if self.value is None else f"{self.value:.3g} {self.unit}"
        goal = "" if self.goal is None else f"{'>=' if self.at_least else '<='} {self.goal:g} {self.unit}"
        verdict = {True: "reached", False: "MISSED", None: ""}[self.reached]
        return self.figure, self.ours, self.beside, value, goal, verdict


HEAD = ("figure", "ours", "beside", "value", "goal", "")


def render(rows: Sequence[Row]) -> str:
    """A Markdown table, aligned so that it reads in a terminal too."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    told = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    told.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(told)


def p50(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 stay below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def p99(values: Sequence[float]) -> float:
    """The value that 99 of 100 stay below."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]


def ms(value: float) -> str:
    """Milliseconds for people."""
    return f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"
