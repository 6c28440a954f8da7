"""Whole numbers as HPA reckons with them: values in thousandths, sums that saturate, quotients cut towards zero."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, isfinite
from typing import Final

from opsuite_scaler.domain.policy import MetricSpec, Resource

MOST_REPLICAS: Final = 2**31 - 1
_LARGEST: Final = 2**63 - 1
_NOISE: Final = 1e-6
"""What float arithmetic adds to a whole number of thousandths; a millionth of one is none."""


def quantity(value: float, scale: int) -> int:
    """`value` in units of 1 / `scale`, rounded up as a Quantity of Kubernetes is."""
    if not isfinite(value):
        return _LARGEST if value > 0 else -_LARGEST
    return saturated(ceil(value * scale - _NOISE))


def wanted(target: float, scale: int) -> int:
    """A target as a quantity; never 0, since what is wanted of a metric is never nothing."""
    return max(1, quantity(target, scale))


def scale_of(spec: MetricSpec) -> int:
    """Units in one of the metric: CPU comes in thousandths of a core already."""
    return 1 if spec.resource is Resource.CPU else 1000


def saturated(total: int) -> int:
    """`total`, or the nearest number that fits 64 bits."""
    if -_LARGEST <= total <= _LARGEST:
        return total
    return _LARGEST if total > 0 else -_LARGEST


def total_of(values: Iterable[int]) -> int:
    """Their sum, saturated."""
    return saturated(sum(values))


def quotient(dividend: int, divisor: int) -> int:
    """Whole part of a quotient, cut towards zero. `divisor` is above 0."""
    return dividend // divisor if dividend >= 0 else -(-dividend // divisor)


def replicas_for(exact: float) -> int:
    """The number of replicas that is enough: rounded up, from 0 to 2^31-1."""
    return ceil(min(max(exact, 0.0), MOST_REPLICAS))
