"""The `opsuite` command. One module per noun; each imports gRPC only when it is used, so that help is immediate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from opsuite_cli import (
    audit,
    deployments,
    differing,
    doctor,
    edges,
    environments,
    health,
    history,
    hosts,
    importing,
    init,
    options,
    pipelines,
    repo,
    rollouts,
    scaling,
    steering,
    traffic,
    up,
    workloads,
)
from opsuite_cli.healing import alerts, checks, incidents, people, remedies, runbooks
from opsuite_cli.options import Anywhere, Options, Output

app = typer.Typer(
    cls=Anywhere,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Operations for a fleet: deployments that go back by themselves.",
)


@app.callback()
def common(
    address: Annotated[
        str | None,
        typer.Option(help="Server: host:port or unix:///path; else OPSUITE_DEPLOYER_ADDRESS, else the local socket."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token; else OPSUITE_TOKEN_FILE, else the local one.")
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How answers are printed.")] = Output.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --output json.")] = False,
) -> None:
    """Options that may stand anywhere on the command line."""
    options.choose(Options(address, token_file, Output.JSON if as_json else output))


START, DEPLOY, STEER, HEAL, KEEP, LOOK = "Start", "Deploy", "Steer", "Heal", "Keep", "Look"
_COMMANDS: dict[str, list[Callable[..., None]]] = {
    START: [init.init, up.up, up.down, pipelines.apply],
    DEPLOY: [
        deployments.deploy,
        deployments.plan,
        differing.diff,
        deployments.watch,
        deployments.explain,
        deployments.logs,
    ],
    STEER: [
        steering.cancel,
        steering.pause,
        steering.resume,
        steering.retry,
        steering.retry_step,
        steering.skip_step,
        steering.rollback,
        environments.lock,
        environments.unlock,
    ],
    LOOK: [history.history, history.trace, health.health, doctor.doctor, doctor.version],
}
for panel, commands in _COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.command("import", rich_help_panel=START)(importing.import_)
edges.app.command("list")(traffic.list_edges)
edges.app.command("forget")(traffic.forget_edge)
app.add_typer(pipelines.app, name="pipeline", rich_help_panel=START)
app.add_typer(rollouts.app, name="rollout", rich_help_panel=STEER)
app.add_typer(traffic.app, name="traffic", rich_help_panel=STEER)
app.add_typer(scaling.app, name="scaling", rich_help_panel=STEER)
app.add_typer(checks.app, name="check", rich_help_panel=HEAL)
app.add_typer(alerts.app, name="alert", rich_help_panel=HEAL)
app.add_typer(alerts.silences, name="silence", rich_help_panel=HEAL)
app.add_typer(incidents.app, name="incident", rich_help_panel=HEAL)
app.add_typer(remedies.app, name="heal", rich_help_panel=HEAL)
app.add_typer(runbooks.app, name="runbook", rich_help_panel=HEAL)
app.add_typer(people.receivers, name="receiver", rich_help_panel=HEAL)
app.add_typer(people.escalations, name="escalation", rich_help_panel=HEAL)
app.add_typer(workloads.app, name="workload", rich_help_panel=LOOK)
app.add_typer(environments.app, name="env", rich_help_panel=LOOK)
app.add_typer(repo.app, name="repo", rich_help_panel=KEEP)
app.add_typer(edges.app, name="edge", rich_help_panel=START)
app.add_typer(hosts.app, name="host", rich_help_panel=START)
app.add_typer(audit.app, name="audit", rich_help_panel=LOOK)
