"""What makes a side effect safe to take up again after a crash: its name, and what to do about one left behind.

A step's intent is committed before the step begins. Its name is the same on every try, so that a platform refuses a
second create and the first one is adopted. What the next owner does depends on what can still be known:

    kind       observed              decision
    PURE       anything              Rerun: it only looks or waits
    PLATFORM   running or finished   Adopt: watch it, or read how it ended
    PLATFORM   absent                Rerun: the platform says that it does not exist, so it was never created
    LOCAL      anything              Rerun if idempotent; a local process cannot be adopted, nor its end be read
    otherwise  unknown               Rerun if idempotent, else Interrupted: a person decides
"""

from __future__ import annotations

import enum
import hashlib
import re
from typing import Final

from opsuite_runs.port import Adopt, Interrupted, Recovery, Rerun

LONGEST: Final = 63
"""Characters of a DNS label, which containers and jobs are named by."""


def operation_name(run: str, step: str, attempt: int) -> str:
    """`op-<run>-<step>-<attempt>`, safe as a DNS label; what is too long or holds other characters ends in a hash."""
    plain = f"op-{run}-{step}-{attempt}"
    safe = re.sub(r"[^a-z0-9-]+", "-", plain.lower()).strip("-")
    if safe == plain and len(plain) <= LONGEST:
        return plain
    mark = hashlib.sha256(plain.encode()).hexdigest()[:12]
    return f"{safe[: LONGEST - len(mark) - 1].rstrip('-')}-{mark}"


class Kind(enum.Enum):
    """Where a step runs."""

    PURE = "pure"
    """Nowhere: it has no effect, such as a check or a pause."""
    LOCAL = "local"
    """As a process of this machine, which does not outlive the service."""
    PLATFORM = "platform"
    """As a named thing of a platform that outlives the service: a container, a job, a workload."""


class Observed(enum.Enum):
    """What its platform says of a step."""

    RUNNING = "running"
    FINISHED = "finished"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """The platform cannot be asked, or nobody can know."""


def recover(kind: Kind, *, idempotent: bool, observed: Observed) -> Recovery:
    """What to do about a step whose intent was committed and whose result was not."""
    if kind is Kind.PURE:
        return Rerun()
    if kind is Kind.PLATFORM and observed in {Observed.RUNNING, Observed.FINISHED}:
        return Adopt()
    if kind is Kind.PLATFORM and observed is Observed.ABSENT:
        return Rerun()
    return Rerun() if idempotent else Interrupted()
