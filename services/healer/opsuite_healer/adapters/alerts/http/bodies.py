"""Bodies of Alertmanager's HTTP API (v2, and the body of its webhook) as messages of our contract, and back.

What comes in is made into the request of the RPC that does the same, and judged by the rules of that: what gRPC
refuses is refused here too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from opsuite.healer.v1 import alert_pb2, alert_service_pb2, silence_service_pb2
from opsuite_healer.adapters.alerts.messages import pushed_from, silence_from
from opsuite_healer.adapters.alerts.queries import Listed, ListedGroup, receiver_name
from opsuite_healer.domain.alerts.alert import Alert, Pushed
from opsuite_healer.domain.alerts.matching import Matcher, Operator
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.shapes import check_for
from opsuite_rpc.values import timestamp

WEBHOOK_TIMEOUT: Final = timedelta(hours=24)
"""How long an alert goes on that came by webhook: another Alertmanager tells its end, and repeats itself rarely."""
SHOWN_FOR: Final = timedelta(minutes=5)
"""End that is shown of an alert that has none."""
_ABSENT: Final = "0001-01-01T00:00:00"
"""How Go writes a time that is not set begins."""

_CHECK_PUSH: Final = check_for(alert_service_pb2.PushAlertsRequest)
_CHECK_SILENCE: Final = check_for(silence_service_pb2.CreateSilenceRequest)
_OPERATORS: Final = {
    (True, False): alert_pb2.MATCH_OPERATOR_EQUAL,
    (False, False): alert_pb2.MATCH_OPERATOR_NOT_EQUAL,
    (True, True): alert_pb2.MATCH_OPERATOR_MATCHES,
    (False, True): alert_pb2.MATCH_OPERATOR_NOT_MATCHES,
}
"""By isEqual and isRegex."""


class _Reader:
    """Takes fields out of JSON; what has the wrong type is noted and taken as absent."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def wrong(self, path: str, description: str) -> None:
        self.violations.append(Violation(path, description, "TYPE"))

    def take(self, value: Any, path: str, kind: type, default: Any) -> Any:
        if value is None:
            return default
        if not isinstance(value, kind):
            self.wrong(path, f"is no {_KINDS[kind]}")
            return default
        return value

    def texts(self, value: Any, path: str) -> dict[str, str]:
        """Names and texts."""
        found = self.take(value, path, dict, {})
        good = {name: text for name, text in found.items() if isinstance(text, str)}
        if len(good) < len(found):
            self.wrong(path, "holds something else than texts")
        return good

    def time(self, value: Any, path: str) -> Timestamp | None:
        text = self.take(value, path, str, "")
        if not text or text.startswith(_ABSENT):
            return None
        try:
            # Go's reader takes lower case letters too, and ours does not.
            message = Timestamp()
            message.FromJsonString(text.upper())
        except ValueError:
            self.wrong(path, "is no time such as 2026-06-01T12:00:00Z")
            return None
        return message

    def finish(self, found: Sequence[Violation]) -> None:
        """Raises InvalidInput with all that is wrong."""
        if violations := [*self.violations, *found]:
            raise InvalidInput(violations)


_KINDS: Final = {dict: "object", list: "list", str: "text", bool: "true or false"}


def alerts_in(body: Any) -> list[Pushed]:
    """Alerts as Prometheus pushes them. Raises InvalidInput."""
    reader = _Reader()
    if not isinstance(body, list):
        raise InvalidInput([Violation("", "a list of alerts is expected", "TYPE")])
    request = alert_service_pb2.PushAlertsRequest()
    for index, one in enumerate(body):
        _alert_in(reader, one, f"alerts[{index}]", request.alerts.add())
    return _checked(reader, request)


def webhook_alerts(body: Any, now: datetime) -> list[Pushed]:
    """Alerts as another Alertmanager sends them to a webhook. Raises InvalidInput."""
    reader = _Reader()
    if not isinstance(body, dict) or not isinstance(body.get("alerts"), list):
        raise InvalidInput([Violation("alerts", "a list of alerts is expected", "TYPE")])
    request = alert_service_pb2.PushAlertsRequest()
    for index, one in enumerate(body["alerts"]):
        path = f"alerts[{index}]"
        message = request.alerts.add()
        _alert_in(reader, one, path, message)
        is_over = isinstance(one, dict) and one.get("status") == "resolved"
        if not message.HasField("end_time"):
            message.end_time.CopyFrom(_required(timestamp(now if is_over else now + WEBHOOK_TIMEOUT)))
    return _checked(reader, request)


def _required(message: Timestamp | None) -> Timestamp:
    return message or Timestamp()


def _alert_in(reader: _Reader, value: Any, path: str, message: alert_pb2.PushedAlert) -> None:
    one = reader.take(value, path, dict, {})
    message.labels.update(_said(reader.texts(one.get("labels"), f"{path}.labels")))
    message.annotations.update(_said(reader.texts(one.get("annotations"), f"{path}.annotations")))
    if (start := reader.time(one.get("startsAt"), f"{path}.startsAt")) is not None:
        message.start_time.CopyFrom(start)
    if (end := reader.time(one.get("endsAt"), f"{path}.endsAt")) is not None:
        message.end_time.CopyFrom(end)
    message.generator_url = reader.take(one.get("generatorURL"), f"{path}.generatorURL", str, "")


def _said(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}


def _checked(reader: _Reader, request: alert_service_pb2.PushAlertsRequest) -> list[Pushed]:
    reader.finish(_CHECK_PUSH(request) if request.alerts else ())
    return pushed_from(request.alerts)


def silence_in(body: Any) -> tuple[str, silence_service_pb2.CreateSilenceRequest]:
    """The id of a silence that is to be changed, empty for a new one; and what it is to be. Raises InvalidInput."""
    reader = _Reader()
    one = reader.take(body, "", dict, {})
    request = silence_service_pb2.CreateSilenceRequest()
    message = request.silence
    for index, value in enumerate(reader.take(one.get("matchers"), "matchers", list, [])):
        _matcher_in(reader, value, f"matchers[{index}]", message.matchers.add())
    if (start := reader.time(one.get("startsAt"), "startsAt")) is not None:
        message.start_time.CopyFrom(start)
    if (end := reader.time(one.get("endsAt"), "endsAt")) is not None:
        message.end_time.CopyFrom(end)
    message.author = reader.take(one.get("createdBy"), "createdBy", str, "")
    message.comment = reader.take(one.get("comment"), "comment", str, "")
    if not message.author:
        reader.wrong("createdBy", "is required")
    name = reader.take(one.get("id"), "id", str, "")
    reader.finish(_CHECK_SILENCE(request))
    return name, request


def drafted(request: silence_service_pb2.CreateSilenceRequest, now: datetime) -> Silence:
    """The silence that is asked for."""
    return silence_from(request.silence, now, "")


def _matcher_in(reader: _Reader, value: Any, path: str, message: alert_pb2.Matcher) -> None:
    one = reader.take(value, path, dict, {})
    message.label = reader.take(one.get("name"), f"{path}.name", str, "")
    message.value = reader.take(one.get("value"), f"{path}.value", str, "")
    is_equal = reader.take(one.get("isEqual"), f"{path}.isEqual", bool, True)
    is_regex = reader.take(one.get("isRegex"), f"{path}.isRegex", bool, False)
    message.operator = _OPERATORS[is_equal, is_regex]


# --- out -------------------------------------------------------------------------------------------------------------


def time_text(value: datetime) -> str:
    """As Go reads it, to the millisecond."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def alert_out(listed: Listed, receivers: Sequence[str]) -> dict[str, Any]:
    """An alert with what keeps it quiet."""
    alert = listed.known.alert
    silenced = [one.id for one in listed.quiet.silences if one.scope.covers_notifications]
    inhibited = [one.by for one in listed.quiet.explained if one.scope.covers_notifications]
    return {
        "annotations": dict(alert.annotations),
        "endsAt": time_text(_shown_end(alert)),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": time_text(alert.starts_at),
        "status": {
            "inhibitedBy": inhibited,
            "silencedBy": silenced,
            "state": "suppressed" if silenced or inhibited else "active",
        },
        "updatedAt": time_text(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": dict(alert.labels),
    }


def _shown_end(alert: Alert) -> datetime:
    return alert.ends_at or alert.updated_at + SHOWN_FOR


def group_out(group: ListedGroup, alerts: Sequence[Listed]) -> dict[str, Any]:
    """A group with some of its alerts."""
    name = receiver_name(group.receivers)
    return {
        "alerts": [alert_out(one, [name]) for one in alerts],
        "labels": dict(group.group.labels),
        "receiver": {"name": name},
    }


def silence_out(silence: Silence, now: datetime) -> dict[str, Any]:
    """A silence as it is now."""
    return {
        "id": silence.id,
        "status": {"state": silence.state(now).value},
        "updatedAt": time_text(silence.updated_at or now),
        "comment": silence.comment,
        "createdBy": silence.author,
        "startsAt": time_text(silence.starts_at),
        "endsAt": time_text(silence.ends_at),
        "matchers": [_matcher_out(one) for one in silence.matchers],
    }


def _matcher_out(matcher: Matcher) -> dict[str, Any]:
    return {
        "name": matcher.label,
        "value": matcher.value,
        "isEqual": matcher.operator in {Operator.EQUAL, Operator.MATCHES},
        "isRegex": matcher.operator in {Operator.MATCHES, Operator.NOT_MATCHES},
    }


def parsed(text: bytes) -> Any:
    """JSON. Raises InvalidInput."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput([Violation("", "the body is no JSON", "JSON")]) from error
