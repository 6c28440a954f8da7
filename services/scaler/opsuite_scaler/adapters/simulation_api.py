"""SimulationService: messages in, one use case, messages out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from opsuite.scaler.v1 import simulation_service_pb2 as pb
from opsuite.scaler.v1 import simulation_service_pb2_grpc as stubs
from opsuite_kernel.errors import Conflict, InvalidInput, Violation
from opsuite_scaler.adapters.calls import Context, call_of, page_size, policy_id
from opsuite_scaler.adapters.plots import plot
from opsuite_scaler.adapters.policy_messages import policy_of
from opsuite_scaler.adapters.simulation_messages import (
    BACKTESTS,
    TRACES,
    backtest_message,
    difference_messages,
    imported,
    report_message,
    site_of,
    trace_message,
    wanted_of,
)
from opsuite_scaler.application.rehearsal import BacktestState, Job
from opsuite_scaler.application.simulations import Simulations
from opsuite_scaler.application.trace_sources import TraceSources
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender

ID_LENGTH: Final = 26
NEEDS_A_METRIC: Final = (Baseline.KPA, Baseline.THRESHOLD)


class SimulationServicer(stubs.SimulationServiceServicer):
    """Serves the contract of backtests and traces."""

    def __init__(self, simulations: Simulations, traces: TraceSources) -> None:
        self._simulations = simulations
        self._traces = traces

    async def RunBacktest(
        self, request: pb.RunBacktestRequest, context: Context[pb.RunBacktestRequest, pb.RunBacktestResponse]
    ) -> AsyncIterator[pb.RunBacktestResponse]:
        """Play, and stream how far it is."""
        call = call_of(request)
        job = await self._job(request.trace, request.contenders, request.plant)
        backtest = await self._simulations.run(
            replace(job, keep_series=request.keep_series), request.display_name, call
        )
        async for record in self._simulations.follow(backtest):
            message = backtest_message(record) if record.state is not BacktestState.RUNNING else None
            yield pb.RunBacktestResponse(name=BACKTESTS + backtest, progress=record.progress, backtest=message)

    async def GetBacktest(
        self, request: pb.GetBacktestRequest, context: Context[pb.GetBacktestRequest, pb.GetBacktestResponse]
    ) -> pb.GetBacktestResponse:
        """Return a backtest."""
        record = await self._simulations.get(_id(request.name))
        return pb.GetBacktestResponse(backtest=backtest_message(record))

    async def ListBacktests(
        self, request: pb.ListBacktestsRequest, context: Context[pb.ListBacktestsRequest, pb.ListBacktestsResponse]
    ) -> pb.ListBacktestsResponse:
        """Return a page of backtests."""
        token = request.page_token
        if token and (len(token) != ID_LENGTH or not token.isalnum()):
            raise InvalidInput([Violation("page_token", "is none that this server gave", "TOKEN")])
        page = await self._simulations.page(page_size(request.page_size), token)
        found = [backtest_message(record) for record in page.records]
        return pb.ListBacktestsResponse(backtests=found, next_page_token=page.next_before)

    async def CancelBacktest(
        self, request: pb.CancelBacktestRequest, context: Context[pb.CancelBacktestRequest, pb.CancelBacktestResponse]
    ) -> pb.CancelBacktestResponse:
        """End a backtest."""
        record = await self._simulations.cancel(_id(request.name))
        return pb.CancelBacktestResponse(backtest=backtest_message(record))

    async def ComparePolicies(
        self,
        request: pb.ComparePoliciesRequest,
        context: Context[pb.ComparePoliciesRequest, pb.ComparePoliciesResponse],
    ) -> pb.ComparePoliciesResponse:
        """Play two policies and tell where they differ."""
        job = await self._job(request.trace, [request.first, request.second], request.plant)
        outcome = await self._simulations.compare(job)
        first, second = outcome.played
        return pb.ComparePoliciesResponse(
            first=report_message(first),
            second=report_message(second),
            differences=difference_messages(outcome.partings, job.trace.start),
            difference_count=len(outcome.partings),
        )

    async def PlotBacktest(
        self, request: pb.PlotBacktestRequest, context: Context[pb.PlotBacktestRequest, pb.PlotBacktestResponse]
    ) -> pb.PlotBacktestResponse:
        """Draw a backtest."""
        record = await self._simulations.get(_id(request.name))
        if record.state is not BacktestState.SUCCEEDED:
            raise Conflict(f"{request.name} is {record.state.value}", reason="NOT_ENDED")
        kind = "svg" if request.format == pb.PLOT_FORMAT_SVG else "png"
        title = record.display_name or request.name
        image = await asyncio.to_thread(plot, title, record.played, kind)
        return pb.PlotBacktestResponse(image=image, content_type="image/svg+xml" if kind == "svg" else "image/png")

    async def ImportTrace(
        self, request: pb.ImportTraceRequest, context: Context[pb.ImportTraceRequest, pb.ImportTraceResponse]
    ) -> pb.ImportTraceResponse:
        """Keep a trace."""
        kept = imported(request)
        await self._simulations.keep_trace(kept, call_of(request), replace=request.replace)
        return pb.ImportTraceResponse(name=TRACES + kept.name, points=len(kept.trace.values))

    async def ExportTrace(
        self, request: pb.ExportTraceRequest, context: Context[pb.ExportTraceRequest, pb.ExportTraceResponse]
    ) -> pb.ExportTraceResponse:
        """Return a trace."""
        kept = await self._traces.trace(wanted_of(request.trace))
        if request.as_csv:
            return pb.ExportTraceResponse(csv=kept.trace.written().encode())
        return pb.ExportTraceResponse(trace=trace_message(kept))

    async def _job(self, trace: pb.TraceSource, messages: Sequence[pb.Contender], plant: pb.Plant) -> Job:
        """What is to be played. Raises NotFound, InvalidInput, Unavailable."""
        policies = [await self._policy(one) for one in messages]
        first = next((one for one in policies if one is not None), None)
        if first is None:
            raise InvalidInput([Violation("contenders", "must hold a policy, whose metrics and bounds baselines take")])
        if len({one.name for one in messages}) != len(messages):
            raise InvalidInput([Violation("contenders", "must have names of their own", "UNIQUE")])
        contenders = tuple(
            Contender(one.name, policy or first, Baseline(one.baseline) if one.baseline else None)
            for one, policy in zip(messages, policies, strict=True)
        )
        if not first.metrics and any(one.baseline in NEEDS_A_METRIC for one in contenders):
            raise InvalidInput([Violation("contenders", "must hold a policy with a metric, for baselines to go by")])
        kept = await self._traces.trace(wanted_of(trace))
        return Job(kept.trace, contenders, site_of(plant, first))

    async def _policy(self, contender: pb.Contender) -> ScalingPolicy | None:
        """The policy of a contender; None for a baseline."""
        match contender.WhichOneof("contender"):
            case "policy":
                return policy_of(contender.policy)
            case "policy_name":
                return await self._traces.policy(policy_id(contender.policy_name))
            case _:
                return None


def _id(name: str) -> str:
    return name.removeprefix(BACKTESTS)
