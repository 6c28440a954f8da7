"""Runbooks as they are written down: steps in an order, and what follows when one fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final

from opsuite_healer.domain.actions import ActionSpec

DEFAULT_DURATION: Final = timedelta(hours=1)
DEFAULT_TIMEOUT: Final = timedelta(minutes=5)
DEFAULT_EXPIRY: Final = timedelta(minutes=30)


class OnFailure(Enum):
    """What follows when a step fails."""

    ABORT = "ABORT"
    """What succeeded is compensated, and the execution fails."""
    CONTINUE = "CONTINUE"
    GOTO = "GOTO"
    ESCALATE = "ESCALATE"
    """As ABORT, and a person has to know."""


@dataclass(frozen=True, slots=True)
class RunbookParameter:
    """Something that an execution has to be told."""

    name: str
    description: str = ""
    is_required: bool = False
    default: str = ""
    pattern: str = ""
    """Regular expression that the whole value matches; empty means any value."""


@dataclass(frozen=True, slots=True)
class InquiryField:
    """Something that is to be told with an approval."""

    name: str
    description: str = ""
    is_required: bool = False
    choices: tuple[str, ...] = ()
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question to a person."""

    question: str
    fields: tuple[InquiryField, ...] = ()
    expires_in: timedelta = DEFAULT_EXPIRY
    is_not_for_requester: bool = False
    """Whether who has started the execution may not answer."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an action is tried."""

    attempts: int = 1
    delay: timedelta = timedelta(seconds=10)
    """Before the second try; each further pause is twice as long."""
    max_delay: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RunbookStep:
    """One step: a question, an action, or first the one and then the other."""

    name: str
    action: ActionSpec | None = None
    inquiry: Inquiry | None = None
    description: str = ""
    when: str = ""
    """Condition in CEL; empty means true."""
    retry: Retry = field(default_factory=Retry)
    timeout: timedelta = DEFAULT_TIMEOUT
    """Of one try of the action."""
    on_failure: OnFailure = OnFailure.ABORT
    goto: str = ""
    compensate: ActionSpec | None = None


@dataclass(frozen=True, slots=True)
class Runbook:
    """Work of several steps."""

    id: str
    steps: tuple[RunbookStep, ...]
    display_name: str = ""
    description: str = ""
    issues: tuple[str, ...] = ()
    """Types of issues that it is meant for."""
    parameters: tuple[RunbookParameter, ...] = ()
    max_duration: timedelta = DEFAULT_DURATION

    @property
    def name(self) -> str:
        """The resource name."""
        return f"runbooks/{self.id}"

    def step(self, name: str) -> RunbookStep:
        """The step of that name, which is one of its own."""
        return next(step for step in self.steps if step.name == name)

    def after(self, name: str) -> str:
        """The step that follows; empty after the last."""
        names = [step.name for step in self.steps]
        following = names.index(name) + 1
        return names[following] if following < len(names) else ""


def pause_before(retry: Retry, attempt: int) -> timedelta:
    """How long to wait before try number `attempt` (2 is the first that has to wait).

    >>> [pause_before(Retry(5, timedelta(seconds=10), timedelta(seconds=30)), n).seconds for n in (2, 3, 4, 5)]
    [10, 20, 30, 30]
    """
    return min(retry.delay * (1 << (attempt - 2)), retry.max_delay)


def with_defaults(runbook: Runbook, params: Mapping[str, str]) -> Mapping[str, str]:
    """All parameters of an execution."""
    return {one.name: params.get(one.name) or one.default for one in runbook.parameters}
