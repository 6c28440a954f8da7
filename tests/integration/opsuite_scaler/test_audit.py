"""Who did what is in the audit log: with what it did, also when it was refused, or only repeated or checked."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing

import pytest
from scaler import ScalerProcess, a_policy

from opsuite.scaler.v1 import scaler_service_pb2 as pb
from opsuite_kernel.errors import NotFound


async def test_every_act_and_every_refusal_is_one_row(scaler: ScalerProcess) -> None:
    name = "scalingPolicies/audited"
    async with scaler.client() as client:
        request = pb.CreateScalingPolicyRequest(request_id=str(uuid.uuid4()), policy=a_policy("audited"))
        for _ in range(2):
            await client.scaler.CreateScalingPolicy(request)
        checked = pb.UpdateScalingPolicyRequest(policy=a_policy("audited", maxReplicas=9), validate_only=True)
        await client.scaler.UpdateScalingPolicy(checked)
        await client.scaler.PauseScaling(pb.PauseScalingRequest(name=name))
        await client.scaler.GetScalingPolicy(pb.GetScalingPolicyRequest(name=name))
        with pytest.raises(NotFound):
            await client.scaler.DeleteScalingPolicy(pb.DeleteScalingPolicyRequest(name="scalingPolicies/nobody"))

    assert _rows(scaler) == [
        ("CreateScalingPolicy", name, "OK"),
        ("CreateScalingPolicy", name, "OK"),
        ("UpdateScalingPolicy", name, "OK"),
        ("PauseScaling", name, "OK"),
        ("DeleteScalingPolicy", "scalingPolicies/nobody", "NOT_FOUND"),
    ]


def _rows(scaler: ScalerProcess) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(f"file:{scaler.data_dir}/scaler.db?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT action, resource, outcome FROM audit ORDER BY sequence").fetchall()
    return [(action.rpartition("/")[2].rpartition(".")[2], resource, outcome) for action, resource, outcome in found]
