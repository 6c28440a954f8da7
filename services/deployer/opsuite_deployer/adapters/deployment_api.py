"""DeploymentService: messages in, one use case, messages out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import deployment_service_pb2_grpc as stubs
from opsuite_deployer.adapters.actions import action_of
from opsuite_deployer.adapters.calls import Context, call_of, page_size, parent_of, reference_of
from opsuite_deployer.adapters.log_tail import LogTail
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.adapters.traces import Traces
from opsuite_deployer.adapters.watches import Watches
from opsuite_deployer.application.deployments import Deployments
from opsuite_deployer.application.entry import DeployWish
from opsuite_deployer.domain.errors import EnvironmentOccupied
from opsuite_deployer.domain.parts import kind_of
from opsuite_deployer.domain.turn import Verb
from opsuite_kernel.errors import Conflict, InvalidInput, Violation
from opsuite_rpc.access import Rights, current_principal
from opsuite_rpc.calls import current_call, shape_violations
from opsuite_rpc.policy import Principal

_SCOPES: Final = {
    pb.PROMOTION_SCOPE_UNSPECIFIED: Verb.PROMOTE,
    pb.PROMOTION_SCOPE_NEXT_STEP: Verb.PROMOTE,
    pb.PROMOTION_SCOPE_SKIP_STEP: Verb.PROMOTE_SKIP_STEP,
    pb.PROMOTION_SCOPE_FULL: Verb.PROMOTE_FULL,
}
_OVERRIDE: Final = Rights("deployments.override", resource_field="environment")

Authorize = Callable[[Principal, Rights, str], None]
"""Raises Denied unless a principal has those rights on a resource."""


class DeploymentServicer(stubs.DeploymentServiceServicer):
    """Serves the contract of deployments."""

    def __init__(
        self,
        deployments: Deployments,
        queries: Queries,
        watches: Watches,
        tail: LogTail,
        traces: Traces,
        authorize: Authorize,
    ) -> None:
        self._authorize = authorize
        self._deployments = deployments
        self._queries = queries
        self._watches = watches
        self._tail = tail
        self._traces = traces

    # asking for work

    async def Deploy(
        self, request: pb.DeployRequest, context: Context[pb.DeployRequest, pb.DeployResponse]
    ) -> pb.DeployResponse:
        """Record a deployment."""
        _refuse_bad_wish(request, needs_reason=request.skip_order)
        if request.skip_order:
            self._authorize(current_principal(), _OVERRIDE, request.environment)
            current_call().details["skip_order"] = "true"
        standing = await self._deployments.deploy(_deploy_wish(request, request.reason), call_of(request))
        return pb.DeployResponse(deployment=await self._queries.rendered(standing))

    async def PlanDeployment(
        self, request: pb.PlanDeploymentRequest, context: Context[pb.PlanDeploymentRequest, pb.PlanDeploymentResponse]
    ) -> pb.PlanDeploymentResponse:
        """Say what Deploy would do."""
        _refuse_bad_wish(request)
        plan = await self._deployments.plan(_deploy_wish(request, ""), current_principal().name)
        place, arrival = plan.place, plan.place.arrival
        return pb.PlanDeploymentResponse(
            ready=all(check.passed for check in plan.checks),
            checks=[
                pb.PreflightCheck(subject=one.subject, passed=one.passed, message=one.message, field=one.field)
                for one in plan.checks
            ],
            steps=[
                pb.PlannedStep(
                    stage=one.stage,
                    step=one.step.name,
                    kind=kind_of(one.step),
                    action=action_of(one.kind, one.rollout),
                )
                for one in plan.steps
            ],
            queue_position=place.queue_position,
            pipeline_revision=plan.revision.number,
            rollback_version=plan.rollback_version,
            refusal=_refusal(place.refusal) if place.refusal else None,
            supersedes=[one.name for one in arrival.supersede],
            cancels=arrival.cancel.name if arrival.cancel else "",
            lifts_bar_of=arrival.take_slot_of.name if arrival.take_slot_of else "",
            version=plan.version,
        )

    async def RetryDeployment(
        self,
        request: pb.RetryDeploymentRequest,
        context: Context[pb.RetryDeploymentRequest, pb.RetryDeploymentResponse],
    ) -> pb.RetryDeploymentResponse:
        """Start a new deployment from the stage that failed."""
        standing = await self._deployments.retry(reference_of(request.name), request.reason, call_of(request))
        return pb.RetryDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def Rollback(
        self, request: pb.RollbackRequest, context: Context[pb.RollbackRequest, pb.RollbackResponse]
    ) -> pb.RollbackResponse:
        """Put an earlier version back."""
        to = reference_of(request.to) if request.to else None
        standing = await self._deployments.rollback(reference_of(request.name), to, request.reason, call_of(request))
        return pb.RollbackResponse(deployment=await self._queries.rendered(standing))

    # steering

    async def CancelDeployment(
        self,
        request: pb.CancelDeploymentRequest,
        context: Context[pb.CancelDeploymentRequest, pb.CancelDeploymentResponse],
    ) -> pb.CancelDeploymentResponse:
        """Stop a deployment and leave things as they are."""
        standing = await self._deployments.cancel(
            reference_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.CancelDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def PauseDeployment(
        self,
        request: pb.PauseDeploymentRequest,
        context: Context[pb.PauseDeploymentRequest, pb.PauseDeploymentResponse],
    ) -> pb.PauseDeploymentResponse:
        """Start nothing more for now."""
        standing = await self._deployments.pause(
            reference_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.PauseDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def ResumeDeployment(
        self,
        request: pb.ResumeDeploymentRequest,
        context: Context[pb.ResumeDeploymentRequest, pb.ResumeDeploymentResponse],
    ) -> pb.ResumeDeploymentResponse:
        """Go on after a pause."""
        standing = await self._deployments.resume(
            reference_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.ResumeDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def PromoteDeployment(
        self,
        request: pb.PromoteDeploymentRequest,
        context: Context[pb.PromoteDeploymentRequest, pb.PromoteDeploymentResponse],
    ) -> pb.PromoteDeploymentResponse:
        """Let a rollout go on."""
        verb = _SCOPES[request.scope]
        standing = await self._deployments.steer_rollout(
            verb, reference_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.PromoteDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def AbortDeployment(
        self,
        request: pb.AbortDeploymentRequest,
        context: Context[pb.AbortDeploymentRequest, pb.AbortDeploymentResponse],
    ) -> pb.AbortDeploymentResponse:
        """Bring a rollout back."""
        standing = await self._deployments.steer_rollout(
            Verb.ABORT, reference_of(request.name), request.reason, request.etag, call_of(request)
        )
        return pb.AbortDeploymentResponse(deployment=await self._queries.rendered(standing))

    async def RetryStep(
        self, request: pb.RetryStepRequest, context: Context[pb.RetryStepRequest, pb.RetryStepResponse]
    ) -> pb.RetryStepResponse:
        """Run an interrupted step again."""
        return pb.RetryStepResponse(deployment=await self._decide_step(Verb.RETRY_STEP, request))

    async def SkipStep(
        self, request: pb.SkipStepRequest, context: Context[pb.SkipStepRequest, pb.SkipStepResponse]
    ) -> pb.SkipStepResponse:
        """Count an interrupted step as done."""
        return pb.SkipStepResponse(deployment=await self._decide_step(Verb.SKIP_STEP, request))

    async def _decide_step(
        self, verb: Verb, request: pb.RetryStepRequest | pb.SkipStepRequest
    ) -> deployment_pb2.Deployment:
        standing = await self._deployments.decide_step(
            verb,
            reference_of(request.name),
            (request.stage, request.step),
            request.reason,
            request.etag,
            call_of(request),
        )
        return await self._queries.rendered(standing)

    # reading

    async def GetDeployment(  # type: ignore[override]  # gives a message already serialised, once for all who ask
        self, request: pb.GetDeploymentRequest, context: Context[pb.GetDeploymentRequest, pb.GetDeploymentResponse]
    ) -> bytes:
        """Return a deployment."""
        return (await self._queries.deployment(reference_of(request.name))).answer

    async def ListDeployments(
        self,
        request: pb.ListDeploymentsRequest,
        context: Context[pb.ListDeploymentsRequest, pb.ListDeploymentsResponse],
    ) -> pb.ListDeploymentsResponse:
        """Return a page of deployments."""
        page = await self._queries.deployments(
            parent_of(request.parent),
            filter_=request.filter,
            order_by=request.order_by,
            token=request.page_token,
            size=page_size(request.page_size, default=50, largest=1000),
        )
        return pb.ListDeploymentsResponse(deployments=page.items, next_page_token=page.next_token)

    async def ListLogs(
        self, request: pb.ListLogsRequest, context: Context[pb.ListLogsRequest, pb.ListLogsResponse]
    ) -> pb.ListLogsResponse:
        """Return a page of log lines."""
        page = await self._queries.lines(
            reference_of(request.name),
            stage=request.stage,
            step=request.step,
            token=request.page_token,
            size=page_size(request.page_size, default=500, largest=5000),
        )
        return pb.ListLogsResponse(lines=page.items, next_page_token=page.next_token)

    async def GetTrace(
        self, request: pb.GetTraceRequest, context: Context[pb.GetTraceRequest, pb.GetTraceResponse]
    ) -> pb.GetTraceResponse:
        """Return the spans of a deployment."""
        return await self._traces.of(reference_of(request.name))

    # streams

    def WatchDeployment(  # type: ignore[override]  # yields messages already serialised, once for all watchers
        self,
        request: pb.WatchDeploymentRequest,
        context: Context[pb.WatchDeploymentRequest, pb.WatchDeploymentResponse],
    ) -> AsyncIterator[bytes]:
        """Stream a deployment to its end."""
        return self._watches.one(request)

    def WatchDeployments(  # type: ignore[override]  # as above
        self,
        request: pb.WatchDeploymentsRequest,
        context: Context[pb.WatchDeploymentsRequest, pb.WatchDeploymentsResponse],
    ) -> AsyncIterator[bytes]:
        """Stream all deployments below a parent."""
        return self._watches.many(request)

    async def TailLogs(
        self, request: pb.TailLogsRequest, context: Context[pb.TailLogsRequest, pb.TailLogsResponse]
    ) -> AsyncIterator[pb.TailLogsResponse]:
        """Stream log lines to the end of the deployment."""
        async for lines in self._tail.follow(
            reference_of(request.name), stage=request.stage, step=request.step, after=request.after_sequence
        ):
            yield pb.TailLogsResponse(lines=lines)


def _deploy_wish(request: pb.DeployRequest | pb.PlanDeploymentRequest, reason: str) -> DeployWish:
    return DeployWish(
        pipeline=request.pipeline.removeprefix("pipelines/"),
        version=request.version,
        environment=request.environment,
        variables=dict(request.variables),
        reason=reason,
        from_environment=request.from_environment,
        priority=request.priority,
        skip_order=request.skip_order,
    )


def _refuse_bad_wish(request: pb.DeployRequest | pb.PlanDeploymentRequest, *, needs_reason: bool = False) -> None:
    """Raises InvalidInput with all that is wrong with the shape, and with fields that need one another."""
    violations = list(shape_violations())
    if not request.version and not request.from_environment:
        violations.append(Violation("version", "has to be given, or from_environment", "REQUIRED"))
    if needs_reason and isinstance(request, pb.DeployRequest) and not request.reason:
        violations.append(Violation("reason", "has to be given with skip_order", "REQUIRED"))
    if violations:
        raise InvalidInput(violations)


def _refusal(refusal: Conflict) -> pb.DeployRefusal:
    holder = refusal.holder if isinstance(refusal, EnvironmentOccupied) else ""
    return pb.DeployRefusal(reason=refusal.reason, message=refusal.message, holder=holder, metadata=refusal.metadata)
