"""For each RPC a table of requests that are refused, with the code, the reason and the fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from fakes.bad_pipelines import BOTH, LONG, RULES, SHAPES
from fakes.pipelines import (
    a_pipeline,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from opsuite.deployer.v1 import (
    pipeline_pb2,
)
from opsuite.deployer.v1.deployment_service_pb2 import (
    AbortDeploymentRequest,
    CancelDeploymentRequest,
    DeployRequest,
    GetDeploymentRequest,
    GetTraceRequest,
    ListDeploymentsRequest,
    ListLogsRequest,
    PauseDeploymentRequest,
    PlanDeploymentRequest,
    PromoteDeploymentRequest,
    ResumeDeploymentRequest,
    RetryDeploymentRequest,
    RetryStepRequest,
    RollbackRequest,
    SkipStepRequest,
    TailLogsRequest,
    WatchDeploymentRequest,
    WatchDeploymentsRequest,
)
from opsuite.deployer.v1.environment_service_pb2 import (
    ForceUnlockEnvironmentRequest,
    GetEnvironmentRequest,
    ListEnvironmentsRequest,
    LockEnvironmentRequest,
    RenewLockRequest,
    UnlockEnvironmentRequest,
)
from opsuite.deployer.v1.history_service_pb2 import ListAuditEventsRequest, VerifyAuditRequest
from opsuite.deployer.v1.pipeline_service_pb2 import (
    DeletePipelineRequest,
    GetPipelineRequest,
    ListPipelinesRequest,
    RegisterPipelineRequest,
    ValidatePipelineRequest,
)

INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND
WRONG_STATE: Final = grpc.StatusCode.FAILED_PRECONDITION
ABORTED: Final = grpc.StatusCode.ABORTED
SHAPE: Final = "INVALID_INPUT"
SHELF: Final = "pipelines/shelf/environments/staging"
NOBODY: Final = "pipelines/shelf/environments/staging/deployments/01nothing"
NOT_LISTED: Final = "ENVIRONMENT_NOT_LISTED"
BAD_UUID: Final = "not-a-uuid"


@dataclass(frozen=True)
class World:
    """What the tables refer to: names of deployments in each state that matters."""

    first: str
    """Succeeded, with nothing before it."""
    second: str
    """Succeeded, the same version and revision once more."""
    third: str
    """Succeeded, another version."""
    failed: str
    running: str
    queued: str
    strict: str
    """Running where the policy is REJECT."""
    elsewhere: str
    """Succeeded, in another environment."""


@dataclass(frozen=True)
class Bad:
    """A request that is refused, or whose answer says what is wrong with it."""

    why: str
    request: Callable[[World], Message]
    code: grpc.StatusCode
    reason: str
    fields: frozenset[str] = frozenset()


def bad(why: str, request: Callable[[World], Message], *fields: str, reason: str = SHAPE) -> Bad:
    """A request whose fields are wrong whatever the state."""
    return Bad(why, request, INVALID, reason, frozenset(fields))


def told(why: str, request: Callable[[World], Message], *fields: str) -> Bad:
    """A request whose answer is what is wrong with it."""
    return Bad(why, request, grpc.StatusCode.OK, "", frozenset(fields))


def missing(reason: str, request: Callable[[World], Message]) -> Bad:
    """A request that names what does not exist."""
    return Bad(reason.lower().replace("_", " "), request, NOT_FOUND, reason)


def barred(why: str, request: Callable[[World], Message], reason: str = "WRONG_STATE") -> Bad:
    """A request that the present state forbids."""
    return Bad(why, request, WRONG_STATE, reason)


def stale(request: Callable[[World], Message]) -> Bad:
    """A request that names an etag of another time."""
    return Bad("another etag", request, ABORTED, "ETAG_MISMATCH")


def of_a_name(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request that names a deployment."""
    return [
        bad("no name", lambda _: make(), "name"),
        bad("not a name", lambda _: make(name="deployments/1"), "name"),
        bad("upper case", lambda w: make(name=w.first.upper()), "name"),
        missing("DEPLOYMENT_NOT_FOUND", lambda _: make(name=NOBODY)),
        missing("DEPLOYMENT_NOT_FOUND", lambda w: make(name=w.first.replace("staging", "production"))),
        missing("DEPLOYMENT_NOT_FOUND", lambda w: make(name=w.first.replace("shelf", "strict"))),
    ]


def of_a_wish(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request that changes a deployment."""
    return [
        *of_a_name(make),
        bad("no UUID", lambda w: make(name=w.running, request_id=BAD_UUID), "request_id"),
        bad("a novel", lambda w: make(name=w.running, reason=LONG), "reason"),
        bad("a bell", lambda w: make(name=w.running, reason="\a"), "reason"),
        bad("all at once", lambda _: make(request_id="", reason=LONG), "name", "request_id", "reason"),
    ]


def of_an_etag(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request with an etag."""
    return [
        bad("a long etag", lambda w: make(name=w.running, etag=LONG), "etag"),
        stale(lambda w: make(name=w.running, etag='"0"')),
    ]


def of_a_step(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for RetryStep and SkipStep."""

    def of_wait(**fields: Any) -> Message:
        return make(**({"stage": "work", "step": "wait"} | fields))

    return [
        *of_a_wish(of_wait),
        *of_an_etag(of_wait),
        bad("no step", lambda w: make(name=w.running), "stage", "step"),
        bad("no label", lambda w: make(name=w.running, stage="A", step="-"), "stage", "step"),
        missing("STEP_NOT_FOUND", lambda w: of_wait(name=w.running, stage="play")),
        missing("STEP_NOT_FOUND", lambda w: of_wait(name=w.running, step="play")),
        barred("it runs", lambda w: of_wait(name=w.running), "STEP_NOT_INTERRUPTED"),
        barred("it waits", lambda w: of_wait(name=w.queued), "STEP_NOT_INTERRUPTED"),
        barred("it ended", lambda w: make(name=w.first, stage="work", step="fine"), "STEP_NOT_INTERRUPTED"),
    ]


def of_a_deploy(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for Deploy and PlanDeployment."""

    def right(**fields: Any) -> Message:
        return make(**({"pipeline": "pipelines/shelf", "version": "1", "environment": "staging"} | fields))

    return [
        bad("nothing", lambda _: make(), "pipeline", "version", "environment"),
        bad("not a name", lambda _: right(pipeline="shelf"), "pipeline"),
        bad("no version", lambda _: right(version=""), "version"),
        bad("no label", lambda _: right(from_environment="Staging"), "from_environment"),
        bad(
            "from where it never goes", lambda _: right(from_environment="moon"), "from_environment", reason=NOT_LISTED
        ),
        bad("less than nothing", lambda _: right(priority=-1), "priority"),
        bad("more than urgent", lambda _: right(priority=10), "priority"),
        barred(
            "nothing is stable there",
            lambda _: right(pipeline="pipelines/ordered", environment="production", from_environment="staging"),
            "NOT_STABLE_THERE",
        ),
        bad("a version with a blank", lambda _: right(version="1 2"), "version"),
        bad("a version that is an option", lambda _: right(version="--force"), "version"),
        bad("a version that climbs", lambda _: right(version="../1"), "version"),
        bad("a version with a template", lambda _: right(version="${environment}"), "version"),
        bad("a long version", lambda _: right(version="1" * 129), "version"),
        bad("no label", lambda _: right(environment="Staging"), "environment"),
        bad("a bad name", lambda _: right(variables={"Colour": "red"}), 'variables["Colour"]'),
        bad("a bell", lambda _: right(variables={"colour": "\a"}), 'variables["colour"]'),
        bad("a long value", lambda _: right(variables={"colour": LONG}), 'variables["colour"]'),
        bad("many", lambda _: right(variables={f"v{n}": "" for n in range(101)}), "variables"),
        bad("unknown", lambda _: right(variables={"size": "1"}), 'variables["size"]', reason="UNKNOWN_VARIABLE"),
        bad("not listed", lambda _: right(environment="moon"), "environment", reason=NOT_LISTED),
        missing("PIPELINE_NOT_FOUND", lambda _: right(pipeline="pipelines/nothing")),
        missing("PIPELINE_NOT_FOUND", lambda _: right(pipeline="pipelines/hidden")),
    ]


def of_an_environment(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request that names an environment."""
    return [
        bad("no name", lambda _: make(), "name"),
        bad("not a name", lambda _: make(name="staging"), "name"),
        bad("all of them", lambda _: make(name="pipelines/shelf/environments/-"), "name"),
        bad("upper case", lambda _: make(name=SHELF.upper()), "name"),
        missing("ENVIRONMENT_NOT_FOUND", lambda _: make(name="pipelines/shelf/environments/moon")),
        missing("PIPELINE_NOT_FOUND", lambda _: make(name="pipelines/nothing/environments/staging")),
        missing("PIPELINE_NOT_FOUND", lambda _: make(name="pipelines/hidden/environments/staging")),
    ]


def of_a_change(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request that changes an environment."""
    return [
        bad("no UUID", lambda _: make(name=SHELF, request_id=BAD_UUID), "request_id"),
        bad("a novel", lambda _: make(name=SHELF, reason=LONG), "reason"),
        bad("a bell", lambda _: make(name=SHELF, reason="\a"), "reason"),
    ]


def of_pages(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request of a page."""
    return [
        bad("less than nothing", lambda _: make(page_size=-1), "page_size"),
        bad("a long token", lambda _: make(page_token=LONG), "page_token"),
        bad("a made-up token", lambda _: make(page_token="made-up"), "page_token"),
    ]


def of_a_filter(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request with a filter."""
    return [
        bad("a long filter", lambda _: make(filter=LONG), "filter"),
        bad("no filter", lambda _: make(filter="status ="), "filter"),
        bad("unknown field", lambda _: make(filter='colour = "red"'), "filter"),
        bad("an injection", lambda _: make(filter="1 = 1; DROP TABLE audit"), "filter"),
    ]


def of_a_watch(make: Callable[..., Message]) -> list[Bad]:
    """What is wrong for every request of a watch."""
    return [
        bad("a long token", lambda w: make(w, resume_token=LONG), "resume_token"),
        bad("a made-up token", lambda w: make(w, resume_token="made-up"), "resume_token", reason=SHAPE),
        bad("too often", lambda w: make(w, heartbeat=Duration(nanos=1)), "heartbeat"),
        bad("too rarely", lambda w: make(w, heartbeat=Duration(seconds=61)), "heartbeat"),
        bad("none", lambda w: make(w, max_batch=0), "max_batch"),
        bad("many", lambda w: make(w, max_batch=257), "max_batch"),
    ]


def _watching_one(world: World, **fields: Any) -> Message:
    return WatchDeploymentRequest(name=world.running, **fields)


def _watching_all(_: World, **fields: Any) -> Message:
    return WatchDeploymentsRequest(parent="pipelines/-/environments/-", **fields)


def registering(pipeline: pipeline_pb2.Pipeline) -> Callable[[World], Message]:
    return lambda _: RegisterPipelineRequest(pipeline=pipeline)


def validating(pipeline: pipeline_pb2.Pipeline) -> Callable[[World], Message]:
    return lambda _: ValidatePipelineRequest(pipeline=pipeline)


PIPELINE_TABLES: Final = {
    "RegisterPipeline": [
        bad("nothing", lambda _: RegisterPipelineRequest(), "pipeline"),
        bad("no UUID", lambda _: RegisterPipelineRequest(pipeline=a_pipeline("a"), request_id=BAD_UUID), "request_id"),
        bad("a long etag", lambda _: RegisterPipelineRequest(pipeline=a_pipeline("a"), etag=LONG), "etag"),
        *(bad(why, registering(pipeline), *fields) for why, pipeline, fields in (*SHAPES, *BOTH)),
        *(bad(why, registering(pipeline), *fields, reason="PIPELINE_INVALID") for why, pipeline, fields in RULES),
        stale(lambda _: RegisterPipelineRequest(pipeline=a_pipeline("shelf"), etag='"99"')),
        stale(lambda _: RegisterPipelineRequest(pipeline=a_pipeline("brand-new"), etag='"1"')),
    ],
    "ValidatePipeline": [
        told("nothing", lambda _: ValidatePipelineRequest(), "pipeline"),
        *(told(why, validating(pipeline), *fields) for why, pipeline, fields in (*SHAPES, *RULES, *BOTH)),
    ],
    "GetPipeline": [
        bad("nothing", lambda _: GetPipelineRequest(), "name"),
        bad("not a name", lambda _: GetPipelineRequest(name="shelf"), "name"),
        bad("no revision", lambda _: GetPipelineRequest(name="pipelines/shelf", revision=0), "revision"),
        missing("PIPELINE_NOT_FOUND", lambda _: GetPipelineRequest(name="pipelines/nothing")),
        missing("PIPELINE_NOT_FOUND", lambda _: GetPipelineRequest(name="pipelines/hidden")),
        missing("PIPELINE_NOT_FOUND", lambda _: GetPipelineRequest(name="pipelines/shelf", revision=99)),
        missing("PIPELINE_NOT_FOUND", lambda _: GetPipelineRequest(name="pipelines/shelf", revision=1 << 62)),
    ],
    "ListPipelines": of_pages(ListPipelinesRequest),
    "DeletePipeline": [
        bad("nothing", lambda _: DeletePipelineRequest(), "name"),
        bad("not a name", lambda _: DeletePipelineRequest(name="shelf"), "name"),
        bad("no UUID", lambda _: DeletePipelineRequest(name="pipelines/shelf", request_id=BAD_UUID), "request_id"),
        bad("a long etag", lambda _: DeletePipelineRequest(name="pipelines/shelf", etag=LONG), "etag"),
        missing("PIPELINE_NOT_FOUND", lambda _: DeletePipelineRequest(name="pipelines/nothing")),
        missing("PIPELINE_NOT_FOUND", lambda _: DeletePipelineRequest(name="pipelines/hidden")),
        stale(lambda _: DeletePipelineRequest(name="pipelines/idle", etag='"99"')),
        barred("it is used", lambda _: DeletePipelineRequest(name="pipelines/shelf"), "PIPELINE_IN_USE"),
    ],
}
DEPLOYMENT_TABLES: Final = {
    "Deploy": [
        *of_a_deploy(DeployRequest),
        bad(
            "no UUID",
            lambda _: DeployRequest(
                pipeline="pipelines/shelf", version="1", environment="staging", request_id=BAD_UUID
            ),
            "request_id",
        ),
        bad(
            "a novel",
            lambda _: DeployRequest(pipeline="pipelines/shelf", version="1", environment="staging", reason=LONG),
            "reason",
        ),
        bad(
            "an override without a reason",
            lambda _: DeployRequest(
                pipeline="pipelines/ordered", version="1", environment="production", skip_order=True
            ),
            "reason",
        ),
        barred(
            "out of order",
            lambda _: DeployRequest(pipeline="pipelines/ordered", version="1", environment="production"),
            "NOT_PROMOTED_YET",
        ),
        barred(
            "occupied",
            lambda _: DeployRequest(pipeline="pipelines/strict", version="1", environment="staging"),
            "ENVIRONMENT_OCCUPIED",
        ),
    ],
    "PlanDeployment": of_a_deploy(PlanDeploymentRequest),
    "GetDeployment": of_a_name(GetDeploymentRequest),
    "ListDeployments": [
        bad("nothing", lambda _: ListDeploymentsRequest(), "parent"),
        bad("not a parent", lambda _: ListDeploymentsRequest(parent="pipelines/shelf"), "parent"),
        *of_pages(lambda **fields: ListDeploymentsRequest(parent="pipelines/-/environments/-", **fields)),
        *of_a_filter(lambda **fields: ListDeploymentsRequest(parent="pipelines/-/environments/-", **fields)),
        bad(
            "unknown status",
            lambda _: ListDeploymentsRequest(parent="pipelines/-/environments/-", filter="status = HAPPY"),
            "filter",
        ),
        bad(
            "no moment",
            lambda _: ListDeploymentsRequest(parent="pipelines/-/environments/-", filter='create_time > "noon"'),
            "filter",
        ),
        bad(
            "unknown order",
            lambda _: ListDeploymentsRequest(parent="pipelines/-/environments/-", order_by="colour"),
            "order_by",
        ),
        bad(
            "a long order",
            lambda _: ListDeploymentsRequest(parent="pipelines/-/environments/-", order_by=LONG),
            "order_by",
        ),
    ],
    "WatchDeployment": [*of_a_name(WatchDeploymentRequest), *of_a_watch(_watching_one)],
    "WatchDeployments": [
        bad("nothing", lambda _: WatchDeploymentsRequest(), "parent"),
        bad("not a parent", lambda _: WatchDeploymentsRequest(parent="pipelines/shelf"), "parent"),
        *of_a_watch(_watching_all),
    ],
    "CancelDeployment": [
        *of_a_wish(CancelDeploymentRequest),
        *of_an_etag(CancelDeploymentRequest),
        barred("it has ended", lambda w: CancelDeploymentRequest(name=w.first)),
    ],
    "PauseDeployment": [
        *of_a_wish(PauseDeploymentRequest),
        *of_an_etag(PauseDeploymentRequest),
        barred("it has ended", lambda w: PauseDeploymentRequest(name=w.first)),
        barred("it waits", lambda w: PauseDeploymentRequest(name=w.queued)),
    ],
    "ResumeDeployment": [
        *of_a_wish(ResumeDeploymentRequest),
        *of_an_etag(ResumeDeploymentRequest),
        barred("it has ended", lambda w: ResumeDeploymentRequest(name=w.first)),
        barred("it runs", lambda w: ResumeDeploymentRequest(name=w.running)),
        barred("it waits", lambda w: ResumeDeploymentRequest(name=w.queued)),
    ],
    "PromoteDeployment": [
        *of_a_wish(PromoteDeploymentRequest),
        *of_an_etag(PromoteDeploymentRequest),
        bad("unknown scope", lambda w: PromoteDeploymentRequest(name=w.running, scope=99), "scope"),  # type: ignore[arg-type]  # what a newer client may send
        barred("it has ended", lambda w: PromoteDeploymentRequest(name=w.first)),
        barred("it waits", lambda w: PromoteDeploymentRequest(name=w.queued)),
        barred("nothing is rolled out", lambda w: PromoteDeploymentRequest(name=w.running), "NO_ROLLOUT"),
    ],
    "AbortDeployment": [
        *of_a_wish(AbortDeploymentRequest),
        *of_an_etag(AbortDeploymentRequest),
        barred("it has ended", lambda w: AbortDeploymentRequest(name=w.first)),
        barred("it waits", lambda w: AbortDeploymentRequest(name=w.queued)),
        barred("nothing is rolled out", lambda w: AbortDeploymentRequest(name=w.running), "NO_ROLLOUT"),
    ],
    "RetryDeployment": [
        *of_a_wish(RetryDeploymentRequest),
        barred("it succeeded", lambda w: RetryDeploymentRequest(name=w.first)),
        barred("it runs", lambda w: RetryDeploymentRequest(name=w.running)),
        barred("it waits", lambda w: RetryDeploymentRequest(name=w.queued)),
    ],
    "RetryStep": of_a_step(RetryStepRequest),
    "SkipStep": of_a_step(SkipStepRequest),
    "Rollback": [
        *of_a_wish(RollbackRequest),
        bad("no target", lambda w: RollbackRequest(name=w.second, to="x"), "to"),
        bad(
            "of another environment",
            lambda w: RollbackRequest(name=w.third, to=w.elsewhere),
            "to",
            reason="NO_ROLLBACK_TARGET",
        ),
        bad("a later one", lambda w: RollbackRequest(name=w.first, to=w.third), "to", reason="NO_ROLLBACK_TARGET"),
        missing("DEPLOYMENT_NOT_FOUND", lambda w: RollbackRequest(name=w.third, to=NOBODY)),
        barred("a target that failed", lambda w: RollbackRequest(name=w.running, to=w.failed)),
        barred("nothing before it", lambda w: RollbackRequest(name=w.first), "NO_PREVIOUS_DEPLOYMENT"),
        barred("the same before it", lambda w: RollbackRequest(name=w.second), "ROLLBACK_IS_NO_OP"),
        barred("to itself", lambda w: RollbackRequest(name=w.third, to=w.third), "ROLLBACK_IS_NO_OP"),
        barred("it waits", lambda w: RollbackRequest(name=w.queued)),
    ],
    "ListLogs": [
        *of_a_name(ListLogsRequest),
        bad("less than nothing", lambda w: ListLogsRequest(name=w.first, page_size=-1), "page_size"),
        bad("a made-up token", lambda w: ListLogsRequest(name=w.first, page_token="x"), "page_token"),
        bad("no label", lambda w: ListLogsRequest(name=w.first, stage="A", step="B"), "stage", "step"),
        bad("no moment", lambda w: ListLogsRequest(name=w.first, stage="before:"), "stage"),
        bad("no moment", lambda w: ListLogsRequest(name=w.first, stage="during:web"), "stage"),
    ],
    "TailLogs": [
        *of_a_name(TailLogsRequest),
        bad("no label", lambda w: TailLogsRequest(name=w.first, stage="A", step="B"), "stage", "step"),
        bad("less than nothing", lambda w: TailLogsRequest(name=w.first, after_sequence=-1), "after_sequence"),
    ],
    "GetTrace": of_a_name(GetTraceRequest),
}
ENVIRONMENT_TABLES: Final = {
    "GetEnvironment": of_an_environment(GetEnvironmentRequest),
    "ListEnvironments": [
        bad("nothing", lambda _: ListEnvironmentsRequest(), "parent"),
        bad("not a parent", lambda _: ListEnvironmentsRequest(parent="shelf"), "parent"),
        bad("all of them", lambda _: ListEnvironmentsRequest(parent="pipelines/-"), "parent"),
        missing("PIPELINE_NOT_FOUND", lambda _: ListEnvironmentsRequest(parent="pipelines/nothing")),
        missing("PIPELINE_NOT_FOUND", lambda _: ListEnvironmentsRequest(parent="pipelines/hidden")),
    ],
    "LockEnvironment": [
        *of_an_environment(lambda **fields: LockEnvironmentRequest(message="mine", **fields)),
        *of_a_change(lambda **fields: LockEnvironmentRequest(message="mine", **fields)),
        bad("no message", lambda _: LockEnvironmentRequest(name=SHELF), "message"),
        bad("a novel", lambda _: LockEnvironmentRequest(name=SHELF, message=LONG), "message"),
        bad("a bell", lambda _: LockEnvironmentRequest(name=SHELF, message="\a"), "message"),
        bad("no time", lambda _: LockEnvironmentRequest(name=SHELF, message="mine", ttl=Duration()), "ttl"),
        bad("long", lambda _: LockEnvironmentRequest(name=SHELF, message="mine", ttl=Duration(seconds=604801)), "ttl"),
        bad("all at once", lambda _: LockEnvironmentRequest(reason=LONG), "name", "message", "reason"),
    ],
    "UnlockEnvironment": [
        *of_an_environment(UnlockEnvironmentRequest),
        *of_a_change(UnlockEnvironmentRequest),
        barred("it is open", lambda _: UnlockEnvironmentRequest(name=SHELF), "NOT_LOCKED"),
    ],
    "ForceUnlockEnvironment": [
        *of_an_environment(ForceUnlockEnvironmentRequest),
        *of_a_change(ForceUnlockEnvironmentRequest),
        barred("it is open", lambda _: ForceUnlockEnvironmentRequest(name=SHELF), "NOT_LOCKED"),
    ],
    "RenewLock": [
        *of_an_environment(RenewLockRequest),
        barred("it is open", lambda _: RenewLockRequest(name=SHELF), "NOT_LOCKED"),
    ],
}
HISTORY_TABLES: Final = {
    "ListAuditEvents": [*of_pages(ListAuditEventsRequest), *of_a_filter(ListAuditEventsRequest)],
    "VerifyAudit": [
        bad("no head", lambda _: VerifyAuditRequest(head="1"), "head"),
        bad("a long head", lambda _: VerifyAuditRequest(head=LONG), "head"),
        bad("upper case", lambda _: VerifyAuditRequest(head="1:" + "A" * 64), "head"),
    ],
}
