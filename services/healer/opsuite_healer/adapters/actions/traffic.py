"""Routes of the deployer: taking a replica out, putting it back, splitting requests by hand for a time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from opsuite.deployer.v1 import traffic_service_pb2 as pb
from opsuite.deployer.v1.traffic_service_pb2_grpc import TrafficServiceStub
from opsuite_healer.adapters.actions.action import done
from opsuite_healer.adapters.actions.once import request_id_of
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.peers import Peer
from opsuite_healer.adapters.rollouts import DeployerRollouts
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict
from opsuite_runs.faults import declare

REROUTED: Final = declare("healer.rerouted", "the deployer has accepted another route, that is not recorded")
WHOLE: Final = 100
_WEIGHT: Final = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)=(\d{1,3})").fullmatch

Weights = Mapping[str, int]
"""Percent by name of the revision."""


class Traffic:
    """Asks one deployer."""

    def __init__(self, deployer: Peer, rollouts: DeployerRollouts, workloads: Workloads) -> None:
        self._deployer = deployer
        self._rollouts = rollouts
        self._workloads = workloads

    async def route_of(self, target: TargetRef) -> str:
        """Name of the workload whose route leads to the target. Raises Conflict (NO_ROUTE)."""
        workload = await self._rollouts.workload(target)
        if workload is None:
            raise Conflict(f"the deployer has no route to {target.canonical}", reason="NO_ROUTE")
        return workload.name

    async def prepare_drain(self, target: TargetRef, max_share: int) -> Mapping[str, str]:
        """Route and endpoint of a replica. Raises Conflict (REPLICA_REQUIRED, NOT_IN_ROUTE, SHARE_EXCEEDED)."""
        if not target.replica:
            raise Conflict(f"{target.canonical} is no replica, which is what can be drained", reason="REPLICA_REQUIRED")
        route = await self.route_of(target)
        weights = await self._weights(route)
        taking = {endpoint for revision in weights.revisions for endpoint in revision.endpoints}
        drained = set(weights.drained_endpoints)
        endpoint = next((one for one in await self._endpoints(target) if one in taking | drained), None)
        if endpoint is None:
            raise Conflict(f"no route leads to {target.canonical}", reason="NOT_IN_ROUTE")
        refuse_beyond(len(drained | {endpoint}), len(taking | drained), max_share, route)
        return {"route": route, "endpoint": endpoint}

    async def drain(self, call: ActionCall, before: Mapping[str, str], *, undo: bool) -> ActionResult:
        """Take an endpoint out of its route, or put it back."""
        request = pb.DrainEndpointRequest(
            request_id=request_id_of(call),
            name=before["route"],
            endpoint=before["endpoint"],
            undo=undo,
            reason=f"{call.actor}: {call.reason}"[:1024],
        )
        await self._deployer.ask(lambda channel: TrafficServiceStub(channel).DrainEndpoint(request))
        REROUTED.hit()
        if undo:
            return done(f"{before['endpoint']} is in the route of {before['route']} again", before)
        restore = ActionSpec("REBALANCE_LOAD", {"mode": "restore", "endpoint": before["endpoint"]})
        return done(f"{before['endpoint']} is out of the route of {before['route']}", before, restore)

    async def prepare_weights(self, target: TargetRef, wanted: Weights, max_share: int) -> Mapping[str, str]:
        """Route and what it was. Raises Conflict (SHARE_EXCEEDED)."""
        route = await self.route_of(target)
        weights = await self._weights(route)
        present = {revision.revision: revision.weight for revision in weights.revisions}
        moved = sum(max(0, share - wanted.get(revision, 0)) for revision, share in present.items())
        refuse_beyond(moved, WHOLE, max_share, route)
        return {"route": route, "weights": ",".join(f"{name}={share}" for name, share in sorted(present.items()))}

    async def split(self, call: ActionCall, before: Mapping[str, str], wanted: Weights, ttl: timedelta) -> ActionResult:
        """Split the requests by hand; that ends by itself, so nothing has to be undone."""
        request = pb.SetWeightsRequest(
            request_id=request_id_of(call), name=before["route"], reason=f"{call.actor}: {call.reason}"[:1024]
        )
        for revision, share in wanted.items():
            request.revisions.add(revision=revision, weight=share)
        request.ttl.FromTimedelta(ttl)
        await self._deployer.ask(lambda channel: TrafficServiceStub(channel).SetWeights(request))
        REROUTED.hit()
        return done(f"the requests of {before['route']} are split by hand for {ttl}", before)

    async def _weights(self, route: str) -> pb.RouteWeights:
        request = pb.GetWeightsRequest(name=route)
        answer: pb.GetWeightsResponse = await self._deployer.ask(
            lambda channel: TrafficServiceStub(channel).GetWeights(request)
        )
        return answer.weights

    async def _endpoints(self, target: TargetRef) -> Sequence[str]:
        return [
            f"{copy.replica.host}:{port}"
            for copy in await self._workloads.copies(target)
            for port in copy.replica.ports.values()
        ]


def refuse_beyond(without: int, total: int, max_share: int, what: str) -> None:
    """Raises Conflict (SHARE_EXCEEDED) if more than `max_share` percent would be without load."""
    if without * WHOLE > max_share * total:
        share = WHOLE * without // max(total, 1)
        raise Conflict(
            f"{what}: {without} of {total} ({share} %) would be without load, more than {max_share} %",
            reason="SHARE_EXCEEDED",
            metadata={"without": str(without), "total": str(total), "max_share": str(max_share)},
        )


def weights_of(params: Reader) -> Weights:
    """The weights of a spec: they add up to 100."""
    parts = params.listed("weights")
    matches = [_WEIGHT(part) for part in parts]
    found = {match[1]: int(match[2]) for match in matches if match}
    if parts and (len(found) != len(parts) or sum(found.values()) != WHOLE):
        params.wrong("weights", 'must be shares of revisions that add up to 100: "a=80,b=20"', "WEIGHTS")
    return found
