"""The trace as a tree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

from rich.console import Console

from opsuite.deployer.v1.deployment_service_pb2 import GetTraceResponse, Span
from opsuite_cli.history import tree_of

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def a_span(span_id: str, parent: str, name: str, *, took: float | None = 1.0, failed: bool = False) -> Span:
    span = Span(span_id=span_id, parent_span_id=parent, name=name, failed=failed)
    span.start_time.FromDatetime(NOON)
    if took is not None:
        span.end_time.FromDatetime(NOON + timedelta(seconds=took))
    return span


def drawn(*spans: Span) -> list[str]:
    output = StringIO()
    tree = tree_of(GetTraceResponse(trace_id="abc", spans=spans), NOON + timedelta(seconds=30))
    Console(file=output, width=80).print(tree)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_a_span_stands_below_the_one_it_belongs_to_in_the_order_they_began() -> None:
    lines = drawn(
        a_span("1", "", "Deploy", took=0.01),
        a_span("2", "1", "deployment 1.1.0", took=70),
        a_span("3", "2", "stage test"),
        a_span("4", "2", "stage run", failed=True),
    )

    assert lines == [
        "trace abc",
        "└── Deploy  0.01 s",
        "    └── deployment 1.1.0  1 min 10 s",
        "        ├── stage test  1.00 s",
        "        └── stage run  1.00 s  failed",
    ]


def test_a_span_whose_parent_is_elsewhere_stands_at_the_top() -> None:
    assert drawn(a_span("2", "9", "queue")) == ["trace abc", "└── queue  1.00 s"]


def test_a_span_that_is_under_way_lasts_until_now() -> None:
    assert drawn(a_span("1", "", "step build", took=None)) == ["trace abc", "└── step build  30.0 s"]
