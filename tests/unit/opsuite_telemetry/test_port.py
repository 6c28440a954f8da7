"""Trace contexts and ids, without any framework."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace

from opsuite_telemetry.port import TraceContext, current_trace, span_id_of, trace_id_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXTS = st.builds(
    TraceContext,
    st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}"),
    st.integers(1, 2**64 - 1).map(lambda number: f"{number:016x}"),
    st.booleans(),
)


@given(CONTEXTS)
def test_a_traceparent_reads_back_as_what_was_written(context: TraceContext) -> None:
    assert TraceContext.parse(context.traceparent) == context


def test_a_traceparent_is_written_as_the_standard_says() -> None:
    assert TraceContext(TRACE, SPAN).traceparent == f"00-{TRACE}-{SPAN}-01"
    assert TraceContext(TRACE, SPAN, sampled=False).traceparent == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
    ],
)
def test_what_is_not_a_traceparent_counts_as_absent(text: str) -> None:
    assert TraceContext.parse(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert TraceContext.parse(f"cc-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN)


def test_other_flags_do_not_mean_sampled() -> None:
    assert TraceContext.parse(f"00-{TRACE}-{SPAN}-02") == TraceContext(TRACE, SPAN, sampled=False)


def test_ids_depend_on_all_parts_and_on_nothing_else() -> None:
    ids = {span_id_of("run", "step", "1"), span_id_of("run", "step", "2"), span_id_of("run", "ste", "p1")}

    assert len(ids) == 3
    assert span_id_of("run", "step", "1") == "76045d0c1bbdd70d"  # printf 3:run4:step1:1 | sha256sum | cut -c1-16
    assert len(trace_id_of("run")) == 32


def test_outside_of_spans_there_is_no_current_trace() -> None:
    assert current_trace() is None


def test_the_current_trace_is_that_of_the_current_span() -> None:
    context = trace.SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=trace.TraceFlags(1))

    with trace.use_span(trace.NonRecordingSpan(context)):
        assert current_trace() == TraceContext(TRACE, SPAN)


def test_the_port_loads_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; import opsuite_telemetry.port as port; assert port.current_trace() is None; "
        "names = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names; "
        "print(*sorted(name for name in names if not name.startswith('_') and 'virtualenv' not in name))"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert found == ["opsuite_telemetry"]
