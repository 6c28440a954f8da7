"""How a peer talks to the bench: commands come in as lines, answers go out as lines of JSON.

    ten N     N pipelines one after the other  →  milliseconds of each
    many N    N pipelines at once              →  seconds for all

Only the standard library, since every peer runs in an environment of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever a peer prints is no answer


def answer(value: object) -> None:
    ANSWERS.write(json.dumps(value) + "\n")
    ANSWERS.flush()


def serve(ten: Callable[[int], list[float]], many: Callable[[int], float] | None = None) -> None:
    """Answer until standard input ends."""
    answer("ready")
    for line in sys.stdin:
        what, count = line.split()
        if what == "many" and many is None:
            answer(None)
        else:
            answer(ten(int(count)) if what == "ten" or many is None else many(int(count)))
