"""What becomes of an incident in minutes after its opening: one table for the preview and for the healer itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fakes.clock import NOON
from fakes.healer_incidents import a_policy, after, minutes

from opsuite_healer.domain.incidents.escalation import Policy
from opsuite_healer.domain.incidents.preview import Happening, Moment, Preview, Supposed

H = Happening
Row = tuple[float, str]
Event = tuple[float, Happening] | tuple[float, Happening, float]
"""What happens, by minutes after the opening; of a snooze also its end."""

POLICY = a_policy("chat", "phone", wait=minutes(15))


def supposed(*events: Event) -> list[Supposed]:
    """What happens, as the preview takes it."""
    return [Supposed(event[1], after(event[0]), after(event[2]) if len(event) == 3 else None) for event in events]


def rows(found: Preview) -> list[Row]:
    """Minutes after the opening, and what happens then: receivers where a level is told."""
    return [((one.at - NOON) / minutes(1), _word(one)) for one in found.moments]


def _word(one: Moment) -> str:
    return "+".join(one.turn.receivers) if one.turn else one.kind.value.lower()


TABLE: Sequence[tuple[str, Policy, Sequence[Event], list[Row]]] = [
    (
        "nobody says anything: the healer's time, every level, and the end",
        POLICY,
        [],
        [(0, "opened"), (5, "escalated"), (5, "chat"), (20, "phone"), (35, "exhausted")],
    ),
    (
        "the levels are gone through again",
        replace(POLICY, num_loops=1),
        [],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (20, "phone"),
            (35, "chat"),
            (50, "phone"),
            (65, "exhausted"),
        ],
    ),
    (
        "people are told at once",
        replace(POLICY, begin_after=minutes(0)),
        [],
        [(0, "opened"), (0, "escalated"), (0, "chat"), (15, "phone"), (30, "exhausted")],
    ),
    (
        "the healer gives up early",
        POLICY,
        [(2, H.GIVEN_UP)],
        [(0, "opened"), (2, "escalated"), (2, "chat"), (17, "phone"), (32, "exhausted")],
    ),
    (
        "giving up again is only noted",
        POLICY,
        [(2, H.GIVEN_UP), (3, H.GIVEN_UP)],
        [(0, "opened"), (2, "escalated"), (2, "chat"), (3, "note"), (17, "phone"), (32, "exhausted")],
    ),
    (
        "an acknowledgement keeps the next level from being told, and expires: the level told last is told again",
        POLICY,
        [(10, H.ACKNOWLEDGED)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (10, "acknowledged"),
            (40, "ack_expired"),
            (40, "chat"),
            (55, "phone"),
            (70, "exhausted"),
        ],
    ),
    (
        "an acknowledgement that never expires is the end",
        replace(POLICY, ack_timeout=None),
        [(10, H.ACKNOWLEDGED)],
        [(0, "opened"), (5, "escalated"), (5, "chat"), (10, "acknowledged")],
    ),
    (
        "acknowledging again prolongs it",
        POLICY,
        [(10, H.ACKNOWLEDGED), (35, H.ACKNOWLEDGED), (60, H.RESOLVED)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (10, "acknowledged"),
            (35, "acknowledged"),
            (60, "resolved"),
        ],
    ),
    (
        "who acknowledges before anybody is told is told first when that expires",
        POLICY,
        [(1, H.ACKNOWLEDGED), (40, H.RESOLVED)],
        [(0, "opened"), (1, "acknowledged"), (31, "ack_expired"), (31, "chat"), (40, "resolved")],
    ),
    (
        "a snooze holds everything, and then the next level is due",
        POLICY,
        [(10, H.SNOOZED, 60)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (10, "snoozed"),
            (60, "snooze_over"),
            (60, "phone"),
            (75, "exhausted"),
        ],
    ),
    (
        "a snooze before the healer's time is over",
        POLICY,
        [(1, H.SNOOZED, 3)],
        [
            (0, "opened"),
            (1, "snoozed"),
            (3, "snooze_over"),
            (5, "escalated"),
            (5, "chat"),
            (20, "phone"),
            (35, "exhausted"),
        ],
    ),
    (
        "trouble that goes by itself is resolved by itself, and nobody is told meanwhile",
        POLICY,
        [(3, H.CLEARED)],
        [(0, "opened"), (3, "cleared"), (8, "resolved")],
    ),
    (
        "trouble that comes back is not",
        POLICY,
        [(3, H.CLEARED), (7, H.SEEN)],
        [(0, "opened"), (3, "cleared"), (7, "back"), (7, "escalated"), (7, "chat"), (22, "phone"), (37, "exhausted")],
    ),
    (
        "with keep_open people are told although the trouble has gone",
        replace(POLICY, resolve_timeout=None),
        [(3, H.CLEARED)],
        [(0, "opened"), (3, "cleared"), (5, "escalated"), (5, "chat"), (20, "phone"), (35, "exhausted")],
    ),
    (
        "a remediation holds the beginning up",
        POLICY,
        [(1, H.REMEDIATION_BEGINS), (12, H.REMEDIATION_ENDS)],
        [
            (0, "opened"),
            (1, "remediating"),
            (12, "remediated"),
            (12, "escalated"),
            (12, "chat"),
            (27, "phone"),
            (42, "exhausted"),
        ],
    ),
    (
        "but for an hour only",
        POLICY,
        [(1, H.REMEDIATION_BEGINS)],
        [(0, "opened"), (1, "remediating"), (60, "escalated"), (60, "chat"), (75, "phone"), (90, "exhausted")],
    ),
    (
        "somebody who escalates has the next level told at once",
        POLICY,
        [(6, H.ESCALATED)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (6, "escalated"),
            (6, "phone"),
            (21, "exhausted"),
        ],
    ),
    (
        "whoever escalates after the end begins anew",
        POLICY,
        [(50, H.ESCALATED), (55, H.RESOLVED)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (20, "phone"),
            (35, "exhausted"),
            (50, "escalated"),
            (50, "chat"),
            (55, "resolved"),
        ],
    ),
    (
        "a reopened incident is told from the first level on, at once",
        POLICY,
        [(21, H.RESOLVED), (30, H.REOPENED), (31, H.RESOLVED)],
        [
            (0, "opened"),
            (5, "escalated"),
            (5, "chat"),
            (20, "phone"),
            (21, "resolved"),
            (30, "reopened"),
            (30, "chat"),
            (31, "resolved"),
        ],
    ),
    (
        "what is supposed to happen at a moment comes before what is due then",
        POLICY,
        [(5, H.ACKNOWLEDGED), (6, H.RESOLVED)],
        [(0, "opened"), (5, "acknowledged"), (6, "resolved")],
    ),
]
