"""What sources make of answers, and what the registry makes of sources."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_scaler.adapters.sources import prometheus
from opsuite_scaler.adapters.sources.postgresql import reading_of
from opsuite_scaler.adapters.sources.pushed import Point, PushedSource
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.source import a_value, failed, missing, values
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.snapshot import Member, Reading, SampleKind

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
WEB = TargetRef(TargetKind.WORKLOAD, "web")
MEMBERS = [Member("web-0"), Member("web-1")]


def a_metric(name: str = "queue", kind: MetricKind = MetricKind.EXTERNAL, **changes: Any) -> MetricSpec:
    given = {"source": "it", "query": "jobs"} | changes
    return MetricSpec(name, kind, TargetType.AVERAGE_VALUE, 5.0, **given)


class Scripted:
    """A source that does what it is told."""

    kind = "scripted"
    description = "whatever"

    def __init__(self, answer: Reading | BaseException | None = None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def problem(self, metric: MetricSpec) -> str:
        return "that is no question" if metric.query == "?" else ""

    async def read(self, ref: TargetRef, metric: MetricSpec, members: Sequence[Member], now: datetime) -> Reading:
        self.asked.append(metric.name)
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, BaseException):
            raise self.answer
        assert self.answer is not None
        return self.answer

    async def close(self) -> None:
        self.asked.append("close")


async def read(source: Scripted, metric: MetricSpec | None = None, timeout: float = 60) -> Reading:
    registry = ConfiguredSources({"it": NamedSource(source, timedelta(seconds=timeout))})
    metric = metric or a_metric()
    return (await registry.read(WEB, [metric], MEMBERS, NOON))[metric.name]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Unavailable("it sleeps"), "it: it sleeps"),
        (Conflict("it does not understand"), "it: it does not understand"),
        (TimeoutError(), "it: no answer in time"),
        (ZeroDivisionError("a fault of ours"), "it: ZeroDivisionError"),
    ],
)
async def test_whatever_a_source_raises_is_an_error_and_not_zero(answer: BaseException, message: str) -> None:
    reading = await read(Scripted(answer))

    assert (reading.kind, reading.message) == (SampleKind.ERROR, message)


async def test_a_source_that_takes_too_long_is_an_error() -> None:
    reading = await read(Scripted(None), timeout=0.01)

    assert (reading.kind, reading.message) == (SampleKind.ERROR, "it: no answer within 0.01 s")


async def test_one_that_fails_costs_the_others_nothing() -> None:
    good, bad = Scripted(a_value(3.0, NOON)), Scripted(Unavailable("away"))
    registry = ConfiguredSources({"good": NamedSource(good), "bad": NamedSource(bad)})
    metrics = [a_metric("a", source="good"), a_metric("b", source="bad"), a_metric("c", MetricKind.FORMULA)]

    readings = await registry.read(WEB, metrics, MEMBERS, NOON)

    kinds = {name: reading.kind for name, reading in readings.items()}
    assert kinds == {"a": SampleKind.VALUE, "b": SampleKind.ERROR}  # a formula asks nobody


async def test_closing_reaches_every_source() -> None:
    sources = [Scripted(), Scripted()]

    await ConfiguredSources({str(number): NamedSource(each) for number, each in enumerate(sources)}).close()

    assert [each.asked for each in sources] == [["close"], ["close"]]


@pytest.mark.parametrize(
    ("age", "kind"),
    [
        (timedelta(0), SampleKind.VALUE),
        (timedelta(seconds=120), SampleKind.VALUE),
        (timedelta(seconds=121), SampleKind.STALE),
    ],
)
async def test_a_sample_that_is_too_old_is_stale(age: timedelta, kind: SampleKind) -> None:
    reading = await read(Scripted(a_value(3.0, NOON - age)))

    assert reading.kind is kind


async def test_an_unknown_source_and_a_malformed_query_are_told_before_and_are_errors_when_asked() -> None:
    source = Scripted(a_value(1.0, NOON))
    registry = ConfiguredSources({"it": NamedSource(source)})
    metrics = [a_metric("a", source="other"), a_metric("b", query="?"), a_metric("c"), a_metric("d", source="")]

    problems = await registry.check(metrics)
    readings = await registry.read(WEB, metrics, MEMBERS, NOON)

    assert set(problems) == {"a", "b", "d"}
    assert "'other'" in problems["a"]
    assert "'platform'" in problems["d"]  # the one that is meant when none is named
    assert problems["b"] == "that is no question"
    assert [readings[name].kind for name in "abcd"] == [*[SampleKind.ERROR] * 2, SampleKind.VALUE, SampleKind.ERROR]
    assert source.asked == ["c"]


async def test_samples_of_strangers_do_not_count() -> None:
    by_member = a_metric(kind=MetricKind.PODS)

    mixed = await read(Scripted(values({"web-0": 2.0, "stranger": 40.0}, NOON)), by_member)
    strange = await read(Scripted(values({"stranger": 40.0}, NOON)), by_member)

    assert (mixed.by_member, mixed.total) == ({"web-0": 2.0}, 2.0)
    assert strange.kind is SampleKind.MISSING


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0.0, SampleKind.VALUE), (-3.5, SampleKind.VALUE), (math.nan, SampleKind.MISSING), (math.inf, SampleKind.ERROR)],
)
def test_a_number_is_one_only_if_it_is_finite(number: float, kind: SampleKind) -> None:
    assert a_value(number, NOON).kind is kind
    assert values({"web-0": number}, NOON).kind is kind


def sample(value: str, at: float = NOON.timestamp(), **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [at, value]}


@pytest.mark.parametrize(
    ("vector", "expected"),
    [
        ([], missing("the expression gives no series")),
        ([sample("7.5")], a_value(7.5, NOON)),
        ([sample("0")], a_value(0.0, NOON)),
        ([sample("NaN")], missing("it answered NaN")),
        ([sample("+Inf")], failed("it answered an infinite number")),
        (
            [sample("1"), sample("2")],
            failed("the expression gives 2 series and not one: aggregate it, for instance by sum()"),
        ),
    ],
)
def test_an_expression_gives_one_number_or_none(vector: list[dict[str, Any]], expected: Reading) -> None:
    assert prometheus.only_one_of(vector) == expected


def test_series_are_told_by_member_and_those_of_one_are_added_up() -> None:
    earlier = NOON - timedelta(seconds=9)
    vector = [sample("1", pod="a"), sample("2", earlier.timestamp(), pod="a"), sample("NaN", pod="b")]

    reading = prometheus.by_member(vector, "pod")

    assert reading == values({"a": 3.0}, earlier)
    assert prometheus.by_member([sample("1")], "pod").kind is SampleKind.ERROR
    assert prometheus.by_member([], "pod").kind is SampleKind.MISSING


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"status": "error", "errorType": "bad_data", "error": "parse error"}', Conflict),
        (422, b'{"status": "error", "errorType": "execution", "error": "too many samples"}', Conflict),
        (503, b'{"status": "error", "error": "starting up"}', Unavailable),
        (503, b"Service Unavailable", Unavailable),
        (200, b"<html>log in</html>", Unavailable),
        (200, b"[]", Unavailable),
    ],
)
def test_what_is_no_answer_of_prometheus_is_never_a_number(
    status: int, body: bytes, kind: type[Conflict | Unavailable]
) -> None:
    with pytest.raises(kind):
        prometheus.answer_of(status, body)


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([(3,)], SampleKind.VALUE),
        ([(0,)], SampleKind.VALUE),
        ([], SampleKind.MISSING),
        ([(None,)], SampleKind.MISSING),
        ([("3",)], SampleKind.ERROR),
        ([(True,)], SampleKind.ERROR),
        ([(3, 4)], SampleKind.ERROR),
        ([(3,), (4,)], SampleKind.ERROR),
    ],
)
def test_a_statement_gives_one_number_or_none(rows: list[tuple[Any, ...]], kind: SampleKind) -> None:
    assert reading_of(rows, NOON).kind is kind


class Pushed:
    def __init__(self, *points: Point) -> None:
        self.points = points

    async def latest(self, metric: str) -> Sequence[Point]:
        return self.points


async def test_of_what_members_hand_in_those_count_that_are_not_too_old() -> None:
    old, fresh = NOON - timedelta(minutes=10), NOON - timedelta(seconds=10)
    by_member = a_metric(kind=MetricKind.PODS)
    some = PushedSource(Pushed(Point("web-0", 5.0, old), Point("web-1", 3.0, fresh), Point("", 99.0, NOON)))
    none = PushedSource(Pushed(Point("web-0", 5.0, old)))

    assert await some.read(WEB, by_member, MEMBERS, NOON) == values({"web-1": 3.0}, fresh)
    assert (await none.read(WEB, by_member, MEMBERS, NOON)).at == old  # which the registry calls stale
    assert await some.read(WEB, a_metric(), MEMBERS, NOON) == a_value(99.0, NOON)
