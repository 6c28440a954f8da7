"""SCALE_UP and SCALE_BACK: sizes, changed by the scaler within a bound, and put back when the trouble is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from opsuite.scaler.v1 import policy_pb2, scaler_service_pb2
from opsuite.scaler.v1 import target_service_pb2 as pb
from opsuite.scaler.v1.scaler_service_pb2_grpc import ScalerServiceStub
from opsuite.scaler.v1.target_service_pb2_grpc import ScalableTargetServiceStub
from opsuite_healer.adapters.actions.action import done, refused, target_of
from opsuite_healer.adapters.actions.once import request_id_of
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.peers import Peer
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, ActionSpec, Parameter, Risk
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Conflict
from opsuite_runs.faults import declare

SCALED: Final = declare("healer.scaled", "the scaler has accepted a size, that is not recorded")
MOST: Final = 100_000
LOOK_SECONDS: Final = 0.5
NO_SCALER: Final = "no scaler is set (HEALER_SCALER_ADDRESS)"
TAKEN: Final = "TARGET_TAKEN"
"""What the scaler says where a policy decides about the size."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How much is wanted."""

    by: int
    most: int
    hold: timedelta


class Sizes:
    """Asks one scaler for the sizes of targets."""

    def __init__(self, scaler: Peer, clock: Clock) -> None:
        self._scaler = scaler
        self._clock = clock

    async def get(self, target: TargetRef) -> pb.Scale:
        """A size as it is. Raises NotFound, Unavailable."""
        request = pb.GetScaleRequest(target=_reference(target))
        answer: pb.GetScaleResponse = await self._scaler.ask(
            lambda channel: ScalableTargetServiceStub(channel).GetScale(request)
        )
        return answer.scale

    async def set(self, call: ActionCall, size: int, expected: int) -> None:
        """Change a size that no policy looks after. Raises Conflict (TARGET_TAKEN, SIZE_CHANGED)."""
        request = pb.UpdateScaleRequest(
            request_id=request_id_of(call),
            target=_reference(target_of(call).whole),
            replicas=size,
            expected_replicas=expected,
        )
        await self._scaler.ask(lambda channel: ScalableTargetServiceStub(channel).UpdateScale(request))

    async def wish(self, call: ActionCall, policy: str, size: int, hold: timedelta) -> None:
        """Ask a policy for a size, and return when the target has it. Raises InvalidInput (beyond its bounds)."""
        request = scaler_service_pb2.SetDesiredCapacityRequest(
            request_id=request_id_of(call), name=policy, replicas=size, reason=f"{call.actor}: {call.reason}"[:1024]
        )
        request.hold_until.FromDatetime(self._clock.now() + hold)
        await self._scaler.ask(lambda channel: ScalerServiceStub(channel).SetDesiredCapacity(request))
        while (await self.get(target_of(call).whole)).spec_replicas != size:  # noqa: ASYNC110 - the timeout of the action ends it
            await asyncio.sleep(LOOK_SECONDS)


class ScaleUp:
    """Adds replicas, never beyond a bound. Where a policy decides about the size, that is asked to."""

    def __init__(self, sizes: Sizes | None) -> None:
        self._sizes = sizes
        self.kind = ActionKind(
            "SCALE_UP",
            "Adds replicas through the scaler, and takes them back when the trouble is over.",
            Risk.MEDIUM,
            (
                Parameter("max", "Largest size that it may lead to.", is_required=True),
                Parameter("by", "Replicas to add.", default="1"),
                Parameter("hold", "Where a policy decides about the size: how long it keeps this one.", default="30m"),
            ),
            is_available=sizes is not None,
            why_not="" if sizes else NO_SCALER,
        )

    def read(self, params: Reader) -> Growth:
        """How much is wanted."""
        return Growth(
            by=params.whole("by", 1, least=1, most=1000),
            most=params.whole("max", 1, least=1, most=MOST),
            hold=params.duration("hold", timedelta(minutes=30)),
        )

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """The size now, and the one that is wanted. Raises Conflict (AT_MAXIMUM)."""
        growth, scale = self.read(Reader(call.spec.params)), await self._known.get(target_of(call).whole)
        size = min(scale.spec_replicas + growth.by, growth.most)
        if size <= scale.spec_replicas:
            why = f"{target_of(call).whole.canonical} has {scale.spec_replicas} replicas already; max is {growth.most}"
            raise Conflict(why, reason="AT_MAXIMUM")
        return {"from": str(scale.spec_replicas), "to": str(size)}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Ask for the size, unless the target has it already."""
        size, expected = int(before["to"]), int(before["from"])
        scale = await self._known.get(target_of(call).whole)
        undo: ActionSpec | None = ActionSpec("SCALE_BACK", {"from": str(size), "to": str(expected)})
        if scale.spec_replicas == size:
            return done(f"{size} replicas, as wanted", before, undo)
        if scale.spec_replicas != expected:
            why = f"somebody has changed the size from {expected} to {scale.spec_replicas}"
            return refused(why, {"reason": "SIZE_CHANGED", "size": str(scale.spec_replicas)})
        try:
            await self._known.set(call, size, expected)
        except Conflict as conflict:
            if conflict.reason != TAKEN or not scale.policy:
                raise
            await self._known.wish(call, scale.policy, size, self.read(Reader(call.spec.params)).hold)
            undo = None  # the policy takes them back by itself
        SCALED.hit()
        return done(f"scaled from {expected} to {size} replicas", before, undo)

    @property
    def _known(self) -> Sizes:
        assert self._sizes is not None  # noqa: S101 - the registry runs no action that is not available
        return self._sizes


class ScaleBack:
    """Puts a size back, if it is still the one that was set."""

    def __init__(self, sizes: Sizes | None) -> None:
        self._sizes = sizes
        self.kind = ActionKind(
            "SCALE_BACK",
            "Takes a SCALE_UP back, unless the size has changed since.",
            Risk.MEDIUM,
            (
                Parameter("from", "Size that it has to have now.", is_required=True),
                Parameter("to", "Size that it gets.", is_required=True),
            ),
            is_available=sizes is not None,
            why_not="" if sizes else NO_SCALER,
        )

    def read(self, params: Reader) -> tuple[int, int]:
        """The size that it has to have, and the one that it gets."""
        return params.whole("from", 0, least=0, most=MOST), params.whole("to", 0, least=0, most=MOST)

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing: both sizes stand in the parameters."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Put it back."""
        assert self._sizes is not None  # noqa: S101 - the registry runs no action that is not available
        expected, size = self.read(Reader(call.spec.params))
        present = (await self._sizes.get(target_of(call).whole)).spec_replicas
        facts = {"from": str(expected), "to": str(size)}
        if present == size:
            return done(f"{size} replicas, as wanted", facts)
        if present != expected:
            return done(f"left as it is: the size has changed to {present} since", {"size": str(present)})
        try:
            await self._sizes.set(call, size, expected)
        except Conflict as conflict:
            if conflict.reason != TAKEN:
                raise
            return done("left to the policy that decides about the size", {"size": str(present)})
        return done(f"scaled back from {expected} to {size} replicas", facts)


def _reference(target: TargetRef) -> policy_pb2.ScaleTargetRef:
    return policy_pb2.ScaleTargetRef(
        kind=policy_pb2.TARGET_KIND_WORKLOAD,
        name=target.workload,
        platform=target.platform,
        namespace=target.namespace,
    )
