"""The webhooks of a Canary of Flagger as hooks. Pure.

What a hook does with a deployment can be kept; what its receiver is told cannot: the body has another form here. So
each hook that is imported is named all the same, by its type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from opsuite_cli.imports.reading import Node, filled, plain, seconds
from opsuite_cli.init import label

BODY: Final = "its body has another form here, see docs/hooks.md"
ASKED: Final = f"is asked 20 times, once in each interval, then a person decides; {BODY}"
MOST_ATTEMPTS: Final = 20
LONGEST_BACKOFF: Final = timedelta(hours=1)
REFUSED: Final = {
    "confirm-traffic-increase": "nobody is asked before shares of replicas; pause or abort by a command",
    "pre-rollout": "there is no moment before the first request; do it in a step before the rollout",
    "rollout": "load and tests belong into steps that run beside the rollout",
    "rollback": "a rollout is aborted by a command",
    "event": "its body has another form here: write a notification with a webhook",
}
"""Why hooks of a type are not imported, where they are not."""


@dataclass(frozen=True, slots=True)
class Meant:
    """Where a type of hook is done here."""

    moments: tuple[Mapping[str, str], ...]
    waits: bool = False
    """Whether it is asked until it agrees."""


GATES: Final = {
    "confirm-rollout": Meant(({"before": "STAGE"},), waits=True),
    "confirm-promotion": Meant(({"before": "PROMOTION"},), waits=True),
    "post-rollout": Meant(({"after": "DEPLOYMENT"}, {"after": "FAILURE"})),
}
BY_SHARES: Final = {
    "confirm-traffic-increase": Meant(({"before": "INCREASE"},), waits=True),
    "pre-rollout": Meant(({"before": "TRAFFIC"},)),
}
AT_ONCE: Final = {"pre-rollout": Meant(({"before": "PROMOTION"},))}


def hooks_of(webhooks: Node, interval: timedelta, *, by_weights: bool, has_router: bool) -> list[dict[str, Any]]:
    """Hooks as the contract has them; what is refused is noted."""
    known = GATES | ((BY_SHARES if has_router else {}) if by_weights else AT_ONCE)
    found = list[dict[str, Any]]()
    for hook in webhooks:
        kind = str(hook["type"].value or "rollout")
        meant = known.get(kind)
        if meant is None or not str(hook["url"].value).startswith(("http://", "https://")):
            hook.refuse(REFUSED.get(kind, "hooks of that kind are not imported"))
            continue
        found += _imported(hook, meant, interval, taken={one["name"] for one in found})
        hook["type"].refuse(ASKED if meant.waits else BODY)
    return found


def _imported(hook: Node, meant: Meant, interval: timedelta, taken: set[str]) -> Iterator[dict[str, Any]]:
    for key in ("muteAlert", "disableTLS"):
        hook[key].unless((False,), "has no counterpart", "nothing is muted or left out")
    rest = filled(
        {
            "timeout": hook["timeout"].duration(),
            "retry": _retry(hook["retries"].number(0, 0, MOST_ATTEMPTS - 1), interval, waits=meant.waits),
            "on_failure": "PAUSE" if meant.waits else None,
            "webhook": filled({"url": hook["url"].take(), "metadata": _metadata(hook["metadata"])}),
        }
    )
    name = label(hook["name"].text("hook"))
    for moment in meant.moments:
        own = next(one for one in _names(name) if one not in taken)
        taken.add(own)
        yield {"name": own, **moment, **rest}


def _retry(retries: int, interval: timedelta, *, waits: bool) -> dict[str, Any]:
    if waits:
        pause = seconds(min(interval, LONGEST_BACKOFF))
        return {"attempts": MOST_ATTEMPTS, "backoff": pause, "max_backoff": pause}
    return {"attempts": retries + 1} if retries else {}


def _metadata(metadata: Node) -> dict[str, str]:
    values = metadata.take({})
    return {str(key): plain(str(value)) for key, value in values.items()} if isinstance(values, Mapping) else {}


def _names(name: str) -> Iterator[str]:
    """The name, then the name with a number."""
    yield name
    yield from (f"{name[:60]}-{number}" for number in range(2, 100))
