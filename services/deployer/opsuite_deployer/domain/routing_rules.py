"""What must be right about who sends requests to a workload that is rolled out. Paths start at the rollout."""

from __future__ import annotations

from collections.abc import Iterator

from opsuite_deployer.domain.pipeline import Rollout, WorkloadPlatform
from opsuite_deployer.domain.routing import EdgeRouter, ServiceRouter, TrafficRouting
from opsuite_deployer.domain.strategy import Canary, SetWeight, moves_replica_by_replica
from opsuite_kernel.errors import Violation


def routing_violations(rollout: Rollout) -> Iterator[Violation]:
    """What is wrong with the traffic and the health of a rollout of correct shape."""
    ports = [port.name for port in rollout.workload.ports]
    if rollout.health is not None:
        yield from _port("health.port", rollout.health.port, ports, needed=bool(rollout.health.path))
    if rollout.traffic is None:
        return
    if isinstance(rollout.traffic.router, EdgeRouter):
        yield from _port("traffic.edge.port", rollout.traffic.router.port, ports, needed=True)
        yield from _edge(rollout)
    else:
        yield from _kubernetes(rollout, rollout.traffic)


def _port(field: str, name: str, ports: list[str], *, needed: bool) -> Iterator[Violation]:
    if name and name not in ports:
        yield Violation(field, f"{name} is not a port of the workload", "UNKNOWN")
    elif needed and not ports:
        yield Violation("workload.ports", "requests need a port", "REQUIRED")


def _edge(rollout: Rollout) -> Iterator[Violation]:
    if rollout.workload.platform is WorkloadPlatform.KUBERNETES:
        reason = "edges do not reach pods by address: use http_route or service"
        yield Violation("traffic.edge", reason, "CONTRADICTORY")


def _kubernetes(rollout: Rollout, traffic: TrafficRouting) -> Iterator[Violation]:
    kind = "service" if isinstance(traffic.router, ServiceRouter) else "http_route"
    if rollout.workload.platform is not WorkloadPlatform.KUBERNETES:
        yield Violation(f"traffic.{kind}", "is for workloads on Kubernetes", "CONTRADICTORY")
    if not rollout.workload.ports:
        yield Violation("workload.ports", "requests need a port", "REQUIRED")
    if traffic.sticky is not None:
        yield Violation("traffic.sticky", "only edges keep clients with a version", "CONTRADICTORY")
    if kind == "http_route":
        return
    if moves_replica_by_replica(rollout.strategy):
        reason = "leave traffic out: a Service that selects opsuite.part_of reaches old and new replicas"
        yield Violation("traffic.service", reason, "CONTRADICTORY")
    if traffic.matches:
        yield Violation("traffic.matches", "a Service cannot pick requests out", "CONTRADICTORY")
    if traffic.mirror_percent:
        yield Violation("traffic.mirror_percent", "a Service cannot copy requests", "CONTRADICTORY")
    if isinstance(rollout.strategy, Canary) and any(isinstance(step, SetWeight) for step in rollout.strategy.steps):
        yield Violation(
            "canary.steps", "a Service sends all requests or none: weights need another router", "CONTRADICTORY"
        )
