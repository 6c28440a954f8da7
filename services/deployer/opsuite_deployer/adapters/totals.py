"""Counts of ended deployments, kept in the transaction that ends each: metrics that equal the history.

Every replica shows the same totals, so a query over several of them takes `max`, not `sum`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import sqlalchemy as sa
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.dialects import postgresql, sqlite

from opsuite_deployer.adapters import tables
from opsuite_deployer.domain.deployment import Deployment
from opsuite_storage.prepared import Prepared
from opsuite_storage.store import Store

BUCKETS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
"""Upper bounds of the duration histogram in seconds."""

_DEPLOYMENTS, _ROLLBACKS, _BUCKET, _SUM = "deployments", "rollbacks", "duration_bucket", "duration_sum"


def count_ended(connection: sa.Connection, ended: Sequence[Deployment]) -> None:
    """Add deployments that end in this transaction to the totals."""
    added: Counter[tuple[str, str]] = Counter()
    for deployment in ended:
        seconds = _seconds(deployment)
        added[_DEPLOYMENTS, deployment.status.value.lower()] += 1
        added[_BUCKET, next((str(bound) for bound in BUCKETS if seconds <= bound), "+Inf")] += 1
        added[_SUM, ""] += seconds  # type: ignore[assignment]  # a sum of seconds among counts
        if deployment.rollback_of:
            added[_ROLLBACKS, ""] += 1
    rows = [{"name": name, "label": label, "value": float(value)} for (name, label), value in sorted(added.items())]
    _ADD[connection.dialect.name].run(connection, rows)


def _seconds(deployment: Deployment) -> float:
    """Time from the first step to the end; nothing for one that never began."""
    if deployment.started_at is None or deployment.ended_at is None:
        return 0.0
    return (deployment.ended_at - deployment.started_at).total_seconds()


def _adding(insert: sqlite.Insert | postgresql.Insert) -> Prepared:
    added = insert.on_conflict_do_update(
        index_elements=["name", "label"], set_={"value": tables.totals.c.value + insert.excluded.value}
    )
    return Prepared(added, ("name", "label", "value"))


_ADD: Final = {
    "sqlite": _adding(sqlite.insert(tables.totals)),
    "postgresql": _adding(postgresql.insert(tables.totals)),
}


class DeploymentMetrics(Collector):
    """The metrics of deployments, as of the last `refresh`."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._totals: Mapping[tuple[str, str], float] = {}
        self._active = 0

    async def refresh(self) -> None:
        """Read the totals. Raises Unavailable."""

        def read(connection: sa.Connection) -> tuple[dict[tuple[str, str], float], int]:
            t = tables.totals.c
            totals = {
                (name, label): value for name, label, value in connection.execute(sa.select(t.name, t.label, t.value))
            }
            return totals, connection.execute(sa.select(sa.func.count()).where(tables.AT_WORK)).scalar_one()

        self._totals, self._active = await self._store.read(read)

    def collect(self) -> Iterator[Metric]:
        """The families, for Prometheus."""
        name = self._namespace
        ended = CounterMetricFamily(f"{name}_deployments", "Deployments that ended, by how.", labels=["status"])
        for status, value in self._of(_DEPLOYMENTS):
            ended.add_metric([status], value)
        yield ended
        yield CounterMetricFamily(
            f"{name}_rollbacks", "Rollbacks that ended.", value=self._totals.get((_ROLLBACKS, ""), 0.0)
        )
        yield GaugeMetricFamily(f"{name}_active_deployments", "Deployments at work.", value=self._active)
        yield HistogramMetricFamily(
            f"{name}_deployment_duration_seconds",
            "Time from the first step of a deployment to its end.",
            buckets=list(self._cumulative()),
            sum_value=self._totals.get((_SUM, ""), 0.0),
        )

    def _of(self, name: str) -> Iterable[tuple[str, float]]:
        return [(label, value) for (of, label), value in sorted(self._totals.items()) if of == name]

    def _cumulative(self) -> Iterator[tuple[str, float]]:
        counted = dict(self._of(_BUCKET))
        running = 0.0
        for bound in (*map(str, BUCKETS), "+Inf"):
            running += counted.get(bound, 0.0)
            yield (f"{float(bound):g}" if bound != "+Inf" else bound), running
