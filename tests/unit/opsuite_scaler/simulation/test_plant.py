from datetime import timedelta

import pytest

from opsuite_scaler.domain.policy import MetricKind, MetricSpec, Resource, TargetType
from opsuite_scaler.domain.simulation.plant import REQUEST, Observable, Plant, Site
from opsuite_scaler.domain.simulation.traces import MONDAY, Mark
from opsuite_scaler.domain.snapshot import SampleKind

TICK = timedelta(seconds=15)
CPU = MetricSpec("cpu", MetricKind.RESOURCE, TargetType.UTILIZATION, 70, Resource.CPU)
LOAD = MetricSpec("load", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
SHARE = MetricSpec("share", MetricKind.EXTERNAL, TargetType.VALUE, 70)
QUEUE = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 70)
LATENCY = MetricSpec("latency", MetricKind.RESPONSE_TIME, TargetType.VALUE, 0.2)


class Run:
    """A plant, and the ticks that have passed."""

    def __init__(self, *specs: MetricSpec, **site: object) -> None:
        self.plant = Plant(Site(initial_replicas=4, **site), specs or (LOAD,), TICK)  # type: ignore[arg-type]  # by name, in one place
        self.ticks = 0

    def pass_(self, load: float, ticks: int = 1, mark: int = 0) -> None:
        for _ in range(ticks):
            self.ticks += 1
            self.plant.advance(MONDAY + self.ticks * TICK, load, mark)


def test_a_replica_serves_a_startup_time_after_it_was_asked_for() -> None:
    run = Run(startup=timedelta(seconds=60))
    run.pass_(100)
    run.plant.resize(6)

    served = []
    for _ in range(5):
        run.pass_(100)
        served.append(run.plant.serving)

    assert served == [4, 4, 4, 6, 6]
    assert len(run.plant.observe().members) == 6


def test_fewer_replicas_take_those_that_still_start_first() -> None:
    run = Run(startup=timedelta(seconds=60))
    run.pass_(100)
    run.plant.resize(7)
    run.plant.resize(5)
    assert run.plant.serving == 4
    run.plant.resize(3)
    assert run.plant.serving == 3

    run.pass_(100, ticks=5)

    assert run.plant.serving == 3
    assert len(run.plant.observe().members) == 3


def test_a_replica_that_starts_is_not_ready_and_busy_with_itself() -> None:
    run = Run(CPU)
    run.pass_(200)
    run.plant.resize(5)
    run.pass_(200)

    seen = run.plant.observe()

    assert [one.ready for one in seen.members] == [True] * 4 + [False]
    usage = seen.readings["cpu"].by_member
    assert [usage[one.name] for one in seen.members] == [REQUEST / 2] * 4 + [REQUEST * 1.5]
    assert seen.members[4].started_at == MONDAY + TICK


def test_utilisation_is_the_load_divided_by_those_that_serve() -> None:
    run = Run(CPU)
    run.pass_(200)
    run.plant.resize(2)
    run.pass_(200)

    assert list(run.plant.observe().readings["cpu"].by_member.values()) == [REQUEST, REQUEST]


def test_what_is_not_served_waits_in_the_queue_and_drains() -> None:
    run = Run(QUEUE, observable=Observable.QUEUE)
    run.pass_(500)
    assert run.plant.queue == 100 * 15
    run.pass_(300, ticks=2)
    assert run.plant.queue == 0


def test_a_total_reads_the_load_and_a_value_the_share_of_one_replica() -> None:
    run = Run(LOAD, SHARE)
    run.pass_(440)

    totals = {name: reading.total for name, reading in run.plant.observe().readings.items()}

    assert totals == {"load": 440, "share": 110}


@pytest.mark.parametrize(
    ("observable", "expected"),
    [
        (Observable.LOAD, 440),
        (Observable.QUEUE, 440 + 40 * 15),
        (Observable.UTILIZATION, 110),
        (Observable.LATENCY, 0.1 + (600 + 44) / 400),
    ],
)
def test_the_first_metric_reads_what_is_asked_for(observable: Observable, expected: float) -> None:
    run = Run(QUEUE, SHARE, observable=observable)
    run.pass_(440)

    readings = run.plant.observe().readings

    assert readings["queue"].total == pytest.approx(expected)
    assert readings["share"].total == 110


def test_response_time_rises_steeply_near_the_capacity_and_with_the_queue() -> None:
    run = Run(LATENCY)
    seconds = []
    for load in (40, 200, 390, 450):
        run.pass_(load)
        seconds.append(run.plant.response_time())

    assert seconds[0] == pytest.approx(0.1, rel=0.01)
    assert seconds == sorted(seconds)
    assert seconds[2] > 1.2 * seconds[1]
    assert seconds[3] > 1.5


def test_the_wait_is_that_of_one_server_where_there_is_one() -> None:
    """M/M/1: time in the system is 1 / (rate of service - rate of arrival)."""
    plant = Plant(Site(initial_replicas=1, service_seconds=0.01), (LATENCY,), TICK)
    plant.advance(MONDAY + TICK, 80)

    assert plant.response_time() == pytest.approx(1 / (100 - 80))


def test_metrics_lag_behind() -> None:
    run = Run(LOAD, lag=timedelta(seconds=30))
    for load in (10, 20, 30, 40):
        run.pass_(load)

    reading = run.plant.observe().readings["load"]

    assert (reading.total, reading.at) == (20, MONDAY + 2 * TICK)


@pytest.mark.parametrize(("mark", "kind"), [(Mark.GAP, SampleKind.MISSING), (Mark.ERROR, SampleKind.ERROR)])
def test_a_fault_is_no_value(mark: Mark, kind: SampleKind) -> None:
    run = Run(LOAD)
    run.pass_(100)
    run.plant.observe()
    run.pass_(100, mark=mark)

    assert run.plant.observe().readings["load"].kind is kind


def test_a_stale_metric_keeps_its_old_time_and_a_false_zero_has_a_new_one() -> None:
    run = Run(LOAD)
    run.pass_(100)
    run.plant.observe()
    run.pass_(300, mark=Mark.STALE)
    stale = run.plant.observe().readings["load"]
    run.pass_(300, mark=Mark.FALSE_ZERO)
    zero = run.plant.observe().readings["load"]

    assert (stale.total, stale.at) == (100, MONDAY + TICK)
    assert (zero.total, zero.at, zero.kind) == (0, MONDAY + 3 * TICK, SampleKind.VALUE)


def test_a_rollout_has_surge_replicas_that_the_size_does_not_count() -> None:
    run = Run(CPU)
    run.pass_(100, mark=Mark.ROLLOUT)
    during = run.plant.observe()
    run.pass_(100)
    after = run.plant.observe()

    assert (during.rollout_under_way, during.spec_replicas, during.status_replicas) == (True, 4, 5)
    assert (after.rollout_under_way, after.spec_replicas, after.status_replicas) == (False, 4, 4)
