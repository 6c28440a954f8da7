"""A row rendered on its own says the same as the deployment that it holds."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fakes.clock import NOON
from fakes.deployments import a_deployment

from opsuite.deployer.v1 import deployment_pb2
from opsuite_deployer.adapters.deployment_messages import deployment_message, summary_message
from opsuite_deployer.adapters.rows import changing_columns, deployment_of, fixed_columns
from opsuite_deployer.application.ports import Standing
from opsuite_deployer.domain.deployment import Failure, PauseReason, Status

FULL = {
    "status": Status.PAUSED,
    "reason": "GATE_FAILED",
    "message": "the gate said no",
    "pause_reason": next(iter(PauseReason)),
    "warnings": ("slow",),
    "failure": Failure("REASON", "it failed", "stage", "step", "gate", ("last", "lines")),
    "stable": True,
    "rollback_of": "a",
    "rolled_back_by": "b",
    "retry_of": "c",
    "requested_by": "anna",
    "request_reason": "release",
    "variables": {"color": "green"},
    "started_at": NOON + timedelta(seconds=1),
    "ended_at": NOON + timedelta(microseconds=2),
    "trace_id": "0" * 31 + "1",
    "priority": 9,
    "order_skipped": True,
}


@pytest.mark.parametrize("facts", [pytest.param(FULL, id="everything"), pytest.param({}, id="nothing")])
def test_a_summary_is_the_message_without_stages(facts: dict[str, Any]) -> None:
    row = {**fixed_columns(a_deployment(**facts)), **changing_columns(a_deployment(**facts)), "revision": 7}

    assert summary_message(row, 3) == deployment_message(Standing(deployment_of(row), 7, 3), None)


def test_that_comparison_leaves_no_field_out() -> None:
    row = {**fixed_columns(a_deployment(**FULL)), **changing_columns(a_deployment(**FULL)), "revision": 7}
    row["failed_steps"] = 1  # counted from parts, which a summary does not read

    shown = {field.name for field, _ in summary_message(row, 3).ListFields()}

    assert {field.name for field in deployment_pb2.Deployment.DESCRIPTOR.fields} - shown == {"stages"}
