"""The few kinds of error that cross a border. A domain error subclasses one and keeps its facts as attributes.

Every error has a stable `reason` (UPPER_SNAKE_CASE, for programs), a message (for people) and `metadata` that holds
every changing value of the message. `opsuite_rpc.status` maps kinds to gRPC statuses and back, in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with one field of a request."""

    field: str
    """Path from the request by proto names: `pipeline.stages[0].name`; empty for the request as a whole."""
    description: str
    """What is wrong, for people."""
    reason: str = "INVALID"
    """In one word, for programs: `REQUIRED`, `TOO_LONG`, `PATTERN`."""

    def below(self, prefix: str) -> Violation:
        """The same violation seen from further up: `name` below `pipeline` is `pipeline.name`."""
        separator = "" if not self.field or self.field.startswith("[") else "."
        return Violation(f"{prefix}{separator}{self.field}", self.description, self.reason)


class OpsuiteError(Exception):
    """Base of all kinds; raise one of those."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason  # type: ignore[misc]  # the class gives the default, an instance may be more precise
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidInput(OpsuiteError):
    """The request is wrong whatever the state; nothing was changed. Carries every violation at once."""

    reason: ClassVar[str] = "INVALID_INPUT"

    def __init__(
        self,
        violations: Sequence[Violation],
        *,
        message: str | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        text = message or "; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations)
        super().__init__(text, reason=reason, metadata=metadata)
        self.violations = tuple(violations)


class NotFound(OpsuiteError):
    """A thing that the caller names does not exist."""

    reason: ClassVar[str] = "NOT_FOUND"

    def __init__(self, kind: str, name: str, *, reason: str | None = None) -> None:
        super().__init__(f"{kind} {name} does not exist", reason=reason, metadata={"kind": kind, "name": name})
        self.kind = kind
        self.name = name


class Conflict(OpsuiteError):
    """The request is right but the present state forbids it; repeating it now fails again."""

    reason: ClassVar[str] = "CONFLICT"


class Stale(OpsuiteError):
    """The caller acted on a state that has changed since: read again, then try again."""

    reason: ClassVar[str] = "STALE"


class Denied(OpsuiteError):
    """The caller is known and may not do this."""

    reason: ClassVar[str] = "DENIED"


class Unauthenticated(OpsuiteError):
    """Nobody knows who the caller is."""

    reason: ClassVar[str] = "UNAUTHENTICATED"


class Unavailable(OpsuiteError):
    """Something needed is not reachable now; worth repeating as it is."""

    reason: ClassVar[str] = "UNAVAILABLE"

    def __init__(
        self,
        message: str,
        *,
        retry_after: timedelta | None = None,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after = retry_after


class Exhausted(Unavailable):
    """A limit of the caller or the server is reached; worth repeating after `retry_after`."""

    reason: ClassVar[str] = "EXHAUSTED"


class Gone(OpsuiteError):
    """What was asked for existed and was cleared away: events before the oldest one kept."""

    reason: ClassVar[str] = "GONE"


class TimedOut(OpsuiteError):
    """The caller's deadline passed; whether it took effect is not known."""

    reason: ClassVar[str] = "TIMED_OUT"


class Internal(OpsuiteError):
    """A fault of ours. The message names an incident id that the log holds in full, never the cause."""

    reason: ClassVar[str] = "INTERNAL"
