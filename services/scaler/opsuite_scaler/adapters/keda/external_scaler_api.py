"""KEDA's external scaler contract, served: any KEDA cluster can take a policy for a trigger.

Both fields of a number are filled, since KEDA reads the floating-point one only if it is above 0. A value that nobody
knows is an error and not 0, so that KEDA's fallback begins. What a metric is called and what is wanted of it depends on
the policy alone, and is told also while its value cannot be.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final, Protocol

from opsuite.externalscaler import externalscaler_pb2 as pb
from opsuite.externalscaler import externalscaler_pb2_grpc as stubs
from opsuite_kernel.errors import Unavailable
from opsuite_scaler.adapters.keda.triggers import PolicyNow, Trigger, refused, trigger_of

COLLECTION: Final = "scalingPolicies/"
HEARTBEAT: Final = timedelta(seconds=15)
LARGEST_INT64: Final = 2**63 - 1


class PolicyStates(Protocol):
    """What is known of policies."""

    async def now(self, name: str) -> PolicyNow:
        """A policy ("scalingPolicies/checkout") and what its last look found. Raises: NotFound."""

    def next_change(self, name: str) -> asyncio.Future[None]:
        """Done when something about the policy may have changed after this call, which misses nothing from then on."""


class ExternalScalerServicer(stubs.ExternalScalerServicer):
    """Serves the contract."""

    def __init__(
        self, policies: PolicyStates, *, draining: asyncio.Event | None = None, heartbeat: timedelta = HEARTBEAT
    ) -> None:
        """`draining` ends streams; `heartbeat` is the longest silence on one."""
        self._policies = policies
        self._draining = draining or asyncio.Event()
        self._heartbeat = heartbeat

    async def IsActive(self, request: pb.ScaledObjectRef, context: Any) -> pb.IsActiveResponse:
        """Return whether there is something to do."""
        trigger = await self._trigger(request)
        if trigger.is_active is None:
            raise unknown(trigger)
        return pb.IsActiveResponse(result=trigger.is_active)

    async def StreamIsActive(self, request: pb.ScaledObjectRef, context: Any) -> AsyncIterator[pb.IsActiveResponse]:
        """Say it at once, whenever it changes, and as a heartbeat; nothing while nobody knows."""
        told: bool | None = None
        async for trigger, is_heartbeat in self._following(request):
            if trigger.is_active is not None and (is_heartbeat or trigger.is_active is not told):
                told = trigger.is_active
                yield pb.IsActiveResponse(result=told)

    async def GetMetricSpec(self, request: pb.ScaledObjectRef, context: Any) -> pb.GetMetricSpecResponse:
        """Return the metric and what is wanted of it."""
        return spec_of(await self._trigger(request))

    async def GetMetrics(self, request: pb.GetMetricsRequest, context: Any) -> pb.GetMetricsResponse:
        """Return the value."""
        trigger = await self._trigger(request.scaledObjectRef)
        if request.metricName not in {"", trigger.name}:
            raise refused(f"this trigger has the metric {trigger.name!r}, not {request.metricName!r}")
        return values_of(trigger)

    async def StreamMetricSpec(
        self, request: pb.ScaledObjectRef, context: Any
    ) -> AsyncIterator[pb.GetMetricSpecResponse]:
        """Say at once what is wanted, and again whenever that changes."""
        told: pb.GetMetricSpecResponse | None = None
        async for trigger, _ in self._following(request):
            if (spec := spec_of(trigger)) != told:
                told = spec
                yield spec

    async def _trigger(self, scaled: pb.ScaledObjectRef) -> Trigger:
        return trigger_of(await self._policies.now(policy_in(scaled)), scaled.scalerMetadata.get("metric", ""))

    async def _following(self, scaled: pb.ScaledObjectRef) -> AsyncIterator[tuple[Trigger, bool]]:
        """The trigger at once, after every change, and as a heartbeat, with whether it is that; until we drain."""
        name, is_heartbeat = policy_in(scaled), False
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            while not draining.done():
                change = self._policies.next_change(name)  # before looking, so that nothing is missed in between
                try:
                    yield await self._trigger(scaled), is_heartbeat
                    ends: set[asyncio.Future[Any]] = {change, draining}
                    limit = self._heartbeat.total_seconds()
                    done, _ = await asyncio.wait(ends, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    change.cancel()
                is_heartbeat = not done
        finally:
            draining.cancel()


def policy_in(scaled: pb.ScaledObjectRef) -> str:
    """Resource name of the policy that a trigger names, with or without its collection. Raises: InvalidInput."""
    named = scaled.scalerMetadata.get("policy", "").strip()
    if not named:
        raise refused("`policy` is missing: the name of a scaling policy")
    return named if named.startswith(COLLECTION) else f"{COLLECTION}{named}"


def unknown(trigger: Trigger) -> Unavailable:
    """The refusal to call a value 0 that nobody knows."""
    return Unavailable(f"{trigger.name} has no value: {trigger.why}", reason="METRIC_UNKNOWN")


def spec_of(trigger: Trigger) -> pb.GetMetricSpecResponse:
    """The wanted value in both fields; as a whole number it is at least 1, since 0 would be refused."""
    whole = min(max(1, round(trigger.target)), LARGEST_INT64)
    spec = pb.MetricSpec(metricName=trigger.name, targetSize=whole, targetSizeFloat=trigger.target)
    return pb.GetMetricSpecResponse(metricSpecs=[spec])


def values_of(trigger: Trigger) -> pb.GetMetricsResponse:
    """The value in both fields; as a whole number rounded up, or a little would be nothing. Raises: Unavailable."""
    if trigger.value is None:
        raise unknown(trigger)
    whole = min(math.ceil(trigger.value), LARGEST_INT64)
    value = pb.MetricValue(metricName=trigger.name, metricValue=whole, metricValueFloat=trigger.value)
    return pb.GetMetricsResponse(metricValues=[value])
