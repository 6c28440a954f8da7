"""Traces: which one a word means, and those that the scaler keeps."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.importing import text_of, write
from opsuite_cli.scaling_calls import Client, full, refuse, request_id, talk
from opsuite_kernel.errors import InvalidInput, NotFound, Violation

if TYPE_CHECKING:
    from opsuite.scaler.v1.simulation_service_pb2 import ImportTraceResponse, Trace, TraceSource

app = typer.Typer(no_args_is_help=True, help="Traces: load over time, for backtests.")
KEPT, RECORDED, MEASURED = "traces/", "recorded:", "prometheus:"
WORDS = "traces/NAME, a generator (daily_weekly), recorded:POLICY, or prometheus:SOURCE with --query"


def add_to(parent: typer.Typer) -> None:
    """Add the commands of this module."""
    parent.add_typer(app, name="trace")


@app.command("import")
def import_(
    name: Annotated[str, typer.Argument(help="Name to keep it under.")],
    file: Annotated[Path, typer.Argument(help="CSV: seconds or a time in ISO 8601, a value, and perhaps a mark.")],
    replace: Annotated[bool, typer.Option("--replace", help="In place of one of that name.")] = False,
) -> None:
    """Keep a trace on the server."""
    try:
        content = file.read_bytes()
    except OSError:
        refuse(NotFound("file", str(file)))

    async def work(client: Client) -> ImportTraceResponse:
        from opsuite.scaler.v1.simulation_service_pb2 import ImportTraceRequest

        kept = KEPT + name.removeprefix(KEPT)
        request = ImportTraceRequest(request_id=request_id(), name=kept, csv=content, replace=replace)
        return await client.simulations.ImportTrace(request)

    answer = talk(work)
    if screen.wants_table():
        screen.say(f"{answer.name}: {answer.points} points")
    else:
        screen.document(answer)


@app.command()
def export(
    trace: Annotated[str, typer.Argument(help=f"{WORDS}.")],
    seed: Annotated[int, typer.Option(help="Of a generator.")] = 0,
    query: Annotated[str, typer.Option(help="PromQL, for a trace out of Prometheus.")] = "",
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Where to write; else standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a trace as CSV."""
    try:
        source = source_of(trace, seed=seed, query=query)
    except InvalidInput as error:
        refuse(error)

    async def work(client: Client) -> bytes:
        from opsuite.scaler.v1.simulation_service_pb2 import ExportTraceRequest

        return (await client.simulations.ExportTrace(ExportTraceRequest(trace=source, as_csv=True))).csv

    text = talk(work).decode()
    if file is None:
        screen.say(text.rstrip())
    else:
        write(file, text, force=force)


def source_of(
    trace: str, *, seed: int = 0, long: timedelta | None = None, scale: float | None = None, query: str = ""
) -> TraceSource:
    """The load that a word means. `long` is how long a generated one is, or how far back Prometheus is asked.

    Raises: InvalidInput (a file that is no trace; Prometheus without a query).
    """
    from opsuite.scaler.v1.simulation_service_pb2 import Generator, RecordedTrace, TraceSource

    if Path(trace).is_file():
        return TraceSource(inline=_inline(Path(trace)))
    if trace.startswith(KEPT):
        return TraceSource(name=trace)
    if trace.startswith(RECORDED):
        return TraceSource(recorded=RecordedTrace(policy=full(trace.removeprefix(RECORDED))))
    if trace.startswith(MEASURED):
        return _measured(trace.removeprefix(MEASURED), query, long or timedelta(days=1))
    generator = Generator(name=trace, seed=seed, scale=scale)
    if long is not None:
        generator.duration.FromTimedelta(long)
    return TraceSource(generator=generator)


def _measured(source: str, query: str, long: timedelta) -> TraceSource:
    from opsuite.scaler.v1.simulation_service_pb2 import PrometheusRange, TraceSource

    if not query:
        raise InvalidInput([Violation("--query", "is needed for a trace out of Prometheus", "REQUIRED")])
    asked, now = PrometheusRange(source=source, query=query), datetime.now(UTC)
    asked.start_time.FromDatetime(now - long)
    asked.end_time.FromDatetime(now)
    return TraceSource(prometheus=asked)


def _inline(file: Path) -> Trace:
    """A CSV of times and values."""
    from opsuite.scaler.v1.simulation_service_pb2 import Trace

    rows = [row for row in csv.reader(text_of(file).splitlines()) if row]
    if rows and not any(character.isdigit() for character in "".join(rows[0])):
        rows = rows[1:]
    try:
        times, values = [_seconds(row[0]) for row in rows], [float(row[1]) for row in rows]
        step = times[1] - times[0]
    except (ValueError, IndexError) as error:
        problem = "must have a line for each step: seconds or a time in ISO 8601, and a value"
        raise InvalidInput([Violation(str(file), problem)]) from error
    uneven = [index for index, at in enumerate(times, 1) if abs(at - times[0] - (index - 1) * step) > abs(step) / 100]
    if step <= 0 or uneven:
        problem = "times must follow one another in equal steps"
        raise InvalidInput([Violation(f"{file}[{min(uneven, default=2)}]", problem)])
    message = Trace(values=values)
    message.step.FromTimedelta(timedelta(seconds=step))
    return message


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()
