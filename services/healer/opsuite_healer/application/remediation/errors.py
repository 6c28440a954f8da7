"""What can be wrong with a request in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_kernel.errors import Conflict, Denied, NotFound, Stale


class PolicyNotFound(NotFound):
    """There is no such policy."""

    def __init__(self, policy: str) -> None:
        super().__init__("healing policy", f"healingPolicies/{policy}")


class RemediationNotFound(NotFound):
    """There is no such remediation, or it was cleared away."""

    def __init__(self, remediation: str) -> None:
        super().__init__("remediation", f"remediations/{remediation}")


class IncidentNotFound(NotFound):
    """There is no such incident."""

    def __init__(self, incident: str) -> None:
        super().__init__("incident", f"incidents/{incident}")


class CircuitNotFound(NotFound):
    """The action was never taken on the target."""

    def __init__(self, target: str, action: str) -> None:
        super().__init__("circuit", f"of {action} on {target}")


class PolicyExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "POLICY_EXISTS"

    def __init__(self, policy: str) -> None:
        name = f"healingPolicies/{policy}"
        super().__init__(f"{name} exists", metadata={"policy": name})


class NoPolicy(Conflict):
    """No policy covers it."""

    reason: ClassVar[str] = "NO_POLICY"

    def __init__(self, issue: str) -> None:
        super().__init__(f"no policy covers {issue} here", metadata={"issue": issue})


class NoTarget(Conflict):
    """Nobody can tell what the incident is about."""

    reason: ClassVar[str] = "NO_TARGET"

    def __init__(self, incident: str) -> None:
        super().__init__(f"incidents/{incident} names no target", metadata={"incident": f"incidents/{incident}"})


class IncidentOver(Conflict):
    """The incident is resolved."""

    reason: ClassVar[str] = "INCIDENT_OVER"

    def __init__(self, incident: str) -> None:
        super().__init__(f"incidents/{incident} is resolved", metadata={"incident": f"incidents/{incident}"})


class UnderWay(Conflict):
    """The target, or the incident, has a remediation already."""

    reason: ClassVar[str] = "REMEDIATION_UNDER_WAY"

    def __init__(self, remediation: str) -> None:
        super().__init__(f"{remediation} is under way", metadata={"remediation": remediation})


class RemediationOver(Conflict):
    """Nothing will happen any more."""

    reason: ClassVar[str] = "REMEDIATION_OVER"

    def __init__(self, remediation: str, state: str) -> None:
        super().__init__(f"{remediation} is over: {state}", metadata={"remediation": remediation, "state": state})


class NotAwaitingApproval(Conflict):
    """Nothing is proposed."""

    reason: ClassVar[str] = "NOT_AWAITING_APPROVAL"

    def __init__(self, remediation: str, state: str) -> None:
        told = f"{remediation} proposes nothing: it is {state}"
        super().__init__(told, metadata={"remediation": remediation, "state": state})


class OtherStep(Conflict):
    """Another step is proposed than the one that is meant."""

    reason: ClassVar[str] = "OTHER_STEP"

    def __init__(self, meant: int, proposed: int) -> None:
        told = f"step {proposed} is proposed, not {meant}"
        super().__init__(told, metadata={"meant": str(meant), "proposed": str(proposed)})


class ApprovalExpired(Conflict):
    """The time to approve is over."""

    reason: ClassVar[str] = "APPROVAL_EXPIRED"

    def __init__(self, remediation: str) -> None:
        super().__init__(f"the time to approve {remediation} is over", metadata={"remediation": remediation})


class OwnRequest(Denied):
    """Whoever asked for it may not approve it."""

    reason: ClassVar[str] = "OWN_REQUEST"

    def __init__(self, remediation: str) -> None:
        told = f"{remediation} has to be approved by somebody else than whoever asked for it"
        super().__init__(told, metadata={"remediation": remediation})


class EtagMismatch(Stale):
    """It was changed since the caller read it."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has etag {present}, not {given}: read it again", metadata={"name": name, "etag": present}
        )
