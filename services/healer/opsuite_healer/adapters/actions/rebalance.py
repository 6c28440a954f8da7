"""REBALANCE_LOAD: takes load from a replica or a revision, and never more than a share of the whole.

Modes: `drain` takes one replica out of its route and `restore` puts it back, `weights` splits the requests by hand for
a time (all by the deployer's TrafficService); `evict` asks Kubernetes to move a pod, which honours disruption budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from opsuite_healer.adapters.actions.action import target_of
from opsuite_healer.adapters.actions.eviction import Eviction
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.actions.traffic import Traffic, Weights, weights_of
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.errors import Conflict, InvalidInput, Violation
from opsuite_validation.values import check_host_port

MODES: Final = ("drain", "restore", "weights", "evict")


@dataclass(frozen=True, slots=True)
class Balance:
    """What is wanted."""

    mode: str
    max_share: int
    """Percent of the load, or of the replicas, that may be moved away."""
    weights: Weights
    ttl: timedelta
    endpoint: str


class RebalanceLoad:
    """Leaves each mode to whoever can do it."""

    def __init__(self, traffic: Traffic | None, eviction: Eviction) -> None:
        self._traffic = traffic
        self._eviction = eviction
        self.kind = ActionKind(
            "REBALANCE_LOAD",
            "Takes load from a replica (drain, evict) or moves it between revisions (weights).",
            Risk.MEDIUM,
            (
                Parameter(
                    "mode", "drain, restore, weights (by the deployer), or evict (Kubernetes).", is_required=True
                ),
                Parameter("max_share", "Percent of the whole that may be without load after it.", default="50"),
                Parameter("weights", 'For weights: "checkout-1a2b=80,checkout-3c4d=20", together 100.'),
                Parameter("ttl", "For weights: when the split ends by itself.", default="30m"),
                Parameter("endpoint", 'For restore: "127.0.0.1:20001".'),
            ),
        )

    def read(self, params: Reader) -> Balance:
        """What is wanted."""
        mode = params.choice("mode", MODES)
        if mode in {"drain", "restore", "weights"} and self._traffic is None:
            params.wrong("mode", f"{mode} needs a deployer, and none is set (HEALER_DEPLOYER_ADDRESS)", "NO_DEPLOYER")
        if mode == "weights":
            params.require("weights", "with mode weights")
        endpoint = params.text("endpoint")
        if mode == "restore":
            params.require("endpoint", "with mode restore")
        if endpoint and (why := check_host_port(endpoint)):
            params.wrong("endpoint", why, "FORMAT_HOST_PORT")
        return Balance(
            mode=mode,
            max_share=params.whole("max_share", 50, least=1, most=100),
            weights=weights_of(params),
            ttl=params.duration("ttl", timedelta(minutes=30)),
            endpoint=endpoint,
        )

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """What is moved. Raises Conflict (SHARE_EXCEEDED, REPLICA_REQUIRED, NO_ROUTE)."""
        wanted, target = self._wanted(call), target_of(call)
        match wanted.mode:
            case "evict":
                return await self._eviction.prepare(target, wanted.max_share)
            case "drain":
                return await self._known.prepare_drain(target, wanted.max_share)
            case "weights":
                return await self._known.prepare_weights(target, wanted.weights, wanted.max_share)
            case _:
                return {"route": await self._known.route_of(target), "endpoint": wanted.endpoint}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Move it."""
        wanted = self._wanted(call)
        match wanted.mode:
            case "evict":
                return await self._eviction.run(target_of(call), before)
            case "weights":
                return await self._known.split(call, before, wanted.weights, wanted.ttl)
            case mode:
                return await self._known.drain(call, before, undo=mode == "restore")

    def _wanted(self, call: ActionCall) -> Balance:
        reader = Reader(call.spec.params)
        wanted = self.read(reader)
        if not wanted.mode:
            raise InvalidInput([*reader.found, Violation("mode", "is required", "REQUIRED")])
        return wanted

    @property
    def _known(self) -> Traffic:
        if self._traffic is None:
            raise Conflict("no deployer is set (HEALER_DEPLOYER_ADDRESS)", reason="ACTION_NOT_AVAILABLE")
        return self._traffic
