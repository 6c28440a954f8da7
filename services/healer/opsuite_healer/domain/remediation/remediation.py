"""A remediation: what is done about one incident, as it is remembered between two looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.remediation.gates import GateResult
from opsuite_healer.domain.remediation.policy import HealingPolicy, Step
from opsuite_healer.domain.targets import TargetRef


class State(Enum):
    """Where a remediation stands."""

    PENDING = "PENDING"
    """Recorded; nothing is done yet, or the next try is due later."""
    AWAITING_APPROVAL = "AWAITING_APPROVAL"
    HELD = "HELD"
    """Brakes refuse all that could be done now."""
    ACTING = "ACTING"
    """The intent to act is recorded; what came of it is not."""
    VERIFYING = "VERIFYING"
    RESTING = "RESTING"
    """Decided; temporary actions have to be taken back yet."""
    SUCCEEDED = "SUCCEEDED"
    RECOVERED = "RECOVERED"
    """The trouble went away without proof that anything has helped."""
    OBSERVED = "OBSERVED"
    ESCALATED = "ESCALATED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


TERMINAL: Final = frozenset(
    {State.SUCCEEDED, State.RECOVERED, State.OBSERVED, State.ESCALATED, State.REJECTED, State.CANCELLED}
)
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.PENDING: frozenset({State.AWAITING_APPROVAL, State.HELD, State.ACTING, State.RESTING, *TERMINAL}),
    State.AWAITING_APPROVAL: frozenset({State.PENDING, State.HELD, State.RESTING, *TERMINAL}),
    State.HELD: frozenset({State.PENDING, State.AWAITING_APPROVAL, State.ACTING, State.RESTING, *TERMINAL}),
    State.ACTING: frozenset({State.PENDING, State.VERIFYING, State.RESTING, *TERMINAL}),
    State.VERIFYING: frozenset({State.PENDING, State.RESTING, *TERMINAL}),
    State.RESTING: TERMINAL,
}
"""A state may also follow itself."""
BUSY: Final = frozenset(TRANSITIONS) - {State.RESTING}
"""States in which nobody else may mend the target."""
IN_FLIGHT: Final = frozenset({State.ACTING, State.VERIFYING})
"""States that the fleet's `max_concurrent` counts."""

MOST_DECISIONS: Final = 100
"""Decisions that are shown of a remediation."""
HEALER: Final = "healer"
"""Who asks for a remediation that nobody asked for."""


class AttemptState(Enum):
    """What came of an action."""

    BEGUN = "BEGUN"
    DONE = "DONE"
    """Carried out; whether it helped is not known yet."""
    PROVED = "PROVED"
    NO_HELP = "NO_HELP"
    FAILED = "FAILED"
    REFUSED = "REFUSED"


class Decided(Enum):
    """What was decided about a step."""

    ACT = "ACT"
    REFUSE = "REFUSE"
    SKIP = "SKIP"
    ASK = "ASK"
    OBSERVE = "OBSERVE"


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that was decided about a step, with what it was decided by."""

    at: datetime
    step: int
    action: str
    kind: Decided
    reason: str = ""
    message: str = ""
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """An action that was begun."""

    key: str
    """Names the act for ever; a repeat after a crash has it too."""
    number: int
    """Within its remediation, from 1."""
    step: int
    tries: int
    """Which try of its step it is, from 1."""
    spec: ActionSpec
    state: AttemptState
    started_at: datetime
    before: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What had to be known before, for a repeat to do nothing a second time."""
    gates: tuple[GateResult, ...] = ()
    is_undo: bool = False
    undoes: int = 0
    """Number of the attempt that it takes back."""
    message: str = ""
    facts: Mapping[str, str] = field(default_factory=dict, hash=False)
    undo: ActionSpec | None = None
    """What takes it back; None: nothing has to be."""
    done_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Remediation:
    """All that is remembered of a remediation but its attempts and decisions."""

    id: str
    incident: str
    """Id; empty where a person asked for it without one."""
    round: int
    """Which remediation of its incident it is, from 1."""
    issue: str
    target: TargetRef | None
    policy: HealingPolicy | None
    """As it was at the beginning; None: none covered the incident."""
    policy_number: int
    state: State
    created_at: datetime
    began_at: datetime
    """When the trouble began."""
    requested_by: str = HEALER
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    end: State | None = None
    """How it will end once it has rested."""
    reason: str = ""
    message: str = ""
    step: int = 0
    tries: int = 0
    """Tries of the present step that are over."""
    used: frozenset[int] = frozenset()
    """Steps that are not tried any more."""
    next_at: datetime | None = None
    approved_step: int | None = None
    approved_by: str = ""
    asked_at: datetime | None = None
    """When an approval was asked for."""
    is_escalated: bool = False
    cancelled_by: str = ""
    """Who wants it to end after the action that is under way."""
    attempts: int = 0
    """How many there are."""
    decisions: int = 0
    mended_at: datetime | None = None
    ended_at: datetime | None = None
    traceparent: str = ""
    revision: int = 0

    @property
    def name(self) -> str:
        """The resource name."""
        return f"remediations/{self.id}"

    @property
    def is_over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.state in TERMINAL

    @property
    def is_manual(self) -> bool:
        """Whether a person asked for it: then it acts, whatever the mode of its policy."""
        return self.requested_by != HEALER

    @property
    def steps(self) -> tuple[Step, ...]:
        """The chain."""
        return self.policy.steps if self.policy else ()

    @property
    def fleet(self) -> str:
        """Names the fleet whose members are not mended all at once; empty where there is no target."""
        if self.policy and self.policy.fleet.group:
            return f"group:{self.policy.fleet.group}"
        return self.target.whole.canonical if self.target else ""


class IllegalTransition(Exception):
    """A fault of ours: a state cannot follow another."""

    def __init__(self, present: State, wanted: State) -> None:
        super().__init__(f"{wanted.value} does not follow {present.value}")


def follow(remediation: Remediation, state: State, reason: str, message: str) -> Remediation:
    """The remediation in its next state. Raises IllegalTransition."""
    if state is not remediation.state and state not in TRANSITIONS.get(remediation.state, frozenset()):
        raise IllegalTransition(remediation.state, state)
    return replace(remediation, state=state, reason=reason, message=message)


def use_up(remediation: Remediation) -> Remediation:
    """The same with its present step behind it for ever."""
    used = remediation.used | {remediation.step}
    return replace(remediation, used=used, tries=0, approved_step=None, approved_by="", asked_at=None)
