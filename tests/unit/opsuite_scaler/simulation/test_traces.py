from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_scaler.domain.simulation.generators import KINDS, Shape, generate
from opsuite_scaler.domain.simulation.traces import Mark, Trace, read, resampled

SECOND = timedelta(seconds=1)


@given(
    st.lists(st.floats(0, 1e12), min_size=2, max_size=30),
    st.integers(1, 3600),
    st.data(),
)
def test_a_trace_written_and_read_is_the_same_trace(values: list[float], step: int, data: st.DataObject) -> None:
    marks = data.draw(st.just(b"") | st.binary(min_size=len(values), max_size=len(values)).map(lambda raw: _marks(raw)))
    trace = Trace("load", step * SECOND, tuple(values), marks if any(marks) else b"")

    assert read("load", trace.written()) == trace


def _marks(raw: bytes) -> bytes:
    return bytes(one % len(Mark) for one in raw)


def test_times_may_be_dates_and_then_say_where_a_trace_begins() -> None:
    trace = read("t", "time,value\n2026-03-01T10:00:00Z,1\n2026-03-01T10:01:00+00:00,2\n")

    assert trace.start == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert (trace.step, trace.values) == (timedelta(minutes=1), (1.0, 2.0))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "csv"),
        ("0,1\n", "csv"),
        ("0,1\n15,-1\n", "csv[2]"),
        ("0,1\n15,inf\n", "csv[2]"),
        ("0,1\n15,nan\n30,1\n", "csv[2]"),
        ("0,1\n15,many\n", "csv[2]"),
        ("0,1\n15,2,odd\n", "csv[2]"),
        ("0,1\n15,2,gap,more\n", "csv[2]"),
        ("0,1\n15,2\n40,3\n", "csv[3]"),
        ("0,1\n0,2\n", "csv[2]"),
        ("15,1\n0,2\n", "csv[2]"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read("t", text)

    assert field in [one.field for one in refused.value.violations]


def test_longer_ticks_take_the_mean_and_the_worst_mark() -> None:
    trace = Trace("t", 10 * SECOND, (1.0, 3.0, 5.0, 9.0), bytes([0, Mark.GAP, 0, 0]))

    assert resampled(trace, 20 * SECOND) == ([2.0, 7.0], bytes([Mark.GAP, 0]))
    assert resampled(replace(trace, marks=bytes([Mark.GAP, 0, 0, 0])), 20 * SECOND)[1] == bytes([Mark.GAP, 0])


def test_shorter_ticks_repeat_what_holds() -> None:
    assert resampled(Trace("t", 10 * SECOND, (1.0, 3.0)), 5 * SECOND) == ([1.0, 1.0, 3.0, 3.0], b"")


def test_ticks_that_do_not_divide_a_step_weigh_its_parts() -> None:
    values, _ = resampled(Trace("t", 10 * SECOND, (0.0, 30.0, 60.0)), 15 * SECOND)

    assert values == pytest.approx([10.0, 50.0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_gives_equal_bytes_for_equal_seeds_and_others_for_others(kind: str) -> None:
    shape = Shape(timedelta(hours=2))

    first, again, other = generate(kind, 1, shape), generate(kind, 1, shape), generate(kind, 2, shape)

    assert first.written() == again.written()
    assert (first.values, first.marks) != (other.values, other.marks)
    assert len(first.values) == shape.steps


@pytest.mark.parametrize("kind", KINDS)
def test_generated_load_is_never_below_zero_and_reads_back(kind: str) -> None:
    trace = generate(kind, 3, Shape(timedelta(hours=1)))

    assert min(trace.values) >= 0
    assert read(trace.name, trace.written()) == trace


def test_a_flash_crowd_is_tenfold_within_a_minute() -> None:
    values = generate("flash_crowd", 1).values
    before, peak = values[119], max(values[120:126])

    assert 8 < peak / before < 12


def test_faulty_metrics_fail_in_every_way() -> None:
    marks = set(generate("faults", 1).marks)

    assert marks == {Mark.NONE, Mark.GAP, Mark.ERROR, Mark.STALE, Mark.FALSE_ZERO}
