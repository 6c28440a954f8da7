"""Scaling policies as YAML documents, read into the contract's message and written from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from opsuite_cli.resource_documents import Kind
from opsuite_cli.scaling_documents.hpa import POLICY
from opsuite_kernel.errors import Violation

if TYPE_CHECKING:
    from opsuite.scaler.v1.policy_pb2 import ScalingPolicy

SCALING_POLICY: Final = Kind(POLICY, "opsuite.scaler.v1.policy_pb2", "scalingPolicies/", "policy", "policy")


def is_policy(document: Mapping[str, Any]) -> bool:
    """Whether a document is one of these."""
    return SCALING_POLICY.is_in(document)


def policy_in(document: Mapping[str, Any]) -> ScalingPolicy:
    """The policy in a document. Raises InvalidInput with every mistake, by its path in the document."""
    return cast("ScalingPolicy", SCALING_POLICY.read(document))


def written(policy: ScalingPolicy) -> dict[str, Any]:
    """The document of a policy, as plain data that `policy_in` reads back."""
    return SCALING_POLICY.written(policy)


def in_document(violation: Violation) -> Violation:
    """A violation that the server found, by its path in the document."""
    return SCALING_POLICY.in_document(violation)
