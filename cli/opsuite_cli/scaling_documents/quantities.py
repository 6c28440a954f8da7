"""Kubernetes quantities ("500m", "1.5", "128Mi") as plain numbers, both ways. Pure."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Final

SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY: Final = re.compile(r"([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?|[+-]?\.\d+)([numkMGTPE]|[KMGTPE]i)?").fullmatch
MILLI: Final = 1000


def number_of(quantity: Any) -> float | None:
    """The number that a quantity stands for; None for what is none."""
    if isinstance(quantity, bool) or not isinstance(quantity, (int, float, str)):
        return None
    found = _QUANTITY(str(quantity))
    return float(Decimal(found[1]) * SUFFIXES[found[2] or ""]) if found else None


def quantity_of(number: float) -> str:
    """A quantity that stands for exactly this number."""
    if number == int(number):
        return str(int(number))
    exact = Decimal(repr(number)) * MILLI
    return f"{int(exact)}m" if exact == int(exact) else format(Decimal(repr(number)), "f")


def millicores_of(quantity: Any) -> float | None:
    """CPU as the contract has it."""
    number = number_of(quantity)
    return None if number is None else float(Decimal(repr(number)) * MILLI)


def cpu_of(millicores: float) -> str:
    """CPU as Kubernetes has it."""
    return f"{int(millicores)}m" if millicores == int(millicores) else quantity_of(millicores / MILLI)


def plain(number: float) -> int | float:
    """A number without a needless point."""
    return int(number) if number == int(number) else number
