import json
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from fakes.clock import NOON

from opsuite_deployer.domain.rollout_state import (
    PauseReason,
    Phase,
    ReplicaRecord,
    RolloutState,
    begin,
    from_document,
    thawed,
    to_document,
)
from opsuite_kernel.errors import Internal

MINUTE = timedelta(minutes=1)


def a_full_state() -> RolloutState:
    """A state in which every field is other than at the beginning."""
    return RolloutState(
        phase=Phase.ABORTING,
        started_at=NOON,
        entered_at=NOON + MINUTE,
        progress_at=NOON + 2 * MINUTE,
        step=3,
        asking=4,
        weight=20,
        replicas_set=2,
        stable_size=5,
        keep={"a": 1},
        replicas={"a": 2},
        tracks={"a": (20, ("127.0.0.1:80",))},
        receivers=frozenset({"a"}),
        leaving={"b": None, "c": NOON},
        records={"a/1": ReplicaRecord(NOON, 1, 2, NOON, True), "a/2": ReplicaRecord(NOON, 0)},
        available=1,
        wanted=2,
        best=1,
        pause=PauseReason.STEP,
        pause_message="waits",
        is_held=True,
        frozen_at=NOON,
        batch_done_at=NOON,
        skips_rest=True,
        post_passed=True,
        promoted_at=NOON,
        aborted_at=NOON,
        abort_reason="HEALTH_LOST",
        abort_message="died",
        is_safe=False,
        is_idle=True,
        settled=frozenset({"route"}),
        notices=frozenset({"EDGES_SILENT"}),
    )


def test_nothing_is_forgotten_in_a_document() -> None:
    state = a_full_state()
    start = begin(NOON)
    assert all(
        getattr(state, one.name) != getattr(start, one.name) for one in fields(state) if one.name != "started_at"
    )

    assert from_document(json.loads(json.dumps(to_document(state)))) == state


def test_what_is_as_at_the_beginning_is_not_written() -> None:
    assert set(to_document(begin(NOON))) == {"version", "phase", "started_at", "entered_at", "progress_at"}
    assert from_document(to_document(begin(NOON))) == begin(NOON)


def test_a_document_of_another_version_is_refused() -> None:
    with pytest.raises(Internal):
        from_document({**to_document(begin(NOON)), "version": 99})


def test_after_a_pause_what_counts_time_goes_on_where_it_stopped() -> None:
    state = replace(begin(NOON), frozen_at=NOON + MINUTE, promoted_at=NOON, records={"a/1": ReplicaRecord(NOON, 0)})

    after = thawed(state, NOON + 5 * MINUTE)

    assert after.frozen_at is None
    assert after.progress_at == after.entered_at == after.promoted_at == NOON + 4 * MINUTE
    assert after.records["a/1"].clock == NOON + 4 * MINUTE


def test_time_stands_still_as_long_as_anybody_waits() -> None:
    state = replace(begin(NOON), frozen_at=NOON, is_held=True)

    assert thawed(state, NOON + MINUTE) == state
