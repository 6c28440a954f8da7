"""Incidents as people meet them: over real gRPC and a real database, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fakes.alert_receivers import Receivers, alert_receivers
from fakes.healer_incident_stage import IncidentStage, incident_stage, policy_form, short_directory, word
from google.protobuf import json_format

from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1 import incident_pb2 as messages
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.application.incidents.book import Book
from opsuite_healer.domain.trouble import Severity, Trouble
from opsuite_kernel.errors import Conflict, InvalidInput, Stale


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    async with alert_receivers() as listening:
        yield listening


@pytest.fixture(params=["sqlite", "postgresql"])
async def stage(request: pytest.FixtureRequest, directory: Path, receivers: Receivers) -> AsyncIterator[IncidentStage]:
    url = "sqlite" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with incident_stage(directory, database_url=url) as served:
        await served.receiver("hook", webhook={"url": f"{receivers.url}/webhook"})
        yield served


def parsed(form: Mapping[str, Any], kind: type[Any]) -> Any:
    return json_format.ParseDict(dict(form), kind())


async def test_the_same_trouble_opens_one_incident_until_that_is_resolved(stage: IncidentStage) -> None:
    first, again = await stage.trigger(), await stage.trigger(summary="still")

    assert (again.name, again.seen_count) == (first.name, 2)
    assert first.key == "k1"
    await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=first.name))
    assert (await stage.trigger()).name != first.name


async def test_trouble_without_a_key_gets_that_of_its_issue_and_target(stage: IncidentStage) -> None:
    target = {"platform": "process", "workload": "checkout"}

    one, same = await stage.trigger(key="", target=target), await stage.trigger(key="", target=target)
    other = await stage.trigger(key="", target=target, issue="CRASHED")

    assert (one.name, len(one.key)) == (same.name, 64)
    assert other.name != one.name
    assert dict(one.labels) == {
        "issue": "UNHEALTHY",
        "severity": "ERROR",
        "platform": "process",
        "workload": "checkout",
    }


async def test_a_repeated_call_is_answered_as_the_first_time_and_does_nothing(stage: IncidentStage) -> None:
    request = parsed(
        {"requestId": str(uuid.uuid4()), "issue": "DISK_FULL", "summary": "full"}, pb.TriggerIncidentRequest
    )

    first, again = [await stage.incidents.TriggerIncident(request) for _ in range(2)]

    assert (first.opened, again.opened) == (True, True)
    assert again.incident == first.incident
    acknowledge = pb.AcknowledgeIncidentRequest(request_id=str(uuid.uuid4()), name=first.incident.name)
    for _ in range(2):
        await stage.incidents.AcknowledgeIncident(acknowledge)
    assert (await stage.kinds(first.incident.name)).count("ACKNOWLEDGED") == 1


async def test_many_at_once_open_one_incident(stage: IncidentStage) -> None:
    found = await asyncio.gather(*(stage.trigger() for _ in range(20)))

    assert len({one.name for one in found}) == 1
    assert max(one.seen_count for one in found) == 20


async def test_a_life_from_its_opening_to_its_end_stands_on_the_timeline(stage: IncidentStage) -> None:
    incident = await stage.trigger()
    name, calls = incident.name, stage.incidents
    seen = (await calls.AcknowledgeIncident(pb.AcknowledgeIncidentRequest(name=name, reason="on it"))).incident
    await calls.AddIncidentNote(pb.AddIncidentNoteRequest(name=name, text="the disk is full"))
    until = datetime.now(UTC) + timedelta(hours=1)
    snooze = pb.SnoozeIncidentRequest(name=name)
    snooze.until.FromDatetime(until)
    put_off = (await calls.SnoozeIncident(snooze)).incident
    over = (await calls.ResolveIncident(pb.ResolveIncidentRequest(name=name, reason="emptied"))).incident
    back = (await calls.ReopenIncident(pb.ReopenIncidentRequest(name=name, reason="full again"))).incident

    assert (seen.acknowledged_by, seen.status) == ("local", messages.INCIDENT_STATUS_ACKNOWLEDGED)
    assert put_off.snooze_until.ToDatetime(UTC) == until
    assert (over.status, over.resolved_by) == (messages.INCIDENT_STATUS_RESOLVED, messages.INCIDENT_RESOLVER_HUMAN)
    assert (over.resolver, over.HasField("snooze_until")) == ("local", False)
    assert (back.status, back.HasField("resolve_time")) == (messages.INCIDENT_STATUS_OPEN, False)
    entries = (await stage.timeline(name))[:6]
    assert [(one.sequence, word(one.kind), one.text) for one in entries][:2] == [
        (1, "OPENED", "checkout does not answer"),
        (2, "ACKNOWLEDGED", "on it"),
    ]
    assert [word(one.kind) for one in entries[2:]] == ["NOTE", "SNOOZED", "RESOLVED", "REOPENED"]
    assert [one.actor for one in entries] == ["healer", *["local"] * 5]


async def test_what_was_changed_meanwhile_is_not_changed_unseen(stage: IncidentStage) -> None:
    incident = await stage.trigger()
    await stage.incidents.AddIncidentNote(pb.AddIncidentNoteRequest(name=incident.name, text="hm"))

    with pytest.raises(Stale) as told:
        await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=incident.name, etag=incident.etag))

    assert told.value.reason == "ETAG_MISMATCH"


async def test_merged_incidents_are_one_for_whatever_is_told_of_either(stage: IncidentStage) -> None:
    one, two = await stage.trigger(), await stage.trigger(key="k2", severity="SEVERITY_CRITICAL")

    merged = (
        await stage.incidents.MergeIncidents(pb.MergeIncidentsRequest(name=one.name, sources=[two.name]))
    ).incident
    over = (await stage.incidents.GetIncident(pb.GetIncidentRequest(name=two.name))).incident

    assert (merged.severity, merged.seen_count) == (two.severity, 2)
    assert (over.merged_into, over.resolved_by) == (one.name, messages.INCIDENT_RESOLVER_MERGE)
    assert {(await stage.trigger(key=key)).name for key in ("k1", "k2")} == {one.name}
    with pytest.raises(Conflict) as told:
        await stage.incidents.ReopenIncident(pb.ReopenIncidentRequest(name=two.name))
    assert (told.value.reason, told.value.metadata["other"]) == ("KEY_TAKEN", one.name)


async def test_lists_are_filtered_and_paged(stage: IncidentStage) -> None:
    names = [
        (await stage.trigger(key=f"k{number}", issue="CRASHED" if number % 2 else "FULL")).name for number in range(5)
    ]
    await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=names[1]))

    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListIncidentsRequest(page_size=2, page_token=token)
        page = await stage.incidents.ListIncidents(request)
        assert len(page.incidents) <= 2
        listed += [one.name for one in page.incidents]
        if not (token := page.next_page_token):
            break
    assert listed == names[::-1]
    for filter_, expected in {
        'issue = "CRASHED"': [names[3], names[1]],
        'issue = "CRASHED" AND status != RESOLVED': [names[3]],
        "severity >= CRITICAL": [],
        "resolved_by = HUMAN": [names[1]],
    }.items():
        found = await stage.incidents.ListIncidents(pb.ListIncidentsRequest(filter=filter_))
        assert [one.name for one in found.incidents] == expected


async def test_a_watch_begins_with_what_there_is_and_goes_on_where_it_broke_off(stage: IncidentStage) -> None:
    first = await stage.trigger()
    stream = stage.incidents.WatchIncidents(pb.WatchIncidentsRequest(name="incidents/-"))
    answers = aiter(stream)
    snapshot = await anext(answers)
    await stage.incidents.AddIncidentNote(pb.AddIncidentNoteRequest(name=first.name, text="one"))
    told = await anext(answers)
    stream.cancel()
    second = await stage.trigger(key="k2")
    await stage.incidents.AddIncidentNote(pb.AddIncidentNoteRequest(name=first.name, text="two"))

    assert [one.name for one in snapshot.snapshot.incidents] == [first.name]
    assert [(one.incident.name, one.entry.text) for one in told.events] == [(first.name, "one")]
    resumed = stage.incidents.WatchIncidents(
        pb.WatchIncidentsRequest(name="incidents/-", resume_token=told.resume_token)
    )
    events: list[messages.IncidentEvent] = []
    async for answer in resumed:
        events += answer.events
        if len(events) >= 2:
            break
    assert [(one.incident.name, word(one.entry.kind)) for one in events] == [
        (second.name, "OPENED"),
        (first.name, "NOTE"),
    ]
    resumed.cancel()


async def test_a_watch_of_nothing_new_says_that_it_lives(stage: IncidentStage) -> None:
    incident = await stage.trigger()
    request = parsed({"name": incident.name, "heartbeat": "0.1s"}, pb.WatchIncidentsRequest)
    stream = stage.incidents.WatchIncidents(request)

    answers = [await anext(aiter(stream)) for _ in range(2)]

    assert answers[0].HasField("snapshot")
    assert answers[1].HasField("bookmark")
    stream.cancel()


async def test_statistics_say_how_long_it_takes(stage: IncidentStage) -> None:
    one, two = await stage.trigger(issue="FULL"), await stage.trigger(key="k2")
    await stage.trigger(key="k3")
    await stage.incidents.AcknowledgeIncident(pb.AcknowledgeIncidentRequest(name=one.name))
    seen = (await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=one.name))).incident
    await stage.stage.house.store.write(
        lambda unit: stage.part.book_of(unit).resolve(two.name, "restarted", actor="remediations/1")
    )

    found = await stage.incidents.GetIncidentStatistics(pb.GetIncidentStatisticsRequest())

    total = found.total
    assert (total.opened, total.open, total.acknowledged, total.resolved) == (3, 1, 1, 2)
    assert total.resolved_by_action == 1
    took = seen.first_acknowledge_time.ToDatetime() - seen.open_time.ToDatetime()
    assert total.mean_time_to_acknowledge.ToTimedelta() == took
    assert [(one.group, one.opened) for one in found.issues] == [("UNHEALTHY", 2), ("FULL", 1)]
    assert [one.group for one in found.severities] == ["ERROR"]


# --- what other parts tell


def a_trouble(**fields: Any) -> Trouble:
    given: dict[str, Any] = {
        "issue": "CRASHED",
        "target": None,
        "severity": Severity.ERROR,
        "summary": "it crashed",
        "source": "healthChecks/home-page",
        "at": datetime.now(UTC),
        "key": "k1",
    }
    return Trouble(**given | fields)


async def test_trouble_that_another_part_takes_back_with_its_transaction_was_never_told(stage: IncidentStage) -> None:
    def body(unit: Any) -> None:
        stage.part.troubles_of(unit).found(a_trouble())
        raise ValueError("the finder has changed its mind")

    with pytest.raises(ValueError, match="changed its mind"):
        await stage.stage.house.store.write(body)

    assert not (await stage.incidents.ListIncidents(pb.ListIncidentsRequest())).incidents


async def test_trouble_that_is_gone_and_comes_back_is_one_incident(stage: IncidentStage) -> None:
    store, part = stage.stage.house.store, stage.part
    await store.write(lambda unit: part.troubles_of(unit).found(a_trouble()))
    (view,) = await store.read(lambda unit: part.book_of(unit).open_incidents(10))
    await store.write(lambda unit: part.troubles_of(unit).gone("k1", datetime.now(UTC), "healthy"))
    cleared = await store.read(lambda unit: part.book_of(unit).incident(view.id))
    await store.write(lambda unit: part.troubles_of(unit).found(a_trouble()))
    await store.write(lambda unit: part.troubles_of(unit).gone("k9", datetime.now(UTC), "who?"))

    assert cleared is not None
    assert cleared.is_clear
    assert await stage.kinds(view.name) == ["OPENED", "CLEARED", "BACK"]


async def test_the_book_is_written_by_id_and_by_name_and_forgives_what_is_no_more(stage: IncidentStage) -> None:
    incident = await stage.trigger()
    short = incident.name.removeprefix("incidents/")

    def body(unit: Any) -> None:
        book = stage.part.book_of(unit)
        assert isinstance(book, Book)
        book.remediating(short, "remediations/1")
        book.note(incident.name, "restarted", actor="remediations/1", facts={"deployment": "deployments/7"})
        book.remediating(short, "")
        book.escalate(short, "not healthy in time")
        book.escalate(short, "still not")
        book.resolve(short, "healthy for 60 s", actor="remediations/1")
        book.resolve(short, "healthy for 60 s", actor="remediations/1")
        book.note("01nobody", "lost", actor="healer")

    await stage.stage.house.store.write(body)

    found = (await stage.incidents.GetIncident(pb.GetIncidentRequest(name=incident.name))).incident
    assert await stage.kinds(incident.name) == [
        "OPENED",
        "REMEDIATING",
        "NOTE",
        "REMEDIATED",
        "ESCALATED",
        "NOTE",
        "RESOLVED",
    ]
    assert (found.resolved_by, found.resolver) == (messages.INCIDENT_RESOLVER_ACTION, "remediations/1")
    assert found.deployment == "deployments/7"


# --- receivers and policies


async def test_receivers_and_policies_are_changed_field_by_field(stage: IncidentStage, receivers: Receivers) -> None:
    await stage.policy(["hook"], numLoops=1, description="as it was")
    changed = {"name": "receivers/hook", "description": "the hook", "email": {"to": ["a@example.org"]}}
    change = {"receiver": changed, "updateMask": "description"}

    receiver = (await stage.escalation.UpdateReceiver(parsed(change, escalation.UpdateReceiverRequest))).receiver
    form = {"policy": policy_form(["hook"], numLoops=5, description="new"), "updateMask": "numLoops"}
    policy = (
        await stage.escalation.UpdateEscalationPolicy(parsed(form, escalation.UpdateEscalationPolicyRequest))
    ).policy

    assert (receiver.description, receiver.webhook.url) == ("the hook", f"{receivers.url}/webhook")
    assert (policy.num_loops, policy.description, policy.etag) == (5, "as it was", "2")
    listed = await stage.escalation.ListEscalationPolicies(escalation.ListEscalationPoliciesRequest())
    assert [one.name for one in listed.policies] == ["escalationPolicies/default"]
    found = await stage.escalation.ListReceivers(escalation.ListReceiversRequest())
    assert list(found.receivers) == [receiver]


async def test_a_receiver_that_a_policy_names_stays_until_the_policy_goes(stage: IncidentStage) -> None:
    await stage.policy(["hook"])
    delete = escalation.DeleteReceiverRequest(name="receivers/hook")

    with pytest.raises(Conflict) as told:
        await stage.escalation.DeleteReceiver(delete)
    assert told.value.reason == "RECEIVER_IN_USE"
    await stage.escalation.DeleteEscalationPolicy(
        escalation.DeleteEscalationPolicyRequest(name="escalationPolicies/default")
    )
    await stage.escalation.DeleteReceiver(delete)
    assert not (await stage.escalation.ListReceivers(escalation.ListReceiversRequest())).receivers


async def test_a_policy_cannot_name_who_does_not_exist(stage: IncidentStage) -> None:
    with pytest.raises(InvalidInput) as told:
        await stage.policy(["hook", "nobody"], ["noone"])

    assert [one.field for one in told.value.violations] == [
        "policy.levels[0].receivers[1]",
        "policy.levels[1].receivers[0]",
    ]


async def test_an_incident_keeps_the_policy_that_it_was_opened_with(stage: IncidentStage) -> None:
    await stage.policy(["hook"], beginAfter="3600s")
    incident = await stage.trigger()
    form = {"policy": policy_form(["hook"], beginAfter="0s"), "updateMask": "beginAfter"}
    await stage.escalation.UpdateEscalationPolicy(parsed(form, escalation.UpdateEscalationPolicyRequest))

    found = (await stage.incidents.GetIncident(pb.GetIncidentRequest(name=incident.name))).incident

    assert found.escalation.policy.begin_after.ToTimedelta() == timedelta(hours=1)


async def test_a_preview_says_who_would_be_told_when(stage: IncidentStage) -> None:
    await stage.policy(["hook"], numLoops=1, ackTimeout="1800s")
    form = {
        "policyName": "escalationPolicies/default",
        "openTime": "2026-06-01T12:00:00Z",
        "events": [{"kind": "PREVIEW_EVENT_KIND_ACKNOWLEDGED", "time": "2026-06-01T12:10:00Z"}],
    }

    found = await stage.escalation.PreviewEscalation(parsed(form, escalation.PreviewEscalationRequest))

    told = [(one.time.ToDatetime().strftime("%H:%M"), word(one.kind), one.loop, one.level) for one in found.moments]
    assert told == [
        ("12:00", "OPENED", 0, 0),
        ("12:00", "ESCALATED", 0, 0),
        ("12:00", "TOLD", 1, 1),
        ("12:10", "ACKNOWLEDGED", 0, 0),
        ("12:40", "ACK_EXPIRED", 0, 0),
        ("12:40", "TOLD", 1, 1),
        ("12:55", "TOLD", 2, 1),
        ("13:10", "EXHAUSTED", 0, 0),
    ]
    assert list(found.moments[2].receivers) == ["receivers/hook"]
    assert not found.truncated
    assert not (await stage.incidents.ListIncidents(pb.ListIncidentsRequest())).incidents
