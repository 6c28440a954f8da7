"""Templates, conditions, and how runbooks and executions are written down and read again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.adapters.runbooks.conditions import holds, names_in
from opsuite_healer.adapters.runbooks.runbook_messages import runbook_message, runbook_of
from opsuite_healer.adapters.runbooks.state_codec import decode, encode
from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.course import ConditionFailed
from opsuite_healer.domain.runbooks.execution import Answer, Execution, ExecutionStatus, StepRun, StepStatus
from opsuite_healer.domain.runbooks.runbook import (
    Inquiry,
    InquiryField,
    OnFailure,
    Retry,
    Runbook,
    RunbookParameter,
    RunbookStep,
)
from opsuite_healer.domain.runbooks.templates import TemplateFailed, fill
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import InvalidInput

SCOPE: dict[str, Any] = {
    "params": {"path": "/var", "evil": "${params.path}"},
    "steps": {"look": {"status": "SUCCEEDED", "facts": {"a.b": "1", "a": "2"}}},
    "incident": "incidents/1",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${params.path}/log", "/var/log"),
        ("${params.path}${params.path}", "/var/var"),
        ("${steps.look.facts.a.b}", "1"),
        ("${steps.look.facts.a}", "2"),
        ("${incident}", "incidents/1"),
        ("${params.evil}", "${params.path}"),
        ("$params.path", "$params.path"),
    ],
)
def test_a_reference_becomes_what_it_stands_for_and_nothing_else(text: str, expected: str) -> None:
    assert fill(text, SCOPE) == expected


@pytest.mark.parametrize("text", ["${params.no}", "${params}", "${incident.x}", "${}", "${steps.look.facts.c}", "${x}"])
def test_a_reference_to_nothing_is_a_failure(text: str) -> None:
    with pytest.raises(TemplateFailed):
        fill(text, SCOPE)


def test_what_grows_without_bound_is_a_failure() -> None:
    with pytest.raises(TemplateFailed):
        fill("${params.x}" * 3, {"params": {"x": "y" * 8000}})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('params.path == "/var"', True),
        ('params.path.startsWith("/etc")', False),
        ('steps.look.status == "SUCCEEDED" && incident != ""', True),
        ('"look" in steps && !("other" in steps)', True),
        ("int(steps.look.facts.a) > 1", True),
    ],
)
def test_a_condition_is_judged_over_what_is_known(expression: str, expected: bool) -> None:
    assert holds(expression, SCOPE) is expected


@pytest.mark.parametrize("expression", ["params.no == '1'", "params.path", "1 / 0 == 1", "unknown == '1'"])
def test_a_condition_without_an_answer_is_a_failure(expression: str) -> None:
    with pytest.raises(ConditionFailed):
        holds(expression, SCOPE)


def test_the_names_of_a_condition_are_those_that_it_uses() -> None:
    assert names_in('params.x == "1" || target.workload == "shop"') == {"params", "target"}
    with pytest.raises(InvalidInput):
        names_in("params.x ==")


# --- written down ----------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
WORDS = st.dictionaries(TEXT, TEXT, max_size=3)
NAME = st.sampled_from(["a", "b"])
TIMES = st.integers(0, 10**9).map(lambda seconds: NOON + timedelta(microseconds=seconds))
SPANS = st.integers(1, 10**6).map(lambda seconds: timedelta(milliseconds=seconds))
SPECS = st.builds(ActionSpec, TEXT, WORDS)
FIELDS = st.builds(InquiryField, TEXT, TEXT, st.booleans(), st.lists(TEXT, max_size=2).map(tuple), TEXT)
STEPS = st.builds(
    RunbookStep,
    name=NAME,
    action=st.none() | SPECS,
    inquiry=st.none() | st.builds(Inquiry, TEXT, st.lists(FIELDS, max_size=2).map(tuple), SPANS, st.booleans()),
    description=TEXT,
    when=TEXT,
    retry=st.builds(Retry, st.integers(1, 20), SPANS, SPANS),
    timeout=SPANS,
    on_failure=st.sampled_from(OnFailure),
    goto=NAME,
    compensate=st.none() | SPECS,
)
RUNBOOKS = st.builds(
    Runbook,
    id=NAME,
    steps=st.lists(STEPS, min_size=1, max_size=3).map(tuple),
    display_name=TEXT,
    description=TEXT,
    issues=st.lists(TEXT, max_size=2).map(tuple),
    parameters=st.lists(st.builds(RunbookParameter, TEXT, TEXT, st.booleans(), TEXT, TEXT), max_size=2).map(tuple),
    max_duration=SPANS,
)
RUNS = st.builds(
    StepRun,
    step=NAME,
    status=st.sampled_from(StepStatus),
    started_at=TIMES,
    compensates=st.none() | st.integers(0, 9),
    attempt=st.integers(0, 9),
    spec=st.none() | SPECS,
    before=st.none() | WORDS,
    message=TEXT,
    facts=WORDS,
    expires_at=st.none() | TIMES,
    answer=st.none() | st.builds(Answer, TEXT, st.booleans(), WORDS, TEXT),
    retry_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
)
EXECUTIONS = st.builds(
    Execution,
    id=TEXT,
    runbook=RUNBOOKS,
    key=TEXT,
    params=WORDS,
    target=st.sampled_from([None, TargetRef("process", "shop"), TargetRef("kubernetes", "shop", "shop-1", "ns")]),
    actor=TEXT,
    created_at=TIMES,
    cursor=NAME,
    incident=TEXT,
    traceparent=TEXT,
    status=st.sampled_from(ExecutionStatus),
    runs=st.lists(RUNS, max_size=3).map(tuple),
    ends_as=st.none() | st.sampled_from(ExecutionStatus),
    reason=TEXT,
    message=TEXT,
    is_escalated=st.booleans(),
    is_pause_wanted=st.booleans(),
    paused_at=st.none() | TIMES,
    ended_at=st.none() | TIMES,
)


@given(RUNBOOKS)
def test_a_runbook_read_from_its_message_is_the_same(runbook: Runbook) -> None:
    assert runbook_of(runbook_message(runbook)) == runbook


@given(EXECUTIONS)
def test_an_execution_read_from_its_row_is_the_same(execution: Execution) -> None:
    row = {
        **{name: getattr(execution, name) for name in ("id", "key", "actor", "created_at", "incident")},
        "traceparent": execution.traceparent,
        "status": execution.status.value,
        "ended_at": execution.ended_at,
        "state": json.loads(json.dumps(encode(execution))),
    }

    assert decode(row, execution.runbook) == execution
