"""Alerts over real gRPC, on both databases: taken, grouped, told, silenced, explained."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes.healer_alert_stage import AlertStage, alert_stage, in_an_hour
from fakes.healer_incident_stage import short_directory
from fakes.healer_incidents import trouble
from google.protobuf import json_format

from opsuite.healer.v1 import alert_pb2
from opsuite.healer.v1 import alert_service_pb2 as pb
from opsuite.healer.v1 import silence_service_pb2 as silence_service
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_kernel.errors import InvalidInput, Stale

DOWN = {"alertname": "Down", "severity": "critical", "workload": "shop", "platform": "process"}
SLOW = {"alertname": "Slow", "severity": "warning", "workload": "shop", "platform": "process"}
PAST = "2020-01-01T00:00:00Z"
EXPLAINS = {
    "name": "down",
    "sourceMatchers": [{"label": "alertname", "value": "Down"}],
    "targetMatchers": [{"label": "alertname", "value": "Slow"}],
    "equalLabels": ["workload"],
}


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def stage(directory: Path, request: pytest.FixtureRequest) -> AsyncIterator[AlertStage]:
    """On SQLite, or on the database that a test names."""
    kind = getattr(request, "param", "sqlite")
    url = "sqlite" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    async with asyncio.timeout(120), alert_stage(directory, database_url=url) as served:
        yield served


on_both = pytest.mark.parametrize("stage", ["sqlite", "postgresql"], indirect=True)


@on_both
async def test_an_alert_is_kept_grouped_told_and_becomes_an_incident(stage: AlertStage) -> None:
    await stage.client.route()

    taken = await stage.client.push(DOWN, annotations={"summary": "the shop is down"})

    (message,) = await stage.told(1)
    (alert,) = await stage.client.listed()
    (incident,) = await stage.client.all_incidents()
    (group,) = await stage.client.groups()
    assert (taken.begun_count, list(taken.names)) == (1, [alert.name])
    assert (alert.state, alert.target.workload) == (alert_pb2.ALERT_STATE_ACTIVE, "shop")
    assert (incident.key, incident.issue, incident.source) == (alert.name.removeprefix("alerts/"), "Down", alert.name)
    assert incident.trace_id == message["fields"]["trace"]
    assert (message["event"], message["title"]) == ("ALERTS_FIRING", "[FIRING:1] alertname=Down")
    assert "the shop is down" in message["text"]
    assert (message["severity"], message["fields"]["reason"], message["key"]) == ("critical", "first", group.id)
    assert (list(group.receivers), group.firing_count, list(alert.groups)) == (["duty"], 1, [group.id])


async def test_the_end_of_an_alert_is_told_on_and_to_people(stage: AlertStage) -> None:
    await stage.client.route()
    await stage.client.push(DOWN)
    await stage.told(1)

    ended = await stage.client.push(DOWN, endTime="2026-01-01T00:00:00Z", startTime=PAST)

    assert ended.ended_count == 1
    _, message = await stage.told(2)
    assert (message["event"], message["severity"]) == ("ALERTS_RESOLVED", "success")
    assert await stage.client.listed() == []
    (alert,) = await stage.client.listed(showResolved=True)
    assert alert.state == alert_pb2.ALERT_STATE_RESOLVED


async def test_an_alert_that_nobody_tells_again_ends(stage: AlertStage) -> None:
    form = {"root": {"receivers": ["duty"], "groupWait": "0s", "groupInterval": "0.2s"}, "resolveTimeout": "1s"}
    await stage.client.alerts.SetRouting(json_format.ParseDict({"routing": form}, pb.SetRoutingRequest()))

    await stage.client.push(DOWN)

    firing, resolved = await stage.told(2)
    assert (firing["event"], resolved["event"]) == ("ALERTS_FIRING", "ALERTS_RESOLVED")


async def test_alerts_that_join_are_told_together(stage: AlertStage) -> None:
    await stage.client.route()
    await stage.client.push(DOWN)
    await stage.told(1)

    await stage.client.push(DOWN | {"replica": "shop-1"}, DOWN | {"replica": "shop-2"})

    _, message = await stage.told(2)
    assert (message["title"], message["fields"]["reason"]) == ("[FIRING:3] alertname=Down", "new alerts")


@on_both
async def test_silenced_alerts_are_told_when_the_silence_ends(stage: AlertStage) -> None:
    await stage.client.route({"matchers": [{"label": "alertname", "value": "Slow"}], "id": "slow"})
    silence = await stage.client.silence()
    await stage.client.push(DOWN)
    await stage.client.push(SLOW)
    (first,) = await stage.told(1)  # the one that is not silenced
    await _until_looked_at(stage, "Down")
    (alert,) = [one for one in await stage.client.listed() if one.labels["alertname"] == "Down"]
    assert (alert.state, list(alert.silenced_by)) == (alert_pb2.ALERT_STATE_SUPPRESSED, [silence.name])

    await stage.client.silences.ExpireSilence(silence_service.ExpireSilenceRequest(name=silence.name))

    _, second = await stage.told(2)
    assert (first["title"], second["title"]) == ("[FIRING:1] alertname=Slow", "[FIRING:1] alertname=Down")


async def test_the_end_of_a_silence_does_not_wait_for_the_next_look(stage: AlertStage) -> None:
    await stage.client.route(groupInterval="3600s")
    await stage.client.push(DOWN)
    await stage.told(1)
    silence = await stage.client.silence()
    await stage.client.push(DOWN | {"replica": "shop-1"})

    await stage.client.silences.ExpireSilence(silence_service.ExpireSilenceRequest(name=silence.name))

    _, message = await stage.told(2)
    assert message["title"] == "[FIRING:2] alertname=Down"


@on_both
async def test_explained_alerts_are_told_when_the_explanation_is_over(stage: AlertStage) -> None:
    await stage.client.route(rules=[EXPLAINS])
    await stage.client.push(DOWN)
    await stage.told(1)
    await stage.client.push(SLOW)
    await _until_looked_at(stage, "Slow")
    (slow,) = [one for one in await stage.client.listed() if one.labels["alertname"] == "Slow"]
    (down,) = [one for one in await stage.client.listed() if one.labels["alertname"] == "Down"]
    assert (slow.state, list(slow.inhibited_by)) == (alert_pb2.ALERT_STATE_SUPPRESSED, [down.name])

    await stage.client.push(DOWN, startTime=PAST, endTime="2026-01-01T00:00:00Z")

    told = await stage.told(3)
    assert sorted(message["title"] for message in told[1:]) == [
        "[FIRING:1] alertname=Slow",
        "[RESOLVED:1] alertname=Down",
    ]


async def test_what_is_quiet_is_known_to_every_part(stage: AlertStage) -> None:
    await stage.client.route(rules=[EXPLAINS])
    await stage.client.push(DOWN)
    silence = await stage.client.silence("alertname", "Slow", scope="QUIET_SCOPE_ACTIONS")
    (down,) = await stage.client.listed()

    now = await stage.stage.house.store.read(lambda unit: unit.now())
    hush = await stage.part.quiet.of(SLOW, now)
    nothing = await stage.part.quiet.of({"alertname": "Other"}, now)

    assert hush.notifications == (f"inhibited by {down.name}",)
    assert hush.actions == (silence.name, f"inhibited by {down.name}")
    assert (nothing.notifications, nothing.actions) == ((), ())


@on_both
async def test_trouble_of_checks_becomes_alerts_and_incidents_in_one_transaction(stage: AlertStage) -> None:
    await stage.client.route()
    found = trouble("check-key")

    def tell(unit: SqlUnit) -> None:
        stage.part.troubles_of(unit).found(found)

    await stage.stage.house.store.write(tell)
    await stage.stage.house.store.write(tell)  # it goes on

    (message,) = await stage.told(1)
    (incident,) = await stage.client.all_incidents()
    assert (incident.key, incident.source, incident.seen_count) == ("check-key", "healthChecks/checkout", 2)
    assert message["title"] == "[FIRING:1] alertname=UNHEALTHY"

    await stage.stage.house.store.write(
        lambda unit: stage.part.troubles_of(unit).gone("check-key", unit.now(), "healthy again")
    )
    _, over = await stage.told(2)
    assert over["event"] == "ALERTS_RESOLVED"


async def test_nothing_stays_of_trouble_in_a_transaction_that_fails(stage: AlertStage) -> None:
    def tell_and_fail(unit: SqlUnit) -> None:
        stage.part.troubles_of(unit).found(trouble("check-key"))
        raise InvalidInput([])

    with pytest.raises(InvalidInput):
        await stage.stage.house.store.write(tell_and_fail)

    assert (await stage.client.listed(), await stage.client.all_incidents()) == ([], [])


async def test_routes_may_open_no_incidents(stage: AlertStage) -> None:
    await stage.client.route({"matchers": [{"label": "alertname", "value": "Slow"}], "opensIncidents": False})

    await stage.client.push(SLOW, DOWN)

    assert [incident.issue for incident in await stage.client.all_incidents()] == ["Down"]
    tried = await stage.client.alerts.TestRoute(pb.TestRouteRequest(labels=SLOW))
    assert not tried.opens_incident


@on_both
async def test_another_routing_groups_anew_and_tells_nothing_twice(stage: AlertStage) -> None:
    await stage.client.route({"id": "mine", "matchers": [{"label": "alertname", "value": "Down"}]})
    await stage.client.push(DOWN)
    await stage.told(1)

    await stage.client.route(
        {"id": "slow", "matchers": [{"label": "alertname", "value": "Slow"}]},
        {"id": "mine", "matchers": [{"label": "alertname", "value": "Down"}]},
    )
    await stage.client.push(SLOW)

    told = await stage.told(2)
    assert [message["title"] for message in told] == ["[FIRING:1] alertname=Down", "[FIRING:1] alertname=Slow"]
    assert sorted(group.route for group in await stage.client.groups()) == ["mine", "slow"]


async def test_a_routing_that_was_changed_meanwhile_is_not_replaced(stage: AlertStage) -> None:
    routing = await stage.client.route()
    await stage.client.route(groupWait="1s")

    with pytest.raises(Stale, match="etag"):
        await stage.client.alerts.SetRouting(pb.SetRoutingRequest(routing=routing))


async def test_a_repeated_call_is_answered_as_the_first_time_was(stage: AlertStage) -> None:
    request = json_format.ParseDict(
        {
            "requestId": str(uuid.uuid4()),
            "silence": {
                "matchers": [{"label": "a", "value": "b"}],
                "comment": "x",
                "endTime": in_an_hour(),
            },
        },
        silence_service.CreateSilenceRequest(),
    )

    first = await stage.client.silences.CreateSilence(request)
    again = await stage.client.silences.CreateSilence(request)

    assert first == again
    listed = await stage.client.silences.ListSilences(silence_service.ListSilencesRequest())
    assert [one.name for one in listed.silences] == [first.silence.name]
    assert first.silence.author == "local"


@on_both
async def test_a_silence_is_changed_and_ended_and_stays_listed(stage: AlertStage) -> None:
    silence = await stage.client.silence(recurrence={"cron": "0 2 * * 1", "duration": "3600s"})
    change: Mapping[str, Any] = {
        "silence": {"name": silence.name, "comment": "longer", "etag": silence.etag},
        "updateMask": "comment,recurrence",
    }
    changed = await stage.client.silences.UpdateSilence(
        json_format.ParseDict(dict(change), silence_service.UpdateSilenceRequest())
    )
    ended = await stage.client.silences.ExpireSilence(
        silence_service.ExpireSilenceRequest(name=silence.name, reason="done")
    )

    assert silence.state in {alert_pb2.SILENCE_STATE_PENDING, alert_pb2.SILENCE_STATE_ACTIVE}
    assert (changed.silence.comment, changed.silence.HasField("recurrence")) == ("longer", False)
    assert changed.silence.state == alert_pb2.SILENCE_STATE_ACTIVE
    assert (ended.silence.state, ended.silence.end_reason) == (alert_pb2.SILENCE_STATE_EXPIRED, "done")
    hidden = await stage.client.silences.ListSilences(silence_service.ListSilencesRequest())
    shown = await stage.client.silences.ListSilences(silence_service.ListSilencesRequest(show_expired=True))
    assert (list(hidden.silences), [one.name for one in shown.silences]) == ([], [silence.name])


@on_both
async def test_lists_come_in_pages(stage: AlertStage) -> None:
    await stage.client.push(*({"alertname": "Down", "number": str(number)} for number in range(25)))

    request = pb.ListAlertsRequest(page_size=10)
    request.matchers.add(label="number", operator=alert_pb2.MATCH_OPERATOR_MATCHES, value="1?[0-9]")
    names: list[str] = []
    pages = 0
    while True:
        page = await stage.client.alerts.ListAlerts(request)
        names += [alert.labels["number"] for alert in page.alerts]
        pages += 1
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token

    assert sorted(names, key=int) == [str(number) for number in range(20)]
    assert pages in {2, 3}


async def test_a_preview_tells_the_future_and_changes_nothing(stage: AlertStage) -> None:
    form = {
        "alerts": [{"labels": DOWN, "startTime": "2026-06-01T12:00:00Z", "endTime": "2026-06-01T12:06:00Z"}],
        "silences": [
            {
                "matchers": [{"label": "alertname", "value": "Down"}],
                "comment": "x",
                "startTime": "2026-06-01T12:00:00Z",
                "endTime": "2026-06-01T12:01:00Z",
            }
        ],
        "routing": {"root": {"receivers": ["duty"]}},
    }

    answer = await stage.client.alerts.PreviewGrouping(json_format.ParseDict(form, pb.PreviewGroupingRequest()))

    assert [
        (one.time.ToJsonString(), alert_pb2.FlushReason.Name(one.reason).removeprefix("FLUSH_REASON_"), one.is_told)
        for one in answer.flushes
    ] == [
        ("2026-06-01T12:00:30Z", "ALL_QUIET", False),
        ("2026-06-01T12:01:00Z", "FIRST", True),
        ("2026-06-01T12:06:00Z", "RESOLVED", True),
    ]
    assert await stage.client.listed(showResolved=True) == []


async def _until_looked_at(stage: AlertStage, name: str) -> None:
    """Return when the group of that alert was looked at, without being told."""
    while True:
        groups = [one for one in await stage.client.groups() if one.labels["alertname"] == name]
        if groups and groups[0].last_reason == alert_pb2.FLUSH_REASON_ALL_QUIET:
            return
        await asyncio.sleep(0.02)
