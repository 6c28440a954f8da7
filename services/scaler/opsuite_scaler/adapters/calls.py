"""What servicers take from a request: which policy a name means."""

from __future__ import annotations

import grpc

from opsuite_scaler.adapters.policy_names import POLICIES, POOLS

Context = grpc.aio.ServicerContext


def policy_id(name: str) -> str:
    """The id in the name of a policy."""
    return name.removeprefix(POLICIES)


def pool_id(name: str) -> str:
    """The id in the name of a pool."""
    return name.removeprefix(POOLS)


def activity_ids(name: str) -> tuple[str, str]:
    """Policy and activity in the name of an activity."""
    _, policy, _, activity = name.split("/")
    return policy, activity
