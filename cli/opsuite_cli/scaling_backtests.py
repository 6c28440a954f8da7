"""Rehearsals: backtests with their plots, and forecasts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import scaling_words, screen
from opsuite_cli.deployments import duration
from opsuite_cli.importing import documents_in, text_of
from opsuite_cli.scaling_calls import Client, full, refuse, request_id, short, talk
from opsuite_cli.scaling_traces import WORDS, source_of
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

if TYPE_CHECKING:
    from opsuite.scaler.v1.forecast_service_pb2 import Forecast
    from opsuite.scaler.v1.simulation_service_pb2 import Backtest, Contender, RunBacktestRequest

BASELINES = ("hpa", "kpa", "threshold", "optimum")
FAILED = 4
"""Exit status of a backtest that failed or was cancelled."""


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(backtest)
    app.command()(forecast)


def backtest(  # a command has as many options as people need
    policies: Annotated[
        list[str],
        typer.Argument(
            metavar="POLICY…", help="Names or documents of policies; hpa, kpa, threshold, optimum beside them."
        ),
    ],
    trace: Annotated[
        str,
        typer.Option("--trace", "-t", help=f"CSV file, {WORDS}."),
    ] = "daily_weekly",
    seed: Annotated[int, typer.Option(help="Of a generator.")] = 0,
    long: Annotated[
        timedelta | None,
        typer.Option(
            "--duration", parser=duration, help="Length of a generated trace, or how far back Prometheus is asked."
        ),
    ] = None,
    scale: Annotated[float | None, typer.Option(min=0.000001, help="Of a generator: multiplies the load.")] = None,
    query: Annotated[str, typer.Option(help="PromQL, for a trace out of Prometheus.")] = "",
    capacity: Annotated[float, typer.Option(min=0.000001, help="Load that one replica serves.")] = 100.0,
    startup: Annotated[
        timedelta | None, typer.Option(parser=duration, help="Until a replica serves; 30s if absent.")
    ] = None,
    initial: Annotated[int | None, typer.Option(min=0, help="Size at the beginning.")] = None,
    price: Annotated[float, typer.Option(min=0, help="Of a replica for an hour.")] = 1.0,
    plot: Annotated[Path | None, typer.Option("--plot", help="File for a picture: .png or .svg.")] = None,
    name: Annotated[str, typer.Option("--name", help="What it is called.")] = "",
) -> None:
    """Play policies against a load, and compare them: too few replicas, replica-hours, changes, reversals."""
    from opsuite.scaler.v1.simulation_service_pb2 import Plant, RunBacktestRequest

    if plot is not None and plot.suffix not in (".png", ".svg"):
        refuse(InvalidInput([Violation("--plot", "must end in .png or .svg")]))
    plant = Plant(capacity_per_replica=capacity, price_per_replica_hour=price, initial_replicas=initial)
    if startup is not None:
        plant.startup_delay.FromTimedelta(startup)
    try:
        source = source_of(trace, seed=seed, long=long, scale=scale, query=query)
        request = RunBacktestRequest(
            request_id=request_id(),
            trace=source,
            contenders=[_contender(one) for one in policies],
            plant=plant,
            keep_series=plot is not None,
            display_name=name,
        )
    except OpsuiteError as error:
        refuse(error)

    async def work(client: Client) -> tuple[Backtest, bytes]:
        found = await _followed(client, request)
        return found, await _drawn(client, found, plot) if plot is not None and found.reports else b""

    found, image = talk(work)
    if plot is not None and image:
        plot.write_bytes(image)
    _print(found, plot)


def forecast(
    name: Annotated[str, typer.Argument(metavar="POLICY", help="Name of the policy.")],
    refresh: Annotated[bool, typer.Option("--refresh", help="Make it anew from the history.")] = False,
) -> None:
    """Show what is foreseen, and how well that went lately."""

    async def work(client: Client) -> Forecast:
        from opsuite.scaler.v1.forecast_service_pb2 import GetForecastRequest, RefreshForecastRequest

        if refresh:
            return (await client.forecasts.RefreshForecast(RefreshForecastRequest(name=full(name)))).forecast
        return (await client.forecasts.GetForecast(GetForecastRequest(name=full(name)))).forecast

    found = talk(work)
    if not screen.wants_table():
        screen.document(found)
        return
    error, seen = found.error, found.foreseen
    screen.say(f"{short(name)}: {found.metric} by {found.model}, {found.horizon.ToTimedelta()} ahead", "bold")
    screen.say(f"  now:   {seen.replicas} replicas, {'used' if seen.usable else 'not used'}: {seen.note}")
    screen.say(f"  error: {error.model_error:.3g}, of a naive forecast {error.naive_error:.3g} ({error.points} points)")
    rows = [[one.time.ToJsonString(), f"{one.value:.4g}", str(one.replicas)] for one in found.points[:24]]
    screen.table(["TIME", "LOAD", "REPLICAS"], rows)


async def _followed(client: Client, request: RunBacktestRequest) -> Backtest:
    """Run it, and show how far it is where somebody watches."""
    found: Backtest | None = None
    async for answer in client.simulations.RunBacktest(request):
        if answer.HasField("backtest"):
            found = answer.backtest
        elif screen.is_watched() and screen.wants_table():
            screen.console().print(f"\r{100 * answer.progress:3.0f} %", end="")
    if screen.is_watched() and screen.wants_table():
        screen.console().print("\r      \r", end="")
    assert found is not None  # noqa: S101  # the last answer holds it
    return found


async def _drawn(client: Client, found: Backtest, file: Path) -> bytes:
    """A picture of it, of the kind that the file's name says."""
    from opsuite.scaler.v1.simulation_service_pb2 import PLOT_FORMAT_PNG, PLOT_FORMAT_SVG, PlotBacktestRequest

    format_ = PLOT_FORMAT_SVG if file.suffix == ".svg" else PLOT_FORMAT_PNG
    return (await client.simulations.PlotBacktest(PlotBacktestRequest(name=found.name, format=format_))).image


def _print(found: Backtest, plot: Path | None) -> None:
    from opsuite.scaler.v1.simulation_service_pb2 import BACKTEST_STATE_SUCCEEDED

    if not screen.wants_table():
        screen.document(found)
    elif found.reports:
        screen.table(scaling_words.REPORT_HEAD, [scaling_words.report_row(one) for one in found.reports])
        screen.say(f"{short(found.name)}: {found.ticks} ticks" + (f"; drawn in {plot}" if plot else ""))
    if found.state != BACKTEST_STATE_SUCCEEDED:
        screen.complain([f"the backtest did not end well: {found.error}"])
        raise typer.Exit(FAILED)


def _contender(policy: str) -> Contender:
    """A baseline, the policy of a file, or a recorded one."""
    from opsuite.scaler.v1.simulation_service_pb2 import Contender
    from opsuite_cli.scaling_documents.document import is_policy, policy_in

    if policy in BASELINES:
        return Contender(name=policy, baseline=policy)
    file = Path(policy)
    if not file.is_file():
        return Contender(name=short(policy), policy_name=full(policy))
    known = [one for one in documents_in(text_of(file)) if is_policy(one)]
    if len(known) != 1:
        raise InvalidInput([Violation(policy, "must hold one ScalingPolicy")])
    found = policy_in(known[0])
    return Contender(name=short(found.name), policy=found)
