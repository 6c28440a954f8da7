"""Usage of pods as the resource metrics API of a cluster (`metrics.k8s.io`) tells it, and how it writes amounts.

Whatever serves that API (metrics-server, an adapter) measures in its own rhythm and says when and over what time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from opsuite_kernel.errors import NotFound, Unavailable
from opsuite_platforms.kubernetes_api import KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.usage import CPU, MEMORY, Usage

POD_METRICS: Final = Resource("metrics.k8s.io/v1beta1", "pods", "PodMetrics")
DECIMAL: Final = {"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
SUFFIXES: Final[Mapping[str, float]] = DECIMAL | BINARY
UNITS: Final[Mapping[str, float]] = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([numkKMGTPE]?i?)")
_DURATION: Final = re.compile(r"([0-9.]+)(ms|us|µs|ns|h|m|s)")


class KubernetesUsage:
    """Measures the pods of a namespace."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def usage(self, namespace: str, labels: str) -> Mapping[str, Usage]:
        """By name of the pod; one that was not measured yet is absent. Raises: Unavailable, Denied."""
        try:
            found = await self._api.list(POD_METRICS, namespace, labels=labels)
        except NotFound as missing:
            message = "the cluster does not serve the API metrics.k8s.io: install metrics-server or an adapter"
            raise Unavailable(message, reason="NO_METRICS_API") from missing
        return {each["metadata"]["name"]: usage_of(each) for each in found}


def usage_of(metrics: Object) -> Usage:
    """What the API says about a pod."""
    at = datetime.fromisoformat(metrics["timestamp"]).astimezone(UTC)
    parts = {each["name"]: amounts(each.get("usage") or {}) for each in metrics.get("containers") or ()}
    return Usage(at, duration(metrics.get("window", "0s")), parts)


def amounts(quantities: Mapping[str, Any]) -> Mapping[str, float]:
    """CPU in millicores and memory in bytes, of what is said by resource."""
    factors = {CPU: 1000, MEMORY: 1}
    return {name: factor * quantity(quantities[name]) for name, factor in factors.items() if name in quantities}


def quantity(text: str | float) -> float:
    """An amount as Kubernetes writes it: "250m", "1Gi", "12345678n", "1e3". Raises: ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None or found[2] not in SUFFIXES:
        raise ValueError(f"{text!r} is no quantity")
    return float(found[1]) * SUFFIXES[found[2]]


def duration(text: str) -> timedelta:
    """A time as Go writes it: "15s", "1m30.5s"; what is not one counts as none."""
    return timedelta(seconds=sum(float(number) * UNITS[unit] for number, unit in _DURATION.findall(text)))
