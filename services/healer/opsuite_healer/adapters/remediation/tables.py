"""The tables of policies, remediations and brakes."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from opsuite_healer.adapters.tables import metadata
from opsuite_healer.domain.remediation.remediation import BUSY
from opsuite_storage.columns import Json, UtcDateTime

policies: Final = sa.Table(
    "healing_policies",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("document", sa.LargeBinary, nullable=False, comment="message of the contract, as it was given"),
    sa.Column("number", sa.BigInteger, nullable=False, comment="grows with every change; the etag"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
)

remediations: Final = sa.Table(
    "remediations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("incident", sa.Text, nullable=False, comment="empty: a person asked for it without one"),
    sa.Column("round", sa.Integer, nullable=False, comment="which one of its incident it is"),
    sa.Column("issue", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False, comment="canonical name; empty: none"),
    sa.Column("fleet", sa.Text, nullable=False, comment="whose members are not mended all at once"),
    sa.Column("labels", Json, nullable=False),
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("policy_number", sa.BigInteger, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False, comment="its policy, as it was at the beginning"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("end_state", sa.Text, nullable=False, comment="how it ends once it has rested; empty: not decided"),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("used", Json, nullable=False, comment="positions of steps that are not tried any more"),
    sa.Column("next_at", UtcDateTime),
    sa.Column("approved_step", sa.Integer),
    sa.Column("approved_by", sa.Text, nullable=False),
    sa.Column("asked_at", UtcDateTime),
    sa.Column("is_escalated", sa.Boolean, nullable=False),
    sa.Column("cancelled_by", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("decisions", sa.Integer, nullable=False),
    sa.Column("requested_by", sa.Text, nullable=False),
    sa.Column("traceparent", sa.Text, nullable=False),
    sa.Column("began_at", UtcDateTime, nullable=False, comment="when the trouble began"),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("mended_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime, comment="NULL: somebody has to look after it"),
    sa.Column("revision", sa.BigInteger, nullable=False, comment="number of its last event"),
    sa.Column("owner", sa.Text),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("lease_expires_at", UtcDateTime),
)

BUSY_NAMES: Final = tuple(sorted(state.value for state in BUSY))
_BUSY: Final = f"state IN ({', '.join(repr(name) for name in BUSY_NAMES)})"
_ON_TARGET: Final = sa.text(f"target <> '' AND {_BUSY}")
_OF_INCIDENT: Final = sa.text("incident <> ''")
_NOT_OVER: Final = sa.text("ended_at IS NULL")
_IN_FLEET: Final = sa.text(_BUSY)

ONE_ON_TARGET: Final = sa.Index(
    "uq_remediations_target",
    remediations.c.target,
    unique=True,
    sqlite_where=_ON_TARGET,
    postgresql_where=_ON_TARGET,
)
"""A target has at most one remediation that is under way: this is the judge, whatever was read before."""
ONE_OF_ROUND: Final = sa.Index(
    "uq_remediations_incident_round",
    remediations.c.incident,
    remediations.c.round,
    unique=True,
    sqlite_where=_OF_INCIDENT,
    postgresql_where=_OF_INCIDENT,
)
"""Of those who begin a remediation of an incident at the same time, one does."""
sa.Index(
    "ix_remediations_lease",
    remediations.c.lease_expires_at,
    sqlite_where=_NOT_OVER,
    postgresql_where=_NOT_OVER,
)
sa.Index("ix_remediations_fleet", remediations.c.fleet, sqlite_where=_IN_FLEET, postgresql_where=_IN_FLEET)
sa.Index("ix_remediations_ended_at", remediations.c.ended_at)

attempts: Final = sa.Table(
    "remediation_attempts",
    metadata,
    sa.Column("remediation", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, nullable=False, unique=True, comment="names the act for ever"),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("params", Json, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("before", Json, nullable=False, comment="known before it began, for a repeat to do nothing twice"),
    sa.Column("gates", Json, nullable=False),
    sa.Column("is_undo", sa.Boolean, nullable=False),
    sa.Column("undoes", sa.Integer, nullable=False, comment="number of the attempt that it takes back; or 0"),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("facts", Json, nullable=False),
    sa.Column("undo", Json, comment="what takes it back; NULL: nothing has to be"),
    sa.Column("started_at", UtcDateTime, nullable=False),
    sa.Column("done_at", UtcDateTime),
    sa.Column("ended_at", UtcDateTime),
)

decisions: Final = sa.Table(
    "remediation_decisions",
    metadata,
    sa.Column("remediation", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", UtcDateTime, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("gates", Json, nullable=False),
)

circuits: Final = sa.Table(
    "circuits",
    metadata,
    sa.Column("target", sa.Text, primary_key=True, comment="canonical name, or the incident where there is none"),
    sa.Column("action", sa.Text, primary_key=True),
    sa.Column("starts", Json, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("opened_at", UtcDateTime),
    sa.Column("half_open_at", UtcDateTime, comment="when it allows a trial, by the rules it was judged by last"),
    sa.Column("cool_down_seconds", sa.Float),
    sa.Column("trial_at", UtcDateTime),
    sa.Column("counted_from", UtcDateTime),
    sa.Column("bad_at", UtcDateTime),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("updated_at", UtcDateTime, nullable=False),
)

fleets: Final = sa.Table(
    "healing_fleets",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("refused_at", UtcDateTime, comment="when its gate was closed last by its health"),
)

healer: Final = sa.Table(
    "healer",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("is_paused", sa.Boolean, nullable=False),
    sa.Column("until", UtcDateTime),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("author", sa.Text, nullable=False),
)
