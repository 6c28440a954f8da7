from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_notify.codec import channel_from_json, channel_to_json, message_from_json, message_to_json
from opsuite_notify.port import (
    Channel,
    EmailChannel,
    EnvSecret,
    FileSecret,
    Message,
    PagerDutyChannel,
    Phase,
    SecretRef,
    Severity,
    SlackChannel,
    WebhookChannel,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
secrets: st.SearchStrategy[SecretRef] = st.builds(EnvSecret, texts) | st.builds(FileSecret, texts)
channels: st.SearchStrategy[Channel] = (
    st.builds(WebhookChannel, texts, st.none() | secrets)
    | st.builds(SlackChannel, secrets)
    | st.builds(PagerDutyChannel, secrets, texts)
    | st.just(EmailChannel(("ops@example.org", "dev@example.org")))
)
messages = st.builds(
    Message,
    event=st.just("DONE"),
    title=st.just("done"),
    text=texts,
    time=st.datetimes(timezones=st.just(UTC)),
    key=texts,
    severity=st.sampled_from(Severity),
    fields=st.dictionaries(texts, texts, max_size=4),
    url=texts,
    phase=st.sampled_from(Phase),
    source=texts,
)


@given(channels)
def test_a_channel_comes_back_from_json_as_it_was(channel: Channel) -> None:
    assert channel_from_json(json.loads(json.dumps(channel_to_json(channel)))) == channel


@given(messages)
def test_a_message_comes_back_from_json_as_it_was_whatever_sorts_its_keys(message: Message) -> None:
    back = message_from_json(json.loads(json.dumps(message_to_json(message), sort_keys=True)))

    assert back == message
    assert list(back.fields) == list(message.fields)


def test_a_kind_of_channel_from_a_newer_version_is_named() -> None:
    with pytest.raises(ValueError, match="pigeon"):
        channel_from_json({"kind": "pigeon"})


def test_json_written_by_the_first_version_is_still_read() -> None:
    written = {
        "event": "DONE",
        "title": "done",
        "text": "",
        "time": "2026-06-01T12:00:00+00:00",
        "key": "deployments/1",
        "severity": "info",
        "fields": [["version", "1"]],
        "url": "",
    }

    assert message_from_json(written).time == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert channel_from_json({"kind": "webhook", "url": "http://a/", "secret": {"file": "hook"}}) == WebhookChannel(
        "http://a/", FileSecret("hook")
    )


def test_a_message_that_an_earlier_version_wrote_is_read() -> None:
    written = message_to_json(
        Message(event="DONE", title="done", text="", time=datetime(2026, 6, 1, tzinfo=UTC), key="k")
    )
    del written["phase"], written["source"]

    assert message_from_json(written).phase is Phase.TRIGGERED
