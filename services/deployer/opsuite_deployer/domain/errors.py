"""What can be wrong with a wish, as this service's users would say it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Stale, Violation


class IllegalTransition(Conflict):
    """A status was asked to follow one that does not lead there; a fault of ours wherever it appears."""

    reason = "ILLEGAL_TRANSITION"

    def __init__(self, present: str, wanted: str) -> None:
        super().__init__(f"{present} does not lead to {wanted}", metadata={"present": present, "wanted": wanted})


class PipelineNotFound(NotFound):
    """No such pipeline, or it is deleted, or it has no such revision."""

    def __init__(self, pipeline: str) -> None:
        super().__init__("pipeline", f"pipelines/{pipeline}", reason="PIPELINE_NOT_FOUND")


class DeploymentNotFound(NotFound):
    """No such deployment under that pipeline and environment."""

    def __init__(self, name: str) -> None:
        super().__init__("deployment", name, reason="DEPLOYMENT_NOT_FOUND")


class EnvironmentNotListed(InvalidInput):
    """The pipeline does not deploy there."""

    def __init__(self, environment: str, allowed: Iterable[str], field: str = "environment") -> None:
        listed = ", ".join(allowed)
        super().__init__(
            [Violation(field, f"{environment} is not one of: {listed}", "ENVIRONMENT_NOT_LISTED")],
            reason="ENVIRONMENT_NOT_LISTED",
            metadata={"environment": environment, "allowed": listed},
        )


class UnknownVariable(InvalidInput):
    """Values were given for variables that the pipeline does not declare."""

    def __init__(self, names: Iterable[str], declared: Iterable[str]) -> None:
        listed = ", ".join(sorted(declared)) or "none"
        super().__init__(
            [
                Violation(f'variables["{name}"]', f"is not a variable of the pipeline; it has: {listed}", "UNKNOWN")
                for name in sorted(names)
            ],
            reason="UNKNOWN_VARIABLE",
        )


class EnvironmentOccupied(Conflict):
    """Another deployment is under way or waiting there, and the policy is REJECT."""

    reason = "ENVIRONMENT_OCCUPIED"

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} is under way there", metadata={"holder": holder})
        self.holder = holder


class EnvironmentNotFound(NotFound):
    """The pipeline does not deploy there."""

    def __init__(self, pipeline: str, environment: str) -> None:
        name = f"pipelines/{pipeline}/environments/{environment}"
        super().__init__("environment", name, reason="ENVIRONMENT_NOT_FOUND")


class EnvironmentLocked(Conflict):
    """Somebody else keeps it shut."""

    reason = "ENVIRONMENT_LOCKED"

    def __init__(
        self, environment: str, holder: str, message: str, since: datetime, expires_at: datetime | None
    ) -> None:
        until = f" until {expires_at:%Y-%m-%d %H:%M:%S} UTC unless renewed" if expires_at else ""
        super().__init__(
            f"{environment} is locked by {holder} since {since:%Y-%m-%d %H:%M:%S} UTC{until}: {message}",
            metadata={
                "environment": environment,
                "holder": holder,
                "message": message,
                "since": since.isoformat(timespec="seconds"),
                "expires": expires_at.isoformat(timespec="seconds") if expires_at else "",
            },
        )


class NotLocked(Conflict):
    """There is no lock, or none any more."""

    reason = "NOT_LOCKED"

    def __init__(self, environment: str) -> None:
        super().__init__(f"{environment} is not locked", metadata={"environment": environment})


class LockNotYours(Conflict):
    """Somebody else holds the lock."""

    reason = "LOCK_NOT_YOURS"

    def __init__(self, environment: str, holder: str) -> None:
        super().__init__(
            f"the lock of {environment} is {holder}'s", metadata={"environment": environment, "holder": holder}
        )


class NotPromotedYet(Conflict):
    """The version is not stable in the environment that comes before."""

    reason = "NOT_PROMOTED_YET"

    def __init__(self, environment: str, after: str, wanted: tuple[str, int], present: tuple[str, int] | None) -> None:
        there = f"{present[0]} (revision {present[1]})" if present else "nothing"
        super().__init__(
            f"{wanted[0]} (revision {wanted[1]}) has to be stable in {after} before it goes to {environment}; "
            f"{there} is",
            metadata={
                "environment": environment,
                "after": after,
                "version": wanted[0],
                "pipeline_revision": str(wanted[1]),
                "present": there,
            },
        )


class NotStableThere(Conflict):
    """An environment has nothing to carry on, or not the version that was asked for."""

    reason = "NOT_STABLE_THERE"

    def __init__(self, environment: str, version: str, present: str) -> None:
        super().__init__(
            f"{version or 'nothing'} is {'not ' if version else ''}stable in {environment}"
            + (f": {present} is" if present else ""),
            metadata={"environment": environment, "version": version, "present": present},
        )


class PipelineInUse(Conflict):
    """Deployments of it are under way or waiting."""

    reason = "PIPELINE_IN_USE"

    def __init__(self, pipeline: str, deployment: str) -> None:
        super().__init__(
            f"pipelines/{pipeline} is used by {deployment}", metadata={"pipeline": pipeline, "deployment": deployment}
        )


class WrongState(Conflict):
    """The deployment stands where the verb makes no sense."""

    reason = "WRONG_STATE"

    def __init__(self, name: str, present: str, needed: str) -> None:
        super().__init__(
            f"{name} is {present}, not {needed}", metadata={"deployment": name, "status": present, "needed": needed}
        )


class StepNotInterrupted(Conflict):
    """RetryStep and SkipStep decide about interrupted steps, and failed hooks that pause, only."""

    reason = "STEP_NOT_INTERRUPTED"

    def __init__(self, stage: str, step: str, present: str) -> None:
        super().__init__(
            f"nobody is asked about step {step} of stage {stage}: it is {present}, not INTERRUPTED",
            metadata={"stage": stage, "step": step, "status": present},
        )


class StepNotFound(NotFound):
    """The pipeline revision of the deployment has no such step."""

    def __init__(self, stage: str, step: str) -> None:
        super().__init__("step", f"{stage}/{step}", reason="STEP_NOT_FOUND")


class NoPreviousDeployment(Conflict):
    """There is nothing to go back to."""

    reason = "NO_PREVIOUS_DEPLOYMENT"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"no successful deployment of the same pipeline and environment began before {name}",
            metadata={"deployment": name},
        )


class RollbackIsNoOp(Conflict):
    """Going back would run exactly what runs now."""

    reason = "ROLLBACK_IS_NO_OP"

    def __init__(self, name: str, target: str) -> None:
        super().__init__(
            f"{target} is the same version and pipeline revision as {name}",
            metadata={"deployment": name, "target": target},
        )


class NoRollbackTarget(InvalidInput):
    """The deployment that a rollback is to go back to is not an earlier one of the same pipeline and environment."""

    def __init__(self, target: str, why: str) -> None:
        super().__init__([Violation("to", f"{target} {why}", "NO_TARGET")], reason="NO_ROLLBACK_TARGET")


class RollbackUnderWay(Conflict):
    """The deployment is already going back, or is itself a rollback."""

    reason = "ROLLBACK_UNDER_WAY"

    def __init__(self, name: str, by: str) -> None:
        super().__init__(f"{name} is already being taken back by {by}", metadata={"deployment": name, "by": by})


class EtagMismatch(Stale):
    """Somebody changed it since the caller looked."""

    reason = "ETAG_MISMATCH"

    def __init__(self, name: str, given: str, present: str) -> None:
        super().__init__(
            f"{name} has changed: etag {given} was given, {present} is there",
            metadata={"name": name, "given": given, "present": present},
        )


class WorkloadTaken(Conflict):
    """Another pipeline, or another environment, looks after the workload."""

    def __init__(self, workload: str, pipeline: str, environment: str) -> None:
        super().__init__(
            f"workload {workload} belongs to pipeline {pipeline} in {environment}: give this one a name of its own",
            reason="WORKLOAD_TAKEN",
        )


class WorkloadNotFound(NotFound):
    """No rollout has ever looked after such a workload."""

    def __init__(self, workload: str) -> None:
        super().__init__("workload", f"workloads/{workload}", reason="WORKLOAD_NOT_FOUND")


class RouteNotFound(NotFound):
    """The workload has no route through edges."""

    def __init__(self, workload: str) -> None:
        super().__init__("route", f"workloads/{workload}", reason="ROUTE_NOT_FOUND")


class RevisionNotFound(NotFound):
    """The workload has no such revision."""

    def __init__(self, workload: str, revision: str) -> None:
        super().__init__("revision", f"{revision} of workloads/{workload}", reason="REVISION_NOT_FOUND")


class EndpointNotFound(NotFound):
    """The route sends nobody there."""

    def __init__(self, workload: str, endpoint: str) -> None:
        super().__init__("endpoint", f"{endpoint} of workloads/{workload}", reason="ENDPOINT_NOT_FOUND")


class EdgeNotFound(NotFound):
    """No such edge has ever connected."""

    def __init__(self, edge: str) -> None:
        super().__init__("edge", f"edges/{edge}", reason="EDGE_NOT_FOUND")


class EdgeConnected(Conflict):
    """It would be back at once."""

    def __init__(self, edge: str) -> None:
        super().__init__(f"edge {edge} is connected: stop it first", reason="EDGE_CONNECTED")


class RolloutUnderWay(Conflict):
    """A rollout has the workload."""

    def __init__(self, workload: str, deployment: str) -> None:
        super().__init__(f"deployment {deployment} is rolling out {workload}", reason="ROLLOUT_UNDER_WAY")


class NoReplicas(Conflict):
    """Requests would be sent to nothing."""

    def __init__(self, workload: str, why: str) -> None:
        super().__init__(f"requests of {workload} would be sent to nothing: {why}", reason="NO_REPLICAS")
