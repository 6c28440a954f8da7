"""Waits until objects of a cluster are ready, and tells what stands in their way: pods' reasons and warning events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final

from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import Denied
from opsuite_platforms.kubernetes_api import EVENTS, PODS, KubernetesApi, Resource
from opsuite_platforms.kubernetes_inventory import Reference
from opsuite_platforms.kubernetes_readiness import Standing, standing_of
from opsuite_platforms.kubernetes_status import pod_phase, sentence
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.manifests_port import ManifestResult
from opsuite_platforms.port import ReplicaPhase

# Seconds between two looks: soon at first, since much is ready at once.
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
# Pods of one object that are looked into, so that a large broken one costs as much as a small one.
EXPLAINED: Final = 3


class Waiting:
    """One wait, over several groups of objects if need be; every thing is told once."""

    def __init__(self, api: KubernetesApi, clock: Clock, deadline: timedelta, say: Callable[[str], None]) -> None:
        self._api = api
        self._clock = clock
        self._deadline = deadline
        self._say = say
        self._told = set[str]()
        self._furthest = dict[Reference, int]()
        self._moved_at = clock.monotonic()

    async def until_ready(self, objects: Iterable[tuple[Reference, Resource]]) -> ManifestResult:
        """How it ends: all ready, one failed, or nothing got further for the deadline."""
        pending = dict(objects)
        self._moved_at = self._clock.monotonic()
        seconds = FIRST_PAUSE
        while True:
            standings = await self._look(pending)
            pending = {each: pending[each] for each, standing in standings.items() if not standing.is_ready}
            if not pending:
                return ManifestResult(succeeded=True)
            if failed := [each for each, standing in standings.items() if standing.has_failed]:
                return self._failure(failed, standings, "")
            if self._clock.monotonic() - self._moved_at >= self._deadline.total_seconds():
                text = f"nothing got further for {self._deadline.total_seconds():g} s: "
                return self._failure(list(pending), standings, text)
            await asyncio.sleep(seconds)
            seconds = min(LONGEST_PAUSE, seconds * 1.5)

    async def _look(self, pending: dict[Reference, Resource]) -> dict[Reference, Standing]:
        """Where each of them stands now; tells what is new."""
        looks = await asyncio.gather(*(self._standing(each, resource) for each, resource in pending.items()))
        standings = dict(zip(pending, looks, strict=True))
        for reference, standing in standings.items():
            if standing.is_ready or standing.progress > self._furthest.get(reference, 0):
                self._furthest[reference] = standing.progress
                self._moved_at = self._clock.monotonic()
            if standing.is_ready:
                self._tell(f"{reference} is ready")
        return standings

    async def _standing(self, reference: Reference, resource: Resource) -> Standing:
        thing = await self._api.find(resource, reference.namespace, reference.name)
        if thing is None:
            return Standing(is_ready=False, message="was removed by someone", has_failed=True)
        standing = standing_of({"apiVersion": resource.group_version, "kind": resource.kind, **thing})
        if standing.is_ready:
            return standing
        troubles = await self._troubles(thing, reference)
        for text in [f"{reference}: {standing.message}", *troubles]:
            self._tell(text)
        message = "; ".join([standing.message, *troubles])
        return Standing(standing.is_ready, message, standing.has_failed, standing.progress)

    async def _troubles(self, thing: Object, reference: Reference) -> Sequence[str]:
        """What its pods wait for, and what its controllers warn of; nothing where that may not be read."""
        try:
            pods = await self._troubled_pods(thing, reference)
            warnings = await asyncio.gather(*(self._warnings(each, reference.namespace) for each in [thing, *pods]))
        except Denied:
            return []
        reasons = [f"pod {pod['metadata']['name']}: {why}" for pod in pods if (why := pod_phase(pod)[1])]
        return list(dict.fromkeys([*reasons, *(text for texts in warnings for text in texts)]))

    async def _troubled_pods(self, thing: Object, reference: Reference) -> Sequence[Object]:
        selector = ((thing.get("spec") or {}).get("selector") or {}) if reference.kind != "Service" else {}
        labels = selector.get("matchLabels") if isinstance(selector, dict) else None
        if not labels or not reference.namespace:
            return []
        text = ",".join(f"{name}={value}" for name, value in labels.items())
        pods = await self._api.list(PODS, reference.namespace, labels=text)
        return [pod for pod in pods if is_troubled(pod)][:EXPLAINED]

    async def _warnings(self, thing: Object, namespace: str) -> Sequence[str]:
        fields = f"involvedObject.uid={thing['metadata']['uid']},type=Warning"
        events = await self._api.list(EVENTS, namespace or "default", fields=fields)
        return [f"{event['involvedObject']['name']}: {sentence(event)}" for event in events]

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._say(text)

    def _failure(self, which: Sequence[Reference], standings: dict[Reference, Standing], begin: str) -> ManifestResult:
        what = "; ".join(f"{each}: {standings[each].message}" for each in which)
        return ManifestResult(succeeded=False, message=begin + what)


def is_troubled(pod: Object) -> bool:
    """Whether it neither works, nor has done its work, nor is about to go."""
    has_succeeded = pod.get("status", {}).get("phase") == "Succeeded"
    is_going = "deletionTimestamp" in pod["metadata"]
    return not has_succeeded and not is_going and pod_phase(pod)[0] is not ReplicaPhase.RUNNING
