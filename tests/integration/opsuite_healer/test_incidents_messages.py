"""Incidents reach people: real HTTP receivers that judge by the published schemas, and a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import email.message
import email.policy
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from fakes.alert_receivers import Receivers, alert_receivers
from fakes.healer_incident_stage import IncidentStage, incident_stage, short_directory

from opsuite.healer.v1 import escalation_service_pb2 as escalation
from opsuite.healer.v1 import incident_pb2
from opsuite.healer.v1 import incident_service_pb2 as pb
from opsuite_healer.application.quiet import Hush
from opsuite_kernel.errors import Unavailable

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
DEPLOYMENT = "pipelines/shop/environments/live/deployments/01deploy"


class Mailbox:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(mail, email.message.EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, int]]:
    mailbox = Mailbox()
    server = await asyncio.get_running_loop().create_server(partial(SMTP, mailbox), "127.0.0.1", 0)
    yield mailbox, server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    async with alert_receivers() as listening:
        yield listening


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        yield path


@pytest.fixture
async def stage(
    directory: Path, receivers: Receivers, mailbox: tuple[Mailbox, int], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[IncidentStage]:
    monkeypatch.setenv("PAGERDUTY_KEY", ROUTING_KEY)
    monkeypatch.setenv("CHAT_URL", f"{receivers.url}/slack")
    settings = {
        "secret_env": "PAGERDUTY_KEY,CHAT_URL",
        "public_url": "https://ops.example.org",
        "smtp_host": "127.0.0.1",
        "smtp_port": mailbox[1],
        "smtp_sender": "opsuite@example.org",
        "smtp_security": "none",
        "lease": "PT1H",  # what waits for the end of one never comes
    }
    async with incident_stage(directory, settings=settings) as served:
        await served.receiver(
            "duty", pagerduty={"routingKey": {"env": "PAGERDUTY_KEY"}, "url": f"{receivers.url}/v2/enqueue"}
        )
        await served.receiver("chat", slack={"url": {"env": "CHAT_URL"}})
        await served.receiver("mail", email={"to": ["ops@example.org"]})
        await served.receiver("hook", webhook={"url": f"{receivers.url}/webhook"})
        yield served


async def test_all_receivers_of_a_level_are_told_and_hear_what_becomes_of_it(
    stage: IncidentStage, receivers: Receivers, mailbox: tuple[Mailbox, int]
) -> None:
    await stage.policy(["duty", "chat", "mail", "hook"])

    incident = await stage.trigger(annotations={"deployment": DEPLOYMENT}, severity="SEVERITY_CRITICAL")
    await stage.until(incident.name, *["DELIVERED"] * 4)
    await stage.incidents.AcknowledgeIncident(pb.AcknowledgeIncidentRequest(name=incident.name, reason="on it"))
    events = await receivers.until("pagerduty", 2)
    await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=incident.name, reason="rolled back"))
    events = await receivers.until("pagerduty", 3)
    chat = await receivers.until("slack", 3)
    hook = await receivers.until("webhook", 3)

    assert receivers.faults == []
    assert [(one["event_action"], one["dedup_key"]) for one in events] == [
        ("trigger", "k1"),
        ("acknowledge", "k1"),
        ("resolve", "k1"),
    ]
    assert events[0]["payload"]["severity"] == "critical"
    assert [one["text"] for one in chat] == [
        "[CRITICAL] checkout does not answer",
        "[ACKNOWLEDGED] checkout does not answer",
        "[RESOLVED] checkout does not answer",
    ]
    assert [one["phase"] for one in hook] == ["trigger", "acknowledge", "resolve"]
    short = incident.name.removeprefix("incidents/")
    commands = {"acknowledge": f"opsuite incident acknowledge {short}", "rollback": "opsuite rollback 01deploy"}
    assert commands.items() <= events[0]["payload"]["custom_details"].items()
    assert commands.items() <= hook[0]["fields"].items()
    assert hook[0]["url"] == f"https://ops.example.org/{incident.name}"
    assert hook[0]["fields"]["trace"] == incident.trace_id != ""


async def test_an_e_mail_holds_link_trace_and_commands(stage: IncidentStage, mailbox: tuple[Mailbox, int]) -> None:
    await stage.policy(["mail"])

    incident = await stage.trigger(annotations={"deployment": DEPLOYMENT})
    await stage.until(incident.name, "DELIVERED")

    (mail,) = mailbox[0].mails
    text = mail.get_content()
    assert mail["Subject"] == "[ERROR] checkout does not answer"
    assert mail["To"] == "ops@example.org"
    assert f"https://ops.example.org/{incident.name}" in text
    assert f"trace: {incident.trace_id}" in text
    assert f"acknowledge: opsuite incident acknowledge {incident.name.removeprefix('incidents/')}" in text
    assert "rollback: opsuite rollback 01deploy" in text


async def test_when_nobody_of_a_level_can_be_told_the_next_one_is_told_at_once(
    stage: IncidentStage, receivers: Receivers
) -> None:
    receivers.statuses = [410]
    await stage.policy(["hook"], ["chat"])

    incident = await stage.trigger()
    await stage.until(incident.name, "UNDELIVERED", "UNTOLD", "TOLD", "TOLD", "DELIVERED")

    listed = await stage.incidents.ListMessages(pb.ListMessagesRequest(parent=incident.name))
    told = {one.receiver: (one.status, one.error) for one in listed.messages}
    assert told == {
        "receivers/hook": (pb.MESSAGE_STATUS_FAILED, "HTTP 410"),
        "receivers/chat": (pb.MESSAGE_STATUS_SENT, ""),
    }


async def test_a_call_that_is_no_longer_true_is_not_sent_and_who_heard_none_hears_no_more(
    stage: IncidentStage, receivers: Receivers
) -> None:
    receivers.statuses = [503]
    await stage.policy(["hook", "chat"])
    incident = await stage.trigger()
    await receivers.until("webhook", 1)
    await stage.until(incident.name, "DELIVERED")
    await _until_tried(stage, incident.name)

    await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=incident.name))
    await receivers.until("slack", 2)

    listed = await stage.incidents.ListMessages(pb.ListMessagesRequest(parent=incident.name))
    told = {(one.receiver, one.event): (one.status, one.error) for one in listed.messages}
    assert told["receivers/hook", "INCIDENT_OPEN"] == (pb.MESSAGE_STATUS_WITHDRAWN, "it was resolved before")
    assert ("receivers/hook", "INCIDENT_RESOLVED") not in told
    assert ("receivers/chat", "INCIDENT_RESOLVED") in told
    assert len(receivers.got["webhook"]) == 1


async def _until_tried(stage: IncidentStage, name: str) -> None:
    """Return once the first try of the hook is recorded."""
    async with asyncio.timeout(60):
        while True:
            listed = await stage.incidents.ListMessages(pb.ListMessagesRequest(parent=name))
            if any(one.receiver == "receivers/hook" and one.attempts for one in listed.messages):
                return
            await asyncio.sleep(0.02)


async def test_people_are_told_anew_of_what_is_not_over_after_all(stage: IncidentStage, receivers: Receivers) -> None:
    await stage.policy(["hook"])
    incident = await stage.trigger()
    await stage.until(incident.name, "DELIVERED")
    await stage.incidents.ResolveIncident(pb.ResolveIncidentRequest(name=incident.name))
    await receivers.until("webhook", 2)

    await stage.incidents.ReopenIncident(pb.ReopenIncidentRequest(name=incident.name))

    await stage.until(incident.name, "REOPENED", "TOLD", "TOLD", "DELIVERED", "DELIVERED")
    assert [one["phase"] for one in await receivers.until("webhook", 3)] == ["trigger", "resolve", "trigger"]


async def test_receivers_that_refuse_one_message_do_not_keep_it_from_the_others(
    stage: IncidentStage, receivers: Receivers
) -> None:
    receivers.statuses = [410]
    await stage.policy(["hook", "chat"], ["duty"])

    incident = await stage.trigger()
    await stage.until(incident.name, "UNDELIVERED", "DELIVERED")

    assert (await stage.kinds(incident.name)).count("TOLD") == 1
    assert receivers.got["pagerduty"] == []


async def test_while_people_want_to_be_left_alone_nobody_is_told(stage: IncidentStage, receivers: Receivers) -> None:
    stage.quiet.hush = Hush(notifications=("silences/01night",))
    await stage.policy(["hook"])

    incident = await stage.trigger()
    await stage.until(incident.name, "HUSHED")

    found = (await stage.incidents.GetIncident(pb.GetIncidentRequest(name=incident.name))).incident
    assert list(found.hushed_by) == ["silences/01night"]
    assert receivers.got["webhook"] == []
    stage.quiet.hush = Hush()
    await stage.incidents.EscalateIncident(pb.EscalateIncidentRequest(name=incident.name))
    await stage.until(incident.name, "DELIVERED")


async def test_where_nobody_knows_whether_it_is_quiet_people_are_told(stage: IncidentStage) -> None:
    stage.quiet.failure = Unavailable("the alerts cannot be read")
    await stage.policy(["hook"])

    incident = await stage.trigger()

    await stage.until(incident.name, "TOLD", "DELIVERED")


async def test_an_incident_that_no_policy_covers_says_so_and_is_told_once_one_does(stage: IncidentStage) -> None:
    incident = await stage.trigger()
    await stage.incidents.EscalateIncident(pb.EscalateIncidentRequest(name=incident.name))
    await stage.until(incident.name, "UNTOLD")
    assert (await stage.timeline(incident.name))[-1].text == "no escalation policy covers this incident"

    await stage.policy(["hook"])
    await stage.incidents.EscalateIncident(pb.EscalateIncidentRequest(name=incident.name))

    await stage.until(incident.name, "REASSIGNED", "TOLD", "DELIVERED")


@pytest.mark.parametrize(
    ("receiver", "outcome", "error"),
    [
        ("duty", escalation.TEST_OUTCOME_SENT, ""),
        ("chat", escalation.TEST_OUTCOME_SENT, ""),
        ("mail", escalation.TEST_OUTCOME_SENT, ""),
        ("hook", escalation.TEST_OUTCOME_NOT_NOW, "HTTP 503"),
        ("hidden", escalation.TEST_OUTCOME_REFUSED, "the settings do not allow the variable HOME"),
    ],
)
async def test_a_receiver_can_be_tried(
    stage: IncidentStage, receivers: Receivers, receiver: str, outcome: int, error: str
) -> None:
    receivers.statuses = [503]
    await stage.receiver("hidden", slack={"url": {"env": "HOME"}})

    answer = await stage.escalation.TestNotify(escalation.TestNotifyRequest(name=f"receivers/{receiver}"))

    assert (answer.outcome, answer.error) == (outcome, error)
    assert receivers.faults == []


async def test_reassigned_to_others_they_are_told_at_once(stage: IncidentStage, receivers: Receivers) -> None:
    await stage.policy(["hook"], beginAfter="3600s")
    incident = await stage.trigger()

    await stage.incidents.ReassignIncident(
        pb.ReassignIncidentRequest(name=incident.name, receivers=["receivers/chat"], reason="theirs")
    )
    await stage.until(incident.name, "REASSIGNED", "TOLD", "DELIVERED")

    assert (receivers.got["webhook"], len(receivers.got["slack"])) == ([], 1)
    found = (await stage.incidents.GetIncident(pb.GetIncidentRequest(name=incident.name))).incident
    assert list(found.told) == ["receivers/chat"]
    assert found.status == incident_pb2.INCIDENT_STATUS_OPEN
