"""The name of a step where it runs, which makes it safe to begin again after a crash.

A step's intent is committed before the step begins. Its name is the same on every try, so that a platform refuses a
second create and the first one is adopted.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

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
