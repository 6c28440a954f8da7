"""Fields, orders and page tokens of List requests, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from fakes.clock import NOON, FakeClock

from opsuite_kernel.errors import InvalidInput
from opsuite_storage.columns import UtcDateTime
from opsuite_storage.filters import Field, Kind, condition
from opsuite_storage.order import Key, parse_order
from opsuite_storage.pages import LIFETIME, Listing, Pages

RUNS = sa.table("runs", sa.column("id", sa.String), sa.column("began", UtcDateTime), sa.column("state", sa.Integer))
FIELDS = {
    "name": Field(RUNS.c.id, Kind.TEXT),
    "began": Field(RUNS.c.began, Kind.TIMESTAMP, sortable=True),
    "state": Field(RUNS.c.state, Kind.ENUM, names={"RUNNING": 1, "DONE": 2}),
    "tries": Field(sa.column("tries", sa.Integer), Kind.INTEGER, sortable=True),
    "load": Field(sa.column("load", sa.Float), Kind.NUMBER),
    "paused": Field(sa.column("paused", sa.Boolean), Kind.BOOLEAN),
    "secret": Field(sa.column("secret", sa.String), Kind.TEXT, operators=frozenset()),
}


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("nothing = 1", "UNKNOWN_FIELD", 1),
        ("name = x AND nothing = 1", "UNKNOWN_FIELD", 14),
        ("name < x", "OPERATOR", 1),
        ("state > RUNNING", "OPERATOR", 1),
        ("state : RUNNING", "OPERATOR", 1),
        ("paused < true", "OPERATOR", 1),
        ("secret = x", "OPERATOR", 1),
        ("state = SLEEPING", "VALUE", 9),
        ("tries = many", "VALUE", 9),
        ("tries = 1.5", "VALUE", 9),
        ("tries = 1_000", "VALUE", 9),
        ("tries = 99999999999999999999", "VALUE", 9),
        ('tries = "1"', "VALUE", 9),
        ("load = nan", "VALUE", 8),
        ("paused = yes", "VALUE", 10),
        ("began > yesterday", "VALUE", 9),
        ("began > 2026-06-01T12:00:00", "VALUE", 9),
        ('name = "\0"', "VALUE", 8),
    ],
)
def test_a_filter_that_does_not_fit_the_fields_is_refused_at_its_position(
    text: str, reason: str, position: int
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        condition(text, FIELDS)

    [violation] = refusal.value.violations
    assert (violation.field, violation.reason) == ("filter", reason)
    assert f"(at character {position})" in violation.description


def described(keys: tuple[Key, ...]) -> list[str]:
    return [str(key.clause()) for key in keys]


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("", ["runs.began DESC", "runs.id DESC"]),
        ("began", ["runs.began ASC", "runs.id ASC"]),
        ("began desc", ["runs.began DESC", "runs.id DESC"]),
        (" tries  asc , began desc ", ["tries ASC", "runs.began DESC", "runs.id DESC"]),
    ],
)
def test_an_order_ends_in_the_unique_column(text: str, order: list[str]) -> None:
    keys = parse_order(text, FIELDS, default=[Key(RUNS.c.began, descending=True)], unique=RUNS.c.id)

    assert described(keys) == order


@pytest.mark.parametrize(
    ("text", "reason", "position"),
    [
        ("name", "UNKNOWN_FIELD", 1),
        ("began, nothing", "UNKNOWN_FIELD", 8),
        ("began DESC", "SYNTAX", 1),
        ("began,,tries", "SYNTAX", 7),
        ("began,began desc", "REPEATED", 7),
    ],
)
def test_a_wrong_order_is_refused_at_its_position(text: str, reason: str, position: int) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_order(text, FIELDS, default=[], unique=RUNS.c.id)

    [violation] = refusal.value.violations
    assert (violation.field, violation.reason) == ("order_by", reason)
    assert refusal.value.metadata == {"position": str(position)}


LISTING = Listing("deployments", "pipelines/web", "state = RUNNING", "began desc")


def pages(clock: FakeClock | None = None, secret: bytes = b"k" * 32) -> Pages:
    return Pages(secret, clock or FakeClock())


def test_a_token_gives_back_its_position() -> None:
    position = ["text ü", 7, 1.5, True, None, NOON, datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]

    token = pages().token(position, LISTING)

    assert pages().position(token, LISTING) == position
    assert pages().position("", LISTING) is None


@pytest.mark.parametrize(
    "other",
    [
        Listing("pipelines", "pipelines/web", "state = RUNNING", "began desc"),
        Listing("deployments", "pipelines/api", "state = RUNNING", "began desc"),
        Listing("deployments", "pipelines/web", "", "began desc"),
        Listing("deployments", "pipelines/web", "state = RUNNING", "began"),
        Listing("deployments", "pipelines/webstate = RUNNING", "", "began desc"),
    ],
)
def test_a_token_of_another_query_is_refused(other: Listing) -> None:
    token = pages().token([1], LISTING)

    with pytest.raises(InvalidInput) as refusal:
        pages().position(token, other)

    assert refusal.value.violations[0].field == "page_token"


def test_no_change_to_a_token_goes_unnoticed() -> None:
    token = pages().token(["a", 1], LISTING)

    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        if at < len(token) - 1:  # the last character holds unused bits
            with pytest.raises(InvalidInput):
                pages().position(changed, LISTING)


@pytest.mark.parametrize("token", ["x", "====", "not base64!", "AAAA", "ü", "A" * 500])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="page_token"):
        pages().position(token, LISTING)


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(InvalidInput):
        pages(secret=b"x" * 32).position(pages().token([1], LISTING), LISTING)


def test_a_token_lasts_three_days() -> None:
    clock = FakeClock()
    token = pages(clock).token([1], LISTING)

    clock.advance(LIFETIME - timedelta(seconds=1))
    assert pages(clock).position(token, LISTING) == [1]
    clock.advance(timedelta(seconds=1))
    with pytest.raises(InvalidInput, match="expired") as refusal:
        pages(clock).position(token, LISTING)
    assert refusal.value.violations[0].reason == "EXPIRED"


def test_a_position_that_no_token_can_carry_is_a_fault() -> None:
    with pytest.raises(TypeError, match="bytes"):
        pages().token([b"raw"], LISTING)
