"""Policies as messages of the contract. Absent fields are the defaults of the domain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from opsuite.healer.v1 import healing_policy_pb2 as pb
from opsuite_healer.adapters.target_messages import severity_from
from opsuite_healer.application.names import HEALING_POLICIES, id_of
from opsuite_healer.application.remediation.policies import NewPolicy
from opsuite_healer.application.remediation.records import PolicyRecord
from opsuite_healer.domain.actions import ActionSpec, Risk
from opsuite_healer.domain.remediation.policy import (
    ApprovalRules,
    Backoff,
    CircuitRules,
    FleetRules,
    HealingPolicy,
    Match,
    Mode,
    Step,
    Verification,
    When,
)
from opsuite_healer.domain.trouble import Severity
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.values import duration_of, given

ROLL_BACK: Final = "ROLL_BACK_DEPLOYMENT"
"""The action that by default is taken only when a deployment is to blame."""
SET_BY_SERVER: Final = ("etag", "create_time", "update_time", "created_by")
UNCHANGEABLE: Final = frozenset({"name", *SET_BY_SERVER})

_MODES: Final = {
    pb.HEALING_MODE_UNSPECIFIED: Mode.OBSERVE,
    pb.HEALING_MODE_OBSERVE: Mode.OBSERVE,
    pb.HEALING_MODE_SUGGEST: Mode.SUGGEST,
    pb.HEALING_MODE_AUTO: Mode.AUTO,
}
_WHENS: Final = {
    pb.STEP_CONDITION_ALWAYS: When.ALWAYS,
    pb.STEP_CONDITION_AFTER_ROLLOUT: When.AFTER_ROLLOUT,
    pb.STEP_CONDITION_WITHOUT_ROLLOUT: When.WITHOUT_ROLLOUT,
}
_STEP: Final = Step(ActionSpec(""))
_PROOF: Final = Verification()
_PAUSES: Final = Backoff()
_FLEET: Final = FleetRules()
_CIRCUIT: Final = CircuitRules()
_APPROVAL: Final = ApprovalRules()
_POLICY: Final = HealingPolicy("", ())


def policy_of(message: pb.HealingPolicy) -> HealingPolicy:
    """A policy of correct shape."""
    return HealingPolicy(
        id=id_of(message.name),
        steps=tuple(_step_of(step) for step in message.steps),
        mode=_MODES[message.mode],
        match=Match(
            frozenset(message.match.issues),
            dict(message.match.labels),
            severity_from(message.match.min_severity, Severity.INFO),
        ),
        priority=message.priority,
        fleet=fleet_of(message.fleet_gate),
        circuit=circuit_of(message.circuit),
        approval=ApprovalRules(
            Risk(message.approval.from_risk) if message.approval.from_risk else _APPROVAL.from_risk,
            duration_of(message.approval, "expires_after", _APPROVAL.expires_after),
            message.approval.by_somebody_else,
            message.approval.never,
        ),
        max_age=duration_of(message, "max_age", _POLICY.max_age),
        undo_after=duration_of(message, "undo_after", _POLICY.undo_after),
        blame_window=duration_of(message, "blame_window", _POLICY.blame_window),
        receivers=tuple(id_of(name) for name in message.receivers),
    )


@lru_cache(maxsize=1024)
def policy_from_document(document: bytes) -> HealingPolicy:
    """The policy of a document: reading one costs more than reading its row."""
    return policy_of(pb.HealingPolicy.FromString(document))


def new_policy(message: pb.HealingPolicy) -> NewPolicy:
    """A policy as it is kept: without what the server says of it. Raises InvalidInput."""
    if found := fleet_violations(message.fleet_gate, "policy.fleet_gate"):
        raise InvalidInput(found)
    kept = pb.HealingPolicy()
    kept.CopyFrom(message)
    for field in SET_BY_SERVER:
        kept.ClearField(field)
    return NewPolicy(policy_of(kept), kept.SerializeToString(deterministic=True))


def merged(document: bytes, message: pb.HealingPolicy, fields: Sequence[str]) -> NewPolicy:
    """The policy of a document with some fields of another one. Raises InvalidInput."""
    present = pb.HealingPolicy.FromString(document)
    for field in fields:
        present.ClearField(field)  # type: ignore[arg-type]  # names were checked against the descriptor
    part = pb.HealingPolicy()
    part.CopyFrom(message)
    for descriptor, _ in message.ListFields():
        if descriptor.name not in fields:
            part.ClearField(descriptor.name)  # type: ignore[arg-type]  # as above
    present.MergeFrom(part)
    return new_policy(present)


def changeable(paths: Sequence[str]) -> Sequence[str]:
    """Fields that an update changes. Raises InvalidInput."""
    known = [field.name for field in pb.HealingPolicy.DESCRIPTOR.fields if field.name not in UNCHANGEABLE]
    if wrong := [path for path in paths if path not in known]:
        told = f"names {', '.join(wrong)}; what can be changed is {', '.join(known)}"
        raise InvalidInput([Violation("update_mask", told, "UNKNOWN_FIELD")])
    return list(paths) or known


def policy_message(record: PolicyRecord) -> pb.HealingPolicy:
    """A policy as it was given, with what the server knows of it."""
    message = pb.HealingPolicy.FromString(record.document)
    message.name = HEALING_POLICIES + record.id
    message.etag = record.etag
    message.created_by = record.created_by
    message.create_time.FromDatetime(record.created_at)
    message.update_time.FromDatetime(record.updated_at)
    return message


def fleet_of(message: pb.FleetGate) -> FleetRules:
    """The numbers of a fleet gate."""
    return FleetRules(
        group=message.group,
        min_healthy_percent=given(message, "min_healthy_percent", _FLEET.min_healthy_percent),
        max_unhealthy=given(message, "max_unhealthy", None),
        max_concurrent=message.max_concurrent or _FLEET.max_concurrent,
        storm_cooldown=duration_of(message, "storm_cooldown", _FLEET.storm_cooldown),
    )


def fleet_violations(message: pb.FleetGate, path: str) -> Sequence[Violation]:
    """What is wrong with it beyond its single fields."""
    if message.HasField("min_healthy_percent") and message.HasField("max_unhealthy"):
        return [
            Violation(f"{path}.max_unhealthy", "is given beside min_healthy_percent; one of them counts", "EXCLUSIVE")
        ]
    return []


def circuit_of(message: pb.CircuitRules) -> CircuitRules:
    """The numbers of a circuit."""
    return CircuitRules(
        max_actions=message.max_actions or _CIRCUIT.max_actions,
        window=duration_of(message, "window", _CIRCUIT.window),
        long_max_actions=message.long_max_actions or _CIRCUIT.long_max_actions,
        long_window=duration_of(message, "long_window", _CIRCUIT.long_window),
        max_failures=message.max_failures or _CIRCUIT.max_failures,
        cool_down=duration_of(message, "cool_down", _CIRCUIT.cool_down),
        max_cool_down=duration_of(message, "max_cool_down", _CIRCUIT.max_cool_down),
        reset_after=duration_of(message, "reset_after", _CIRCUIT.reset_after),
    )


def backoff_of(message: pb.Backoff) -> Backoff:
    """Pauses."""
    return Backoff(
        first=duration_of(message, "first", _PAUSES.first),
        factor=given(message, "factor", _PAUSES.factor),
        longest=duration_of(message, "longest", _PAUSES.longest),
        jitter=given(message, "jitter", _PAUSES.jitter),
    )


def _step_of(message: pb.HealingStep) -> Step:
    default = When.AFTER_ROLLOUT if message.action == ROLL_BACK else When.ALWAYS
    return Step(
        action=ActionSpec(message.action, dict(message.params)),
        when=_WHENS.get(message.when, default),
        timeout=duration_of(message, "timeout", _STEP.timeout),
        verification=Verification(
            duration_of(message.verification, "healthy_delay", _PROOF.healthy_delay),
            duration_of(message.verification, "timeout", _PROOF.timeout),
            duration_of(message.verification, "grace", _PROOF.grace),
            message.verification.skip,
        ),
        retries=given(message, "retries", _STEP.retries),
        backoff=backoff_of(message.backoff),
    )
