"""Targets and severities as messages of the contract."""

from __future__ import annotations

from opsuite.healer.v1 import target_pb2 as pb
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity


def target_from(message: pb.TargetRef) -> TargetRef:
    """The target that a message of correct shape names."""
    return TargetRef(message.platform, message.workload, message.replica, message.namespace)


def target_message(target: TargetRef) -> pb.TargetRef:
    """A target as a message."""
    return pb.TargetRef(
        platform=target.platform, workload=target.workload, replica=target.replica, namespace=target.namespace
    )


def severity_from(number: int, default: Severity = Severity.ERROR) -> Severity:
    """The severity of an enum value; the default where none was given."""
    return Severity(number) if number else default


def severity_message(severity: Severity) -> pb.Severity.ValueType:
    """A severity as an enum value; the numbers are the same."""
    return pb.Severity.ValueType(severity.value)
