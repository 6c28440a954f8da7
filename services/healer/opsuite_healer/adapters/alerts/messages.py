"""Alerts, routes and silences as messages of the contract, and back. Messages have the right shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message

from opsuite.healer.v1 import alert_pb2 as pb
from opsuite_healer.adapters.target_messages import severity_message, target_message
from opsuite_healer.application.alerts.ports import Group, KnownAlert, RoutingRecord
from opsuite_healer.application.alerts.quieting import QuietBy
from opsuite_healer.domain.alerts.alert import RESOLVE_TIMEOUT, Pushed
from opsuite_healer.domain.alerts.grouping import FlushReason
from opsuite_healer.domain.alerts.inhibition import InhibitRule, Scope
from opsuite_healer.domain.alerts.matching import Matcher, Operator
from opsuite_healer.domain.alerts.routing import Route, Routing
from opsuite_healer.domain.alerts.silences import Recurrence, Silence, SilenceState
from opsuite_rpc.values import duration, moment, timestamp

_OPERATORS: Final = (Operator.EQUAL, Operator.EQUAL, Operator.NOT_EQUAL, Operator.MATCHES, Operator.NOT_MATCHES)
"""By the number of the enum value."""
_SCOPES: Final = (Scope.BOTH, Scope.NOTIFICATIONS, Scope.ACTIONS, Scope.BOTH)
_REASONS: Final = {reason: pb.FlushReason.Value(f"FLUSH_REASON_{reason.name}") for reason in FlushReason}
_SILENCE_STATES: Final = {
    SilenceState.PENDING: pb.SILENCE_STATE_PENDING,
    SilenceState.ACTIVE: pb.SILENCE_STATE_ACTIVE,
    SilenceState.EXPIRED: pb.SILENCE_STATE_EXPIRED,
}


def span(message: Message, field: str) -> timedelta | None:
    """A duration in a field, None when it is not set."""
    return getattr(message, field).ToTimedelta() if message.HasField(field) else None


# --- matchers --------------------------------------------------------------------------------------------------------


def matchers_from(messages: Iterable[pb.Matcher]) -> tuple[Matcher, ...]:
    """What they ask."""
    return tuple(Matcher(one.label, _OPERATORS[one.operator], one.value) for one in messages)


def matcher_messages(matchers: Iterable[Matcher]) -> list[pb.Matcher]:
    """Back."""
    return [
        pb.Matcher(
            label=one.label,
            operator=pb.MatchOperator.ValueType(_OPERATORS.index(one.operator) or 1),
            value=one.value,
        )
        for one in matchers
    ]


# --- alerts ----------------------------------------------------------------------------------------------------------


def pushed_from(messages: Sequence[pb.PushedAlert]) -> list[Pushed]:
    """What was pushed."""
    return [
        Pushed(
            labels=dict(one.labels),
            annotations=dict(one.annotations),
            starts_at=moment(one, "start_time", f"alerts[{index}].start_time"),
            ends_at=moment(one, "end_time", f"alerts[{index}].end_time"),
            generator_url=one.generator_url,
        )
        for index, one in enumerate(messages)
    ]


def alert_message(known: KnownAlert, quiet: QuietBy, groups: Sequence[str] = ()) -> pb.Alert:
    """An alert as it is now."""
    alert = known.alert
    target = alert.target
    return pb.Alert(
        name=alert.name,
        labels=alert.labels,
        annotations=alert.annotations,
        severity=severity_message(alert.severity),
        target=target_message(target) if target else None,
        start_time=timestamp(alert.starts_at),
        end_time=timestamp(alert.ends_at),
        update_time=timestamp(alert.updated_at),
        state=_state(known, quiet),
        silenced_by=[one.name for one in quiet.silences if one.scope.covers_notifications],
        inhibited_by=[f"alerts/{one.by}" for one in quiet.explained if one.scope.covers_notifications],
        source=alert.source,
        generator_url=alert.generator_url,
        groups=groups,
    )


def _state(known: KnownAlert, quiet: QuietBy) -> pb.AlertState.ValueType:
    if not known.is_firing:
        return pb.ALERT_STATE_RESOLVED
    return pb.ALERT_STATE_SUPPRESSED if quiet.hides_from_people else pb.ALERT_STATE_ACTIVE


def group_message(group: Group, receivers: Sequence[str], alerts: Sequence[pb.Alert], firing: int) -> pb.AlertGroup:
    """A group as it is now."""
    return pb.AlertGroup(
        id=group.id,
        route=group.route,
        labels=group.labels,
        receivers=receivers,
        create_time=timestamp(group.created_at),
        next_flush_time=timestamp(group.next_flush_at),
        notify_time=timestamp(group.notified_at),
        last_reason=reason_message(group.last_reason) if group.last_reason else pb.FLUSH_REASON_UNSPECIFIED,
        firing_count=firing,
        alerts=alerts,
    )


def reason_message(reason: FlushReason) -> pb.FlushReason.ValueType:
    """Why a group is told, or is not."""
    return _REASONS[reason]


# --- the routing -----------------------------------------------------------------------------------------------------


def routing_from(message: pb.Routing) -> Routing:
    """A routing as it is written down."""
    return Routing(
        root=_route_from(message.root),
        inhibit_rules=tuple(
            InhibitRule(
                one.name,
                matchers_from(one.source_matchers),
                matchers_from(one.target_matchers),
                tuple(one.equal_labels),
                _SCOPES[one.scope],
            )
            for one in message.inhibit_rules
        ),
        resolve_timeout=span(message, "resolve_timeout") or RESOLVE_TIMEOUT,
    )


def _route_from(message: pb.Route) -> Route:
    return Route(
        id=message.id,
        matchers=matchers_from(message.matchers),
        receivers=tuple(message.receivers),
        group_by=tuple(message.group_by.labels) if message.HasField("group_by") else None,
        group_wait=span(message, "group_wait"),
        group_interval=span(message, "group_interval"),
        repeat_interval=span(message, "repeat_interval"),
        continues=message.continues,
        opens_incidents=message.opens_incidents if message.HasField("opens_incidents") else None,
        tells_resolved=message.tells_resolved if message.HasField("tells_resolved") else None,
        routes=tuple(_route_from(one) for one in message.routes),
    )


def routing_message(routing: Routing, record: RoutingRecord | None = None) -> pb.Routing:
    """Back; with what the server says of it where it is the one in use."""
    message = pb.Routing(
        root=_route_message(routing.root),
        inhibit_rules=[
            pb.InhibitRule(
                name=one.name,
                source_matchers=matcher_messages(one.source_matchers),
                target_matchers=matcher_messages(one.target_matchers),
                equal_labels=one.equal_labels,
                scope=scope_message(one.scope),
            )
            for one in routing.inhibit_rules
        ],
        resolve_timeout=duration(routing.resolve_timeout),
    )
    if record is not None:
        message.MergeFrom(
            pb.Routing(etag=record.etag, update_time=timestamp(record.updated_at), updated_by=record.updated_by)
        )
    return message


def _route_message(route: Route) -> pb.Route:
    return pb.Route(
        id=route.id,
        matchers=matcher_messages(route.matchers),
        receivers=route.receivers,
        group_by=None if route.group_by is None else pb.GroupBy(labels=route.group_by),
        group_wait=duration(route.group_wait),
        group_interval=duration(route.group_interval),
        repeat_interval=duration(route.repeat_interval),
        continues=route.continues,
        opens_incidents=route.opens_incidents,
        tells_resolved=route.tells_resolved,
        routes=[_route_message(one) for one in route.routes],
    )


def scope_message(scope: Scope) -> pb.QuietScope.ValueType:
    """What is kept quiet."""
    return pb.QuietScope.ValueType(_SCOPES.index(scope, 1))


# --- silences --------------------------------------------------------------------------------------------------------


def silence_from(message: pb.Silence, now: datetime, author: str, path: str = "silence") -> Silence:
    """A silence that is asked for; one without a start begins now, one without an author is the caller's.

    One without an end ends when it begins, which no rule of silences lets pass.
    """
    starts_at = moment(message, "start_time", f"{path}.start_time") or now
    return Silence(
        id="",
        matchers=matchers_from(message.matchers),
        starts_at=starts_at,
        ends_at=moment(message, "end_time", f"{path}.end_time") or starts_at,
        author=message.author or author,
        comment=message.comment,
        scope=_SCOPES[message.scope],
        recurrence=_recurrence_from(message),
        unmatched_for=span(message, "end_when_unmatched_for"),
    )


def _recurrence_from(message: pb.Silence) -> Recurrence | None:
    if not message.HasField("recurrence"):
        return None
    found = message.recurrence
    return Recurrence(found.cron, found.duration.ToTimedelta(), found.time_zone or "UTC")


FIELDS: Final[Mapping[str, Sequence[str]]] = {
    "matchers": ("matchers",),
    "start_time": ("starts_at",),
    "end_time": ("ends_at",),
    "author": ("author",),
    "comment": ("comment",),
    "scope": ("scope",),
    "recurrence": ("recurrence",),
    "end_when_unmatched_for": ("unmatched_for",),
}
"""What can be changed: fields of the contract, and what they are here."""


def changed(present: Silence, wanted: Silence, fields: Iterable[str]) -> Silence:
    """A silence with other values of these fields of the contract."""
    names = [name for field in fields for name in FIELDS[field]]
    values: dict[str, Any] = {name: getattr(wanted, name) for name in names}
    return replace(present, **values)


def silence_message(silence: Silence, now: datetime) -> pb.Silence:
    """A silence as it is now."""
    recurrence = silence.recurrence
    return pb.Silence(
        name=silence.name,
        matchers=matcher_messages(silence.matchers),
        start_time=timestamp(silence.starts_at),
        end_time=timestamp(silence.ends_at),
        author=silence.author,
        comment=silence.comment,
        scope=scope_message(silence.scope),
        recurrence=None
        if recurrence is None
        else pb.SilenceRecurrence(
            cron=recurrence.cron, duration=duration(recurrence.duration), time_zone=recurrence.time_zone
        ),
        end_when_unmatched_for=duration(silence.unmatched_for),
        state=_SILENCE_STATES[silence.state(now)],
        create_time=timestamp(silence.created_at),
        update_time=timestamp(silence.updated_at),
        match_time=timestamp(silence.matched_at),
        end_reason=silence.end_reason,
        etag=silence.etag,
    )
