"""What can be wrong with a request in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_kernel.errors import Conflict, NotFound, Stale, Unavailable


class PolicyNotFound(NotFound):
    """There is no such policy."""

    def __init__(self, policy: str) -> None:
        super().__init__("scaling policy", f"scalingPolicies/{policy}")


class ActivityNotFound(NotFound):
    """There is no such activity, or it was cleared away."""

    def __init__(self, name: str) -> None:
        super().__init__("scaling activity", name)


class PoolNotFound(NotFound):
    """There is no such pool."""

    def __init__(self, pool: str) -> None:
        super().__init__("capacity pool", f"capacityPools/{pool}")


class PolicyExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "POLICY_EXISTS"

    def __init__(self, policy: str) -> None:
        super().__init__(f"scalingPolicies/{policy} exists", metadata={"policy": f"scalingPolicies/{policy}"})


class PoolExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "POOL_EXISTS"

    def __init__(self, pool: str) -> None:
        super().__init__(f"capacityPools/{pool} exists", metadata={"pool": f"capacityPools/{pool}"})


class PoolInUse(Conflict):
    """Policies name it."""

    reason: ClassVar[str] = "POOL_IN_USE"

    def __init__(self, pool: str, policy: str) -> None:
        super().__init__(
            f"capacityPools/{pool} is in use by scalingPolicies/{policy}",
            metadata={"pool": f"capacityPools/{pool}", "policy": f"scalingPolicies/{policy}"},
        )


class TargetTaken(Conflict):
    """Another policy has the target."""

    reason: ClassVar[str] = "TARGET_TAKEN"

    def __init__(self, policy: str) -> None:
        super().__init__(
            f"scalingPolicies/{policy} looks after this target", metadata={"policy": f"scalingPolicies/{policy}"}
        )


class SizeChanged(Conflict):
    """The size is not the one that the caller expects."""

    reason: ClassVar[str] = "SIZE_CHANGED"

    def __init__(self, expected: int, found: int | None) -> None:
        seen = "has not been seen yet" if found is None else f"is {found}"
        super().__init__(
            f"the size {seen}, not {expected}",
            metadata={"expected": str(expected), "found": "" if found is None else str(found)},
        )


class EtagMismatch(Stale):
    """It was changed since the caller read it."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has etag {present}, not {given}: read it again", metadata={"name": name, "etag": present}
        )


class Unattended(Unavailable):
    """Nobody looks after the target now."""

    reason: ClassVar[str] = "UNATTENDED"

    def __init__(self, policy: str) -> None:
        super().__init__(f"no server looks after scalingPolicies/{policy} now", metadata={"policy": policy})
