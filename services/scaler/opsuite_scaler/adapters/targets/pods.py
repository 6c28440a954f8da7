"""What a pod says about itself, as the decision sees it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opsuite_platforms.kubernetes_status import condition, time_of
from opsuite_platforms.kubernetes_transport import Object
from opsuite_platforms.usage import CPU, MEMORY
from opsuite_platforms.usage_kubernetes import amounts
from opsuite_scaler.domain.snapshot import Member, MemberPhase


def member_of(pod: Object) -> Member:
    """One pod. It is ready when it says so; the time of its start is when a node took it, as HPA has it."""
    status = pod.get("status") or {}
    ready = condition(pod, "Ready")
    return Member(
        name=pod["metadata"]["name"],
        phase=phase_of(pod),
        ready=ready["status"] == "True" if ready else None,
        started_at=time_of(status.get("startTime")),
        ready_changed_at=time_of(ready.get("lastTransitionTime")),
        requests=requests_of(pod["spec"]),
    )


def phase_of(pod: Object) -> MemberPhase:
    """Where it stands; one that has ended well counts no more than one that has failed."""
    if "deletionTimestamp" in pod["metadata"]:
        return MemberPhase.DELETING
    match (pod.get("status") or {}).get("phase", "Pending"):
        case "Pending":
            return MemberPhase.PENDING
        case "Failed" | "Succeeded":
            return MemberPhase.FAILED
        case _:
            return MemberPhase.RUNNING


def requests_of(spec: Object) -> Mapping[str, float]:
    """What a pod requests: for the pod as a whole where it says so, else of all its containers together.

    Init containers that go on running count as containers. A resource that one of them does not request is absent from
    the total: no share of an unknown amount can be told. Single containers are "cpu/NAME".
    """
    containers = [*spec.get("containers", ()), *(each for each in spec.get("initContainers", ()) if is_sidecar(each))]
    asked = {each["name"]: requested(each) for each in containers}
    single = {f"{resource}/{name}": amount for name, each in asked.items() for resource, amount in each.items()}
    return {**totals(list(asked.values())), **requested(spec), **single}


def is_sidecar(container: Object) -> bool:
    """Whether an init container goes on running beside the others."""
    return bool(container.get("restartPolicy") == "Always")


def requested(thing: Object) -> Mapping[str, float]:
    """What a container, or a pod as a whole, requests, by resource."""
    return amounts((thing.get("resources") or {}).get("requests") or {})


def totals(asked: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The sum of each resource that everyone requests."""
    return {
        resource: sum(each[resource] for each in asked)
        for resource in (CPU, MEMORY)
        if asked and all(resource in each for each in asked)
    }
