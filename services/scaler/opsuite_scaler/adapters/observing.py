"""What a look leaves behind: counters by reason, and a span where something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from opsuite_scaler.application.records import name_of
from opsuite_scaler.domain.decision import Outcome, Verdict

BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Observing:
    """Fits `application.targets.Watcher`."""

    def __init__(self, tracer: trace.Tracer, registry: CollectorRegistry, namespace: str) -> None:
        self._tracer = tracer
        self.on_look: Callable[[str], None] = lambda _: None
        """Called with a policy after each look at its target."""
        self._decisions = Counter(
            "scaler_decisions",
            "Decisions of policies, by kind and reason.",
            ["verdict", "reason"],
            namespace=namespace,
            registry=registry,
        )
        self._replicas = Counter(
            "scaler_replicas_changed",
            "Replicas that were asked for beyond, or below, what there was.",
            ["direction"],
            namespace=namespace,
            registry=registry,
        )
        self._seconds = Histogram(
            "scaler_look_duration_seconds",
            "Time that one look at one target takes, with all that follows from it.",
            namespace=namespace,
            registry=registry,
            buckets=BUCKETS,
        )
        self.attended = Gauge(
            "scaler_targets",
            "Targets that this process looks after.",
            namespace=namespace,
            registry=registry,
        )

    @contextmanager
    def look(self, policy: str) -> Iterator[None]:
        """Around one look."""
        try:
            with self._seconds.time():
                yield
        finally:
            self.on_look(policy)

    def decided(self, policy: str, outcome: Outcome) -> None:
        """Count a decision; one that changes something gets a span that holds its explanation."""
        decision = outcome.decision
        self._decisions.labels(decision.verdict.value, decision.reason).inc()
        if decision.verdict is not Verdict.SCALE:
            return
        if decision.is_to_be_done:
            change = decision.desired - decision.current
            self._replicas.labels("up" if change > 0 else "down").inc(abs(change))
        attributes: dict[str, str | int | bool] = {
            "scaler.policy": name_of(policy),
            "scaler.current": decision.current,
            "scaler.desired": decision.desired,
            "scaler.reason": decision.reason,
            "scaler.dry_run": decision.is_dry_run,
        }
        with self._tracer.start_as_current_span("scaler.decide", attributes=attributes) as span:
            for step in outcome.steps:
                span.add_event(
                    step.rule,
                    {
                        "before": step.before,
                        "after": step.after,
                        "reason": step.reason,
                        "message": step.message,
                        **{f"input.{name}": value for name, value in step.inputs.items()},
                    },
                )
