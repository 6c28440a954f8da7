"""Metrics with a sample for each member: CPU, memory, and whatever else each one reports.

The ratio is one of sums, not a mean of ratios. Members without a usable sample are first left out; when that could
mislead, they are counted again in the way that lessens the change: as idle when it would grow, as busy when it would
shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from opsuite_scaler.domain.decision import Inputs
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.members import Classes, classify
from opsuite_scaler.domain.policy import MetricSpec, Resource, TargetType
from opsuite_scaler.domain.proposals import MetricFailed, Proposal, Tolerance, reason_for, tolerance_of
from opsuite_scaler.domain.quantities import quantity, quotient, replicas_for, scale_of, total_of, wanted
from opsuite_scaler.domain.snapshot import Member, Reading

FULL: Final = 100
"""Percent of its request that a silent member counts for, at least, before anything shrinks."""


class Load(NamedTuple):
    """What is compared with the target."""

    shown: int
    """Whole percent for utilisation; else the mean in the metric's smallest unit."""
    ratio: float


class Yardstick(NamedTuple):
    """How samples become a ratio: with requests as a share of them, without as a mean."""

    target: int
    requests: Mapping[str, int] | None

    def load(self, samples: Mapping[str, int]) -> Load:
        """Utilisation is cut to whole percent before it is divided by the target, as HPA does."""
        if self.requests is None:
            shown = quotient(total_of(samples.values()), len(samples))
        else:
            requested = total_of(self.requests[name] for name in samples)
            if requested <= 0:
                raise MetricFailed("the members with a sample requested nothing")
            shown = quotient(100 * total_of(samples.values()), requested)
        return Load(shown, shown / self.target)

    def busy(self, member: Member) -> int:
        """What a silent member is taken to use when the size would shrink."""
        if self.requests is None:
            return self.target
        return quotient(self.requests[member.name] * max(FULL, self.target), 100)


def propose(draft: Draft, spec: MetricSpec, reading: Reading) -> Proposal:
    """What the members' load asks for. Raises MetricFailed."""
    snapshot = draft.snapshot
    if not snapshot.members:
        raise MetricFailed("the target has no members")
    is_cpu = spec.resource is Resource.CPU
    classes = classify(snapshot.members, reading, draft.policy.timing, snapshot.now, is_cpu=is_cpu)
    scale = scale_of(spec)
    samples = {member.name: quantity(reading.by_member[member.name], scale) for member in classes.ready}
    if not samples:
        raise MetricFailed("no member has a usable sample (they may not be ready yet)")
    yardstick = _yardstick(spec, snapshot.members, scale)
    load = yardstick.load(samples)
    replicas = _replicas(draft.current, classes, samples, load.ratio, yardstick, tolerance_of(draft))
    return _told(draft, spec, classes, load, replicas, scale)


def _yardstick(spec: MetricSpec, members: Iterable[Member], scale: int) -> Yardstick:
    if spec.target_type is not TargetType.UTILIZATION:
        return Yardstick(wanted(spec.target, scale), None)
    resource = spec.resource.value if spec.resource else ""
    key = f"{resource}/{spec.container}" if spec.container else resource
    requests = {}
    for member in members:
        if key not in member.requests:
            raise MetricFailed(f"member {member.name} does not say how much {key} it requested")
        requests[member.name] = quantity(member.requests[key], scale)
    return Yardstick(wanted(int(spec.target), 1), requests)


def _replicas(
    current: int,
    classes: Classes,
    samples: Mapping[str, int],
    ratio: float,
    yardstick: Yardstick,
    tolerance: Tolerance,
) -> int:
    grows_past_unready = bool(classes.unready) and ratio > 1.0
    if not classes.missing and not grows_past_unready:
        return current if tolerance.holds(ratio) else replicas_for(ratio * len(samples))
    counted = _counted(classes, samples, ratio, yardstick)
    careful = yardstick.load(counted).ratio
    if tolerance.holds(careful) or (careful - 1.0) * (ratio - 1.0) < 0:
        return current
    replicas = replicas_for(careful * len(counted))
    turns = (careful < 1.0 and replicas > current) or (careful > 1.0 and replicas < current)
    return current if turns else replicas


def _counted(classes: Classes, samples: Mapping[str, int], ratio: float, yardstick: Yardstick) -> dict[str, int]:
    """The samples, and for the members without one what lessens the change."""
    counted = dict(samples)
    if ratio < 1.0:
        counted.update((member.name, yardstick.busy(member)) for member in classes.missing)
    elif ratio > 1.0:
        counted.update((member.name, 0) for member in classes.missing)
        counted.update((member.name, 0) for member in classes.unready)
    return counted


def _told(draft: Draft, spec: MetricSpec, classes: Classes, load: Load, replicas: int, scale: int) -> Proposal:
    ready, unready, missing = len(classes.ready), len(classes.unready), len(classes.missing)
    value = float(load.shown) if spec.target_type is TargetType.UTILIZATION else load.shown / scale
    unit = "%" if spec.target_type is TargetType.UTILIZATION else ""
    message = (
        f"{spec.name} is {value:g}{unit} of a wanted {spec.target:g}{unit} over {ready} ready, {unready} unready "
        f"and {missing} silent members: {replicas} replicas"
    )
    inputs: Inputs = {
        "metric": spec.name,
        "value": value,
        "target": spec.target,
        "ratio": load.ratio,
        "ready": ready,
        "unready": unready,
        "missing": missing,
        "proposal": replicas,
    }
    return Proposal(replicas, reason_for(replicas, draft.current), message, inputs, value)
