"""What people read about a group of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from opsuite_healer.application.alerts.ports import Group
from opsuite_healer.domain.alerts.alert import Alert, summary_of
from opsuite_healer.domain.alerts.grouping import Flush
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import TITLE_LIMIT, Message, Phase
from opsuite_notify.port import Severity as Loudness

MOST_SHOWN: Final = 20
_LOUDNESS: Final = {
    Severity.INFO: Loudness.INFO,
    Severity.WARNING: Loudness.WARNING,
    Severity.ERROR: Loudness.ERROR,
    Severity.CRITICAL: Loudness.CRITICAL,
}


class Writing:
    """Writes messages; links in them begin with a URL."""

    def __init__(self, public_url: str) -> None:
        """`public_url`: where people read about alerts; empty means nowhere."""
        self._public_url = public_url.rstrip("/")

    def message(self, group: Group, found: Flush, alerts: Mapping[str, Alert], now: datetime) -> Message:
        """What a look at a group tells. Alerts are told by fingerprint."""
        firing = [alerts[name] for name in found.firing]
        resolved = [alerts[name] for name in found.resolved]
        return Message(
            event="ALERTS_FIRING" if firing else "ALERTS_RESOLVED",
            title=_title(group, len(firing), len(resolved)),
            text="\n".join([*_lines("FIRING", firing), *_lines("RESOLVED", resolved)]),
            time=now,
            key=group.id,
            severity=_LOUDNESS[max(one.severity for one in firing)] if firing else Loudness.SUCCESS,
            fields=_fields(group, found, firing),
            url=f"{self._public_url}/alertGroups/{group.id}" if self._public_url else "",
            phase=Phase.TRIGGERED if firing else Phase.RESOLVED,
        )


def _title(group: Group, firing: int, resolved: int) -> str:
    state = f"FIRING:{firing}" if firing else f"RESOLVED:{resolved}"
    common = " ".join(f"{name}={value}" for name, value in sorted(group.labels.items())) or "all alerts"
    return "".join(letter if letter.isprintable() else " " for letter in f"[{state}] {common}")[:TITLE_LIMIT]


def _lines(word: str, alerts: list[Alert]) -> list[str]:
    """One for each alert, the worst first, as many as anybody reads."""
    ordered = sorted(alerts, key=lambda one: (-one.severity, one.starts_at))
    lines = [
        f"{word} {one.name} since {one.starts_at.isoformat(timespec='seconds')}: {summary_of(one)}"
        for one in ordered[:MOST_SHOWN]
    ]
    more = len(ordered) - MOST_SHOWN
    return [*lines, f"{word}: {more} more"] if more > 0 else lines


def _fields(group: Group, found: Flush, firing: list[Alert]) -> dict[str, str]:
    fields = {"reason": found.reason.value, "route": group.route, **group.labels}
    if found.quiet:
        fields["kept quiet"] = str(len(found.quiet))
    traces = dict.fromkeys(one.traceparent.split("-")[1] for one in firing if one.traceparent.count("-") == 3)
    if traces:
        fields["trace"] = ", ".join(list(traces)[:3])
    return fields
