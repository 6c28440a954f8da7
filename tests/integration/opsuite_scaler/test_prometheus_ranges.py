"""Ranges of a real Prometheus as traces. Expressions of the time need nothing that was scraped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from metric_servers import prometheus_server
from server_processes import ServerProcess, free_port

from opsuite_kernel.errors import InvalidInput, NotFound, Unavailable
from opsuite_notify.secrets import SecretSource
from opsuite_scaler.adapters.prometheus_ranges import POINTS_AT_ONCE, PrometheusRanges, parts
from opsuite_scaler.adapters.sources.settings import SourcesFile
from opsuite_scaler.application.rehearsal import Span

__all__ = ["prometheus_server"]

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = Span(START, START + timedelta(hours=1), timedelta(minutes=1))


def ranges_at(port: int) -> PrometheusRanges:
    form = {"prometheus": {"kind": "prometheus", "url": f"http://127.0.0.1:{port}"}}
    form["jobs"] = {"kind": "redis", "url": "redis://127.0.0.1:6379"}
    return PrometheusRanges(SourcesFile.model_validate({"sources": form}), SecretSource(env={}))


@pytest.fixture
def ranges(prometheus_server: tuple[ServerProcess, int]) -> PrometheusRanges:
    return ranges_at(prometheus_server[0].port)


async def test_a_range_is_asked_for_in_parts_and_comes_back_whole(ranges: PrometheusRanges) -> None:
    span = Span(START, START + (POINTS_AT_ONCE + 500) * SECOND, SECOND)

    found = await ranges.range("prometheus", f"time() - {START.timestamp():.0f}", span)

    assert [value for _, value in found] == [float(index) for index in range(POINTS_AT_ONCE + 501)]
    assert found[7][0] == START + 7 * SECOND


async def test_what_is_no_number_is_left_out(ranges: PrometheusRanges) -> None:
    assert await ranges.range("prometheus", "vector(0) / 0", HOUR) == []
    assert await ranges.range("prometheus", "nothing_of_that_name", HOUR) == []


@pytest.mark.parametrize("query", ["sum(", 'label_replace(vector(1), "a", "x", "", "") or vector(2)'])
async def test_an_expression_that_is_none_or_gives_several_series_is_refused(
    query: str, ranges: PrometheusRanges
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ranges.range("prometheus", query, HOUR)

    assert refused.value.violations[0].field == "trace.prometheus.query"


async def test_too_many_points_are_refused_before_anybody_is_asked(ranges: PrometheusRanges) -> None:
    with pytest.raises(InvalidInput):
        await ranges.range("prometheus", "vector(1)", Span(START, START + timedelta(days=400), SECOND))


@pytest.mark.parametrize("source", ["jobs", "stranger"])
async def test_only_sources_of_that_kind_are_asked(source: str, ranges: PrometheusRanges) -> None:
    with pytest.raises(NotFound):
        await ranges.range(source, "vector(1)", HOUR)


async def test_a_prometheus_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(Unavailable):
        await ranges_at(free_port()).range("prometheus", "vector(1)", HOUR)


def test_parts_share_no_point_and_leave_none_out() -> None:
    span = Span(START, START + (2 * POINTS_AT_ONCE) * SECOND, SECOND)

    found = list(parts(span))

    points = [part.start + index * SECOND for part in found for index in range((part.end - part.start) // SECOND + 1)]
    assert points == [START + index * SECOND for index in range(2 * POINTS_AT_ONCE + 1)]
    assert max((part.end - part.start) // SECOND + 1 for part in found) <= POINTS_AT_ONCE
