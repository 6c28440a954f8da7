from __future__ import annotations

import json
from email.headerregistry import Address
from typing import Any

from fakes.clock import NOON

from opsuite_notify.formats import email, signature, slack_body, webhook_body
from opsuite_notify.port import Message, Severity


def a_message(**changes: Any) -> Message:
    defaults: dict[str, Any] = {
        "event": "DEPLOYMENT_FAILED",
        "title": "hello-web 1.2.0 failed",
        "text": "the gate home-page stayed unhealthy",
        "time": NOON,
        "key": "deployments/42",
        "severity": Severity.ERROR,
        "fields": {"version": "1.2.0", "environment": "staging"},
        "url": "https://ops.example.org/42",
    }
    return Message(**defaults | changes)


def test_a_webhook_holds_every_part_of_the_message() -> None:
    assert json.loads(webhook_body(a_message())) == {
        "event": "DEPLOYMENT_FAILED",
        "title": "hello-web 1.2.0 failed",
        "text": "the gate home-page stayed unhealthy",
        "severity": "error",
        "time": "2026-06-01T12:00:00+00:00",
        "key": "deployments/42",
        "url": "https://ops.example.org/42",
        "phase": "trigger",
        "fields": {"version": "1.2.0", "environment": "staging"},
    }


def test_the_signature_is_that_of_openssl() -> None:
    # printf '1780315200.{"a":1}' | openssl dgst -sha256 -hmac hunter2
    assert (
        signature("hunter2", 1780315200, b'{"a":1}')
        == "sha256=bc392da03300f26a4791641e219c5e5bc03ca5c90057d4bdfc5f1ebf535f842a"
    )


def test_slack_gets_text_colour_and_facts_in_order() -> None:
    body = json.loads(slack_body(a_message()))

    (attachment,) = body["attachments"]
    assert body["text"] == "hello-web 1.2.0 failed"
    assert attachment["color"] == "danger"
    assert attachment["title_link"] == "https://ops.example.org/42"
    assert [(fact["title"], fact["value"]) for fact in attachment["fields"]] == [
        ("version", "1.2.0"),
        ("environment", "staging"),
    ]


def test_nobody_can_call_for_everybodys_attention_in_slack() -> None:
    hostile = a_message(title="<!channel> & co", text="<https://evil.example|click>", fields={"<!here>": "<@U1>"})

    body = slack_body(hostile).decode()

    assert "<" not in body
    assert json.loads(body)["text"] == "&lt;!channel&gt; &amp; co"


def test_slack_bodies_are_bounded() -> None:
    long = a_message(text="<" * 100_000, fields={str(number): "x" * 10_000 for number in range(100)})

    assert len(slack_body(long)) < 70_000


def test_an_email_tells_facts_below_the_text_and_names_its_delivery() -> None:
    mail = email(
        "01abc", a_message(title="läuft nicht"), Address(addr_spec="opsuite@example.org"), ("ops@example.org",)
    )

    assert mail["Subject"] == "läuft nicht"
    assert mail["To"] == "ops@example.org"
    assert mail["Message-ID"] == "<01abc@example.org>"
    assert mail["X-Opsuite-Delivery"] == "01abc"
    assert mail.get_content() == (
        "the gate home-page stayed unhealthy\n\nversion: 1.2.0\nenvironment: staging\n\nhttps://ops.example.org/42\n"
    )
