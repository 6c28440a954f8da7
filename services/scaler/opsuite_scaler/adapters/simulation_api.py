"""SimulationService: messages in, one use case, messages out."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from typing import Final

from opsuite.scaler.v1 import simulation_service_pb2 as pb
from opsuite.scaler.v1 import simulation_service_pb2_grpc as stubs
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Violation
from opsuite_rpc.values import page_size
from opsuite_runs.calls import call_of
from opsuite_scaler.adapters.calls import Context, policy_id
from opsuite_scaler.adapters.formulas import CelFormulas
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
from opsuite_scaler.application.rehearsal import BacktestState, Job, KeptTrace
from opsuite_scaler.application.simulations import Simulations
from opsuite_scaler.application.trace_sources import TraceSources, Wanted, refuse_impossible
from opsuite_scaler.domain.policy import ScalingPolicy
from opsuite_scaler.domain.rules import violations
from opsuite_scaler.domain.simulation.contenders import Baseline, Contender

ID_LENGTH: Final = 26
NEEDS_A_METRIC: Final = (Baseline.KPA, Baseline.THRESHOLD)
LARGEST_ANSWER_BYTES: Final = 4 * 1024 * 1024
"""What every gRPC client takes unless it is told otherwise."""
LARGEST_NUMBER: Final = 1e12
"""Of a plant: whatever is reckoned with it stays finite."""


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
        players = {f"contenders[{index}]": one for index, one in enumerate(request.contenders)}
        job = await self._job(request.trace, players, request.plant)
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
        fit = fitting([one.ByteSize() for one in found])
        token = page.next_before if fit == len(found) else page.records[fit - 1].id
        return pb.ListBacktestsResponse(backtests=found[:fit], next_page_token=token)

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
        job = await self._job(request.trace, {"first": request.first, "second": request.second}, request.plant)
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
        kept = _imported(request)
        await self._simulations.keep_trace(kept, call_of(request), replace=request.replace)
        return pb.ImportTraceResponse(name=TRACES + kept.name, points=len(kept.trace.values))

    async def ExportTrace(
        self, request: pb.ExportTraceRequest, context: Context[pb.ExportTraceRequest, pb.ExportTraceResponse]
    ) -> pb.ExportTraceResponse:
        """Return a trace."""
        kept = await self._trace(request.trace)
        answer = await asyncio.to_thread(_exported, kept, as_csv=request.as_csv)
        if (size := answer.ByteSize()) > LARGEST_ANSWER_BYTES:
            problem = f"gives {size} bytes, and an answer has {LARGEST_ANSWER_BYTES}: ask for less time or longer steps"
            raise InvalidInput([Violation("trace", problem, "TOO_LONG")], reason="ANSWER_TOO_LARGE")
        return answer

    async def _job(self, trace: pb.TraceSource, players: Mapping[str, pb.Contender], plant: pb.Plant) -> Job:
        """What is to be played by those at these paths. Raises NotFound, InvalidInput, Unavailable."""
        refusals = Refusals()
        policies: dict[str, ScalingPolicy] = {}
        for path, one in players.items():
            with refusals.gathered():
                if (policy := await self._policy(path, one)) is not None:
                    policies[path] = policy
        with refusals.gathered():
            _refuse_same_names(players)
        with refusals.gathered():
            _refuse_huge(plant)
        with refusals.gathered():
            kept = await self._trace(trace)
        refusals.tell()
        first = _lender(players, policies)
        contenders = tuple(
            Contender(one.name, policies.get(path, first), Baseline(one.baseline) if one.baseline else None)
            for path, one in players.items()
        )
        return Job(kept.trace, contenders, site_of(plant, first))

    async def _policy(self, path: str, contender: pb.Contender) -> ScalingPolicy | None:
        """The policy of a contender; None for a baseline. Raises NotFound, InvalidInput."""
        match contender.WhichOneof("contender"):
            case "policy":
                return _policy_of(contender, f"{path}.policy")
            case "policy_name":
                return await self._traces.policy(policy_id(contender.policy_name))
            case _:
                return None

    async def _trace(self, source: pb.TraceSource) -> KeptTrace:
        """The trace that is meant. Raises NotFound, InvalidInput, Unavailable."""
        kept = await self._traces.trace(_wanted(source))
        refuse_impossible(kept.trace, f"trace.{source.WhichOneof('source')}")
        return kept


class Refusals:
    """What is wrong with the parts of a request, gathered so that all of it is told at once."""

    def __init__(self) -> None:
        self._invalid: list[InvalidInput] = []
        self._missing: list[NotFound] = []

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Go on after whatever is refused in here."""
        try:
            yield
        except InvalidInput as error:
            self._invalid.append(error)
        except NotFound as error:
            self._missing.append(error)

    def tell(self) -> None:
        """Raises: InvalidInput (all that was invalid), else NotFound (the first that does not exist)."""
        if self._invalid:
            reasons = {error.reason for error in self._invalid}
            found = [violation for error in self._invalid for violation in error.violations]
            raise InvalidInput(found, reason=reasons.pop() if len(reasons) == 1 else None)
        if self._missing:
            raise self._missing[0]


def fitting(sizes: Sequence[int]) -> int:
    """How many messages of these sizes fit into one answer: at least the first. A few bytes tell where each begins."""
    room = LARGEST_ANSWER_BYTES - 4096  # for the token
    fit = sum(total <= room for total in accumulate(size + 8 for size in sizes))
    return max(fit, min(1, len(sizes)))


# --- what is refused -------------------------------------------------------------------------------------------------


def _policy_of(contender: pb.Contender, path: str) -> ScalingPolicy:
    """The policy that a contender brings. Raises InvalidInput; its target counts for nothing."""
    try:
        policy = policy_of(contender.policy)
    except (ValueError, OverflowError) as error:  # the only time in a policy
        raise InvalidInput([Violation(f"{path}.mode.until", "is no time that a calendar holds", "RANGE")]) from error
    found = [one for one in violations(policy, CelFormulas().names) if not one.field.startswith("target.")]
    if found:
        raise InvalidInput([one.below(path) for one in found], reason="POLICY_INVALID")
    return policy


def _refuse_same_names(players: Mapping[str, pb.Contender]) -> None:
    first: dict[str, str] = {}
    taken = [path for path, one in players.items() if first.setdefault(one.name, path) != path]
    if taken:
        raise InvalidInput([Violation(f"{path}.name", "must be its own", "UNIQUE") for path in taken])


def _refuse_huge(plant: pb.Plant) -> None:
    numbers = {field.name: value for field, value in plant.ListFields() if isinstance(value, float)}
    huge = [name for name, value in numbers.items() if not value <= LARGEST_NUMBER]  # so is what is no number
    if huge:
        raise InvalidInput(
            [Violation(f"plant.{name}", f"must be at most {LARGEST_NUMBER:g}", "RANGE") for name in huge]
        )


def _lender(players: Mapping[str, pb.Contender], policies: Mapping[str, ScalingPolicy]) -> ScalingPolicy:
    """The first policy, whose metrics and bounds baselines take. Raises InvalidInput (it lacks what they need)."""
    baselines = {path: Baseline(one.baseline) for path, one in players.items() if path not in policies}
    lender = next(iter(policies.values()), None)
    if lender is None:
        problem, wanting = "takes metrics and bounds of a policy: the request must hold a policy", list(baselines)
    else:
        problem = "needs a policy with a metric to go by"
        wanting = [path for path, one in baselines.items() if one in NEEDS_A_METRIC and not lender.metrics]
    if lender is None or wanting:
        raise InvalidInput([Violation(f"{path}.baseline", problem) for path in wanting])
    return lender


# --- traces ----------------------------------------------------------------------------------------------------------


def _wanted(source: pb.TraceSource) -> Wanted:
    """Which trace is meant. Raises InvalidInput, at paths from the request on."""
    path = f"trace.{source.WhichOneof('source')}"
    try:
        return wanted_of(source)
    except InvalidInput as error:
        found = [replace(one, field=one.field.removeprefix("trace.")).below(path) for one in error.violations]
        raise InvalidInput(found, reason=error.reason) from error
    except (ValueError, OverflowError) as error:  # a time would be told above; so it is a duration
        raise InvalidInput([Violation(f"{path}.step", "is longer than can be reckoned with", "RANGE")]) from error


def _imported(request: pb.ImportTraceRequest) -> KeptTrace:
    """The trace that is to be kept. Raises InvalidInput."""
    content = request.WhichOneof("content") or "trace"
    try:
        kept = imported(request)
    except InvalidInput as error:
        if [one.field for one in error.violations] != ["start_time"]:
            raise
        raise InvalidInput([one.below("trace") for one in error.violations], reason=error.reason) from error
    except (csv.Error, ValueError, OverflowError) as error:
        raise InvalidInput([Violation(content, f"cannot be read: {error}")], reason="TRACE_INVALID") from error
    refuse_impossible(kept.trace, content)
    return kept


def _exported(kept: KeptTrace, *, as_csv: bool) -> pb.ExportTraceResponse:
    if as_csv:
        return pb.ExportTraceResponse(csv=kept.trace.written().encode())
    return pb.ExportTraceResponse(trace=trace_message(kept))


def _id(name: str) -> str:
    return name.removeprefix(BACKTESTS)
