"""Prometheus metrics: a registry per service, rate, errors and duration of every RPC, and the page that is scraped."""

from __future__ import annotations

import time
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

DEFAULT_NAMESPACE: Final = "bitcraps"
"""What the alert rules of the original design begin with."""
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def new_registry() -> CollectorRegistry:
    """A registry that already tells of the process: CPU, memory, open files, garbage collection, Python version.

    Their names (`process_…`, `python_…`) are Prometheus's own and take no namespace.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def render(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The page to answer a scrape with, and its content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST


class RpcMetrics:
    """Rate, errors and duration of every method. One per registry."""

    def __init__(self, registry: CollectorRegistry, namespace: str = DEFAULT_NAMESPACE) -> None:
        labels = ("service", "method")
        self.calls = Counter(
            "rpc_requests_total", "Calls ended, by status.", (*labels, "code"), namespace=namespace, registry=registry
        )
        self.seconds = Histogram(
            "rpc_duration_seconds",
            "Time from the start of a unary call to its end.",
            labels,
            namespace=namespace,
            registry=registry,
            buckets=SECONDS,
        )
        self.in_flight = Gauge("rpc_in_flight", "Calls in work now.", labels, namespace=namespace, registry=registry)

    def of(self, service: str, method: str, *, timed: bool = True) -> MethodMetrics:
        """The metrics of one method; `timed` is False for streams, which are meant to last."""
        return MethodMetrics(self, service, method, timed=timed)


class MethodMetrics:
    """Counts the calls of one method: labels are looked up once, not at every call."""

    def __init__(self, metrics: RpcMetrics, service: str, method: str, *, timed: bool) -> None:
        self._labels = (service, method)
        self._calls = metrics.calls
        self._in_flight = metrics.in_flight.labels(service, method)
        self._seconds = metrics.seconds.labels(service, method) if timed else None
        self._ended: dict[str, Counter] = {}  # filled as codes are met: most never are

    def began(self) -> float:
        """Note the start of a call; what it returns is for `ended`."""
        self._in_flight.inc()
        return time.perf_counter()

    def ended(self, began: float, code: str) -> None:
        """Note its end with the name of a status code: "NOT_FOUND"."""
        self._in_flight.dec()
        if self._seconds is not None:
            self._seconds.observe(time.perf_counter() - began)
        counter = self._ended.get(code)
        if counter is None:
            counter = self._ended[code] = self._calls.labels(*self._labels, code)
        counter.inc()
