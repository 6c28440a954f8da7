"""HealthCheckService: checks, and the health that they find."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

import grpc

from opsuite.healer.v1 import check_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite.healer.v1 import health_check_service_pb2_grpc as stubs
from opsuite_healer.adapters.checks.check_messages import (
    CHANGEABLE,
    document_of,
    flap_levels_of,
    merged,
    spec_of,
    thresholds_of,
)
from opsuite_healer.adapters.checks.health_messages import answer_message, check_message, flap_state_message
from opsuite_healer.adapters.checks.outcomes import OUTCOMES, OUTCOMES_OF
from opsuite_healer.adapters.checks.queries import Queries
from opsuite_healer.adapters.checks.watches import Watches
from opsuite_healer.adapters.target_messages import target_from
from opsuite_healer.application.checks.checks import Changed, Checks, SaidNow, Wanted
from opsuite_healer.application.names import CHECKS, id_of
from opsuite_healer.domain.checks.flapping import FlapLevels, FlapStep, evaluate
from opsuite_healer.domain.checks.standing import together, worst
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_probes.port import Outcome
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import page_size, timestamp
from opsuite_runs.calls import call_of

Context = grpc.aio.ServicerContext
NEVER = FlapLevels(high=float("inf"))


class HealthCheckServicer(stubs.HealthCheckServiceServicer):
    """Serves the contract of checks."""

    def __init__(self, checks: Checks, queries: Queries, watches: Watches) -> None:
        self._checks = checks
        self._queries = queries
        self._watches = watches

    async def CreateCheck(
        self, request: pb.CreateCheckRequest, context: Context[pb.CreateCheckRequest, pb.CreateCheckResponse]
    ) -> pb.CreateCheckResponse:
        """Record a check."""
        audited_as(request.check.name)
        wanted = _wanted(request.check)
        shown = await self._checks.create(wanted, call_of(request), only_validate=request.validate_only)
        return pb.CreateCheckResponse(check=check_message(shown.record, shown.subjects))

    async def GetCheck(
        self, request: pb.GetCheckRequest, context: Context[pb.GetCheckRequest, pb.GetCheckResponse]
    ) -> pb.GetCheckResponse:
        """Return a check and how it stands."""
        shown = await self._checks.get(id_of(request.name))
        return pb.GetCheckResponse(check=check_message(shown.record, shown.subjects))

    async def ListChecks(
        self, request: pb.ListChecksRequest, context: Context[pb.ListChecksRequest, pb.ListChecksResponse]
    ) -> pb.ListChecksResponse:
        """Return a page of checks."""
        size = page_size(request.page_size)
        found, token = await self._queries.checks(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListChecksResponse(checks=found, next_page_token=token)

    async def UpdateCheck(
        self, request: pb.UpdateCheckRequest, context: Context[pb.UpdateCheckRequest, pb.UpdateCheckResponse]
    ) -> pb.UpdateCheckResponse:
        """Change a check."""
        audited_as(request.check.name)
        new, fields = request.check, _fields(request)

        def of(document: bytes) -> Wanted:
            return _wanted(merged(check_pb2.Check.FromString(document), new, fields))

        shown = await self._checks.update(id_of(new.name), Changed(new.etag, of), call_of(request))
        return pb.UpdateCheckResponse(check=check_message(shown.record, shown.subjects))

    async def DeleteCheck(
        self, request: pb.DeleteCheckRequest, context: Context[pb.DeleteCheckRequest, pb.DeleteCheckResponse]
    ) -> pb.DeleteCheckResponse:
        """Forget a check."""
        audited_as(request.name)
        await self._checks.delete(id_of(request.name), request.etag, call_of(request))
        return pb.DeleteCheckResponse()

    async def CheckAll(
        self, request: pb.CheckAllRequest, context: Context[pb.CheckAllRequest, pb.CheckAllResponse]
    ) -> pb.CheckAllResponse:
        """Let checks look soon."""
        audited_as(f"{CHECKS}-", group=request.group)
        count, outcomes = await self._checks.check_all(request.group, call_of(request))
        known = Counter(outcomes)
        return pb.CheckAllResponse(
            checks=count,
            healthy=known[Outcome.HEALTHY],
            unhealthy=known[Outcome.UNHEALTHY],
            unknown=known[Outcome.UNKNOWN],
        )

    async def CheckTarget(
        self, request: pb.CheckTargetRequest, context: Context[pb.CheckTargetRequest, pb.CheckTargetResponse]
    ) -> pb.CheckTargetResponse:
        """Ask the checks of a target now."""
        target = target_from(request.target)
        audited_as(target.canonical)
        standings, said = await self._checks.check_target(target, call_of(request))
        outcome, since = together(standings)
        deciding = worst(standings)
        return pb.CheckTargetResponse(
            outcome=OUTCOMES[outcome],
            since=timestamp(since),
            is_flapping=any(one.is_flapping for one in standings),
            message=deciding.message if deciding else "",
            answers=[_said(one) for one in said],
        )

    async def WatchHealth(
        self, request: pb.WatchHealthRequest, context: Context[pb.WatchHealthRequest, pb.WatchHealthResponse]
    ) -> AsyncIterator[pb.WatchHealthResponse]:
        """Stream how checks stand."""
        async for answer in self._watches.follow(request):
            yield answer

    async def GetFlapState(
        self, request: pb.GetFlapStateRequest, context: Context[pb.GetFlapStateRequest, pb.GetFlapStateResponse]
    ) -> pb.GetFlapStateResponse:
        """Return why a check flaps, or does not."""
        shown = await self._checks.get(id_of(request.name))
        levels = shown.record.spec.flapping or NEVER
        meant = [one for one in shown.subjects if not request.replica or one.replica == request.replica]
        return pb.GetFlapStateResponse(
            high_percent=levels.high, low_percent=levels.low, states=[flap_state_message(one) for one in meant]
        )

    async def EvaluateFlapping(
        self,
        request: pb.EvaluateFlappingRequest,
        context: Context[pb.EvaluateFlappingRequest, pb.EvaluateFlappingResponse],
    ) -> pb.EvaluateFlappingResponse:
        """Return what a series of answers would make of a check."""
        levels = flap_levels_of(request.flapping)
        if levels is not None and levels.low > levels.high:
            raise InvalidInput([Violation("flapping.low_percent", "is more than high_percent", "REVERSED")])
        answers = [OUTCOMES_OF[number] for number in request.answers]
        steps = evaluate(answers, thresholds_of(request), levels)
        return pb.EvaluateFlappingResponse(steps=[_step(one) for one in steps])


def _wanted(message: check_pb2.Check) -> Wanted:
    return Wanted(spec_of(message), document_of(message))


def _fields(request: pb.UpdateCheckRequest) -> list[str]:
    """What an update changes. Raises InvalidInput."""
    fields = list(dict.fromkeys(request.update_mask.paths)) or list(CHANGEABLE)
    if wrong := [path for path in fields if path not in CHANGEABLE]:
        told = f"names {', '.join(wrong)}; what can be changed is {', '.join(CHANGEABLE)}"
        raise InvalidInput([Violation("update_mask", told, "UNKNOWN_FIELD")])
    return fields


def _said(one: SaidNow) -> pb.TargetAnswer:
    return pb.TargetAnswer(check=one.check, replica=one.replica, answer=answer_message(one.answer))


def _step(step: FlapStep) -> pb.FlapStep:
    return pb.FlapStep(
        verdict=OUTCOMES[step.health.verdict or Outcome.UNKNOWN],
        successes=step.health.successes,
        failures=step.health.failures,
        counts=step.counts,
        percent=step.flap.percent,
        is_flapping=step.flap.is_flapping,
    )
