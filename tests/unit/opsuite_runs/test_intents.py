from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsuite_runs.intents import operation_name

RUN = "01k2zr5m8q9w3e7t6y4h0n1b2c"
RUNS = st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26)
STEPS = st.text(min_size=1, max_size=80)
ATTEMPTS = st.integers(1, 10**6)
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@given(run=RUNS, step=STEPS, attempt=ATTEMPTS)
def test_every_operation_name_is_a_dns_label(run: str, step: str, attempt: int) -> None:
    name = operation_name(run, step, attempt)

    assert DNS_LABEL.fullmatch(name)
    assert name.startswith("op-")


@settings(max_examples=40)
@given(st.lists(st.tuples(RUNS, STEPS, ATTEMPTS), min_size=2, max_size=10, unique=True))
def test_different_attempts_have_different_names(attempts: list[tuple[str, str, int]]) -> None:
    assert len({operation_name(*attempt) for attempt in attempts}) == len(attempts)


@pytest.mark.parametrize(("one", "other"), [("a/b", "a-b"), ("A", "a"), ("a-", "a"), ("x" * 70, "x" * 71)])
def test_steps_that_look_alike_once_made_safe_have_different_names(one: str, other: str) -> None:
    assert operation_name(RUN, one, 1) != operation_name(RUN, other, 1)


def test_names_never_change_between_versions_since_running_things_bear_them() -> None:
    assert operation_name(RUN, "build", 2) == f"op-{RUN}-build-2"
    assert operation_name(RUN, "deploy/web server", 1) == f"op-{RUN}-deploy-web-server-1-99d02ff9c393"
