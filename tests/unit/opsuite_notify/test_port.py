from __future__ import annotations

from typing import Any

import pytest
from fakes.clock import NOON

from opsuite_notify.port import EmailChannel, Message


def a_message(**changes: Any) -> Message:
    defaults: dict[str, Any] = {"event": "DONE", "title": "done", "text": "", "time": NOON, "key": "deployments/1"}
    return Message(**defaults | changes)


@pytest.mark.parametrize("title", ["done\r\nBcc: everyone@example.org", "done\n", "a\0b", "a\x1b[31m", "", "x" * 201])
def test_a_title_that_is_not_one_printable_line_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="title"):
        a_message(title=title)


@pytest.mark.parametrize("event", ["", "done", "DONE\r\nX-Evil: 1", "DONE ", "DÖNE"])
def test_an_event_that_could_not_stand_in_a_header_is_refused(event: str) -> None:
    with pytest.raises(ValueError, match="event"):
        a_message(event=event)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        a_message(time=NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    "address", ["", "ops", "a@example.org, b@example.org", "a@example.org\r\nBcc: b@example.org", "Ops <a@example.org>"]
)
def test_an_address_that_is_more_or_less_than_one_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        EmailChannel((address,))


def test_an_email_to_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="address"):
        EmailChannel(())
