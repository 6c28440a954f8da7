"""`ConfiguredTargets`: every kind of target that the settings give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from opsuite_kernel.errors import Denied, InvalidInput, Unavailable, Violation
from opsuite_scaler.application.ports import Scale
from opsuite_scaler.domain.policy import TargetKind, TargetRef


class SizedTargets(Protocol):
    """Targets of one kind; the port `ScalableTargets` tells what each verb does. May also raise: Denied."""

    async def get_scale(self, ref: TargetRef) -> Scale:
        """The size as it is now."""

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size."""


class ConfiguredTargets:
    """Fits `opsuite_scaler.application.ports.ScalableTargets`."""

    def __init__(self, targets: Mapping[TargetKind, SizedTargets]) -> None:
        self._targets = dict(targets)

    async def get_scale(self, ref: TargetRef) -> Scale:
        """The size as it is now; the port tells the rest."""
        try:
            return await self._of(ref).get_scale(ref)
        except Denied as refusal:
            raise not_allowed(refusal) from refusal

    async def set_scale(self, ref: TargetRef, replicas: int, *, expected: Scale) -> None:
        """Ask for a size; the port tells the rest."""
        try:
            await self._of(ref).set_scale(ref, replicas, expected=expected)
        except Denied as refusal:
            raise not_allowed(refusal) from refusal

    def _of(self, ref: TargetRef) -> SizedTargets:
        if (targets := self._targets.get(ref.kind)) is None:
            raise unknown(f"this server has no targets of kind {ref.kind.value}")
        return targets


def unknown(what: str) -> InvalidInput:
    """The refusal of a target that can be nowhere."""
    return InvalidInput([Violation("target", what, "UNKNOWN")])


def not_allowed(refusal: Denied) -> Unavailable:
    """Rights that this server lacks are no fault of whoever asks it."""
    return Unavailable(refusal.message, reason="TARGET_FORBIDDEN", metadata=refusal.metadata)
