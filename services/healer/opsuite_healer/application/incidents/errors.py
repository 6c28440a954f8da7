"""What can be wrong with a request in the present state."""

from __future__ import annotations

from typing import ClassVar

from opsuite_healer.domain.incidents.incident import Incident, Step
from opsuite_kernel.errors import Conflict, NotFound, Stale


class IncidentNotFound(NotFound):
    """There is no such incident, or it was cleared away."""

    def __init__(self, incident: str) -> None:
        super().__init__("incident", f"incidents/{incident}")


class ReceiverNotFound(NotFound):
    """There is no such receiver."""

    def __init__(self, receiver: str) -> None:
        super().__init__("receiver", f"receivers/{receiver}")


class EscalationPolicyNotFound(NotFound):
    """There is no such escalation policy."""

    def __init__(self, policy: str) -> None:
        super().__init__("escalation policy", f"escalationPolicies/{policy}")


class ReceiverExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "RECEIVER_EXISTS"

    def __init__(self, receiver: str) -> None:
        name = f"receivers/{receiver}"
        super().__init__(f"{name} exists", metadata={"receiver": name})


class EscalationPolicyExists(Conflict):
    """The name is taken."""

    reason: ClassVar[str] = "ESCALATION_POLICY_EXISTS"

    def __init__(self, policy: str) -> None:
        name = f"escalationPolicies/{policy}"
        super().__init__(f"{name} exists", metadata={"policy": name})


class ReceiverInUse(Conflict):
    """Escalation policies name it."""

    reason: ClassVar[str] = "RECEIVER_IN_USE"

    def __init__(self, receiver: str, policy: str) -> None:
        receiver, policy = f"receivers/{receiver}", f"escalationPolicies/{policy}"
        super().__init__(f"{receiver} is in use by {policy}", metadata={"receiver": receiver, "policy": policy})


class EtagMismatch(Stale):
    """It was changed since the caller read it."""

    reason: ClassVar[str] = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has etag {present}, not {given}: read it again", metadata={"name": name, "etag": present}
        )


class WrongStatus(Conflict):
    """The incident stands where that cannot happen."""

    reason: ClassVar[str] = "WRONG_STATUS"

    def __init__(self, incident: Incident, step: Step) -> None:
        super().__init__(
            f"{incident.name} is {incident.status.value}: {step.value} cannot happen to it",
            metadata={"incident": incident.name, "status": incident.status.value, "step": step.value},
        )


class KeyTaken(Conflict):
    """Another incident is open for the same trouble."""

    reason: ClassVar[str] = "KEY_TAKEN"

    def __init__(self, incident: str, other: str) -> None:
        names = {"incident": f"incidents/{incident}", "other": f"incidents/{other}"}
        super().__init__(f"{names['other']} is open for the trouble of {names['incident']}", metadata=names)


class MergeWithItself(Conflict):
    """An incident cannot take itself over."""

    reason: ClassVar[str] = "MERGE_WITH_ITSELF"

    def __init__(self, incident: str) -> None:
        super().__init__(f"incidents/{incident} cannot be merged into itself", metadata={"incident": incident})
