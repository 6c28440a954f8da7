"""Sizes of targets, whether or not a policy looks after them."""

from __future__ import annotations

from opsuite_kernel.clock import Clock
from opsuite_scaler.application.errors import SizeChanged, TargetTaken
from opsuite_scaler.application.ports import ScalableTargets, Scale
from opsuite_scaler.application.records import PolicyRecord
from opsuite_scaler.application.store import Store
from opsuite_scaler.domain.modes import mode_at
from opsuite_scaler.domain.policy import Mode, TargetRef


class Sizes:
    """The use cases of ScalableTargetService."""

    def __init__(self, store: Store, targets: ScalableTargets, clock: Clock) -> None:
        self._store = store
        self._targets = targets
        self._clock = clock

    async def get(self, ref: TargetRef) -> tuple[Scale, PolicyRecord | None]:
        """A size, and the policy that looks after it. Raises NotFound, Unavailable, InvalidInput."""
        scale = await self._targets.get_scale(ref)
        return scale, await self._store.read(lambda tx: tx.policy_of(ref))

    async def set(self, ref: TargetRef, replicas: int, expected: int | None) -> None:
        """Change a size at once. Raises what `get` does, TargetTaken (a policy would change it back), SizeChanged."""
        scale, record = await self.get(ref)
        if record is not None and mode_at(record.policy.mode, self._clock.now()) not in {Mode.PAUSED, Mode.DRY_RUN}:
            raise TargetTaken(record.id)
        if expected is not None and scale.spec_replicas != expected:
            raise SizeChanged(expected, scale.spec_replicas)
        await self._targets.set_scale(ref, replicas, expected=scale)
