"""Runbooks: work of several steps, with people in it where they are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opsuite_cli import screen
from opsuite_cli.deployments import variables
from opsuite_cli.exit_statuses import FAILED
from opsuite_cli.healing import resources, words
from opsuite_cli.healing.calls import Client, ask, talk
from opsuite_cli.healing.resources import RUNBOOK
from opsuite_cli.healing.targets import Target
from opsuite_cli.importing import documents_in, text_of
from opsuite_cli.scaling_calls import refuse
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

app = typer.Typer(no_args_is_help=True, help="Runbooks: work of several steps.")
Execution = Annotated[str, typer.Argument(metavar="EXECUTION", help="Name of the execution, or RUNBOOK/ID.")]
Reason = Annotated[str, typer.Option("--message", "-m", help="Why, for the history.")]
SERVICE = "runbook_service"
HEAD = ["EXECUTION", "STATUS", "STEP", "BEGAN", "BY", "MESSAGE"]
OVER: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})

resources.add_to(
    app,
    RUNBOOK,
    ["RUNBOOK", "ISSUES", "STEPS", "DESCRIPTION"],
    lambda one: [
        words.short(one.name),
        ", ".join(one.issues) or "-",
        " → ".join(step.name for step in one.steps),
        one.display_name or one.description,
    ],
)


@app.command()
def validate(file: Annotated[Path, typer.Argument(help="Document of a runbook.")]) -> None:
    """Say what is wrong with a runbook; nothing is recorded."""
    try:
        found = [RUNBOOK.kind.read(one) for one in documents_in(text_of(file)) if RUNBOOK.kind.is_in(one)]
        if len(found) != 1:
            raise InvalidInput([Violation("kind", "the file must hold one Runbook")])
    except OpsuiteError as error:
        refuse(error)
    answer = ask(SERVICE, "ValidateRunbook", runbook=found[0])
    if not answer.valid:
        told = [Violation(one.field, one.description, one.reason) for one in answer.violations]
        refuse(InvalidInput([RUNBOOK.kind.in_document(one) for one in told]))
    screen.say(f"runbook {words.short(found[0].name)}: nothing is wrong with it")


@app.command()
def run(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="Name of the runbook.")],
    param: Annotated[list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE.")] = None,
    target: Annotated[str, typer.Option(help="What it is about: process/checkout.")] = "",
    incident: Annotated[str, typer.Option(help="Incident that it is about.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end; exit status 4 if it fails.")] = False,
) -> None:
    """Execute a runbook."""
    fields: dict[str, Any] = {"name": RUNBOOK.kind.full(runbook), "params": variables(param)}
    if target:
        fields["target"] = Target(target).message
    if incident:
        fields["incident"] = incident if incident.startswith("incidents/") else f"incidents/{incident}"
    execution = ask(SERVICE, "ExecuteRunbook", **fields).execution
    _print(execution, "begun")
    if wait:
        talk(lambda client: _follow(client, execution.name))


@app.command()
def executions(
    runbook: Annotated[str, typer.Argument(metavar="[RUNBOOK]", help="Which; without it all.")] = "-",
    active: Annotated[bool, typer.Option("--active", help="Only those under way.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List executions, the newest first."""
    answer = ask(SERVICE, "ListExecutions", parent=RUNBOOK.kind.full(runbook), page_size=limit, active_only=active)
    if not screen.wants_table():
        screen.document(list(answer.executions))
        return
    screen.table(HEAD, [_row(one) for one in answer.executions])


@app.command()
def show(execution: Execution) -> None:
    """Show an execution and its steps."""
    found = ask(SERVICE, "GetExecution", name=_full(execution)).execution
    if not screen.wants_table():
        screen.document(found)
        return
    screen.say(f"{_short(found.name)}  {words.word(found, 'status')}  {found.message}".rstrip(), "bold")
    cells = [
        [
            ("undo " if one.is_compensation else "") + one.step,
            words.word(one, "status"),
            one.action.kind or "question",
            str(one.attempts),
            words.when(one, "start_time"),
            one.inquiry.question if words.word(one, "status") == "ASKING" else one.message,
        ]
        for one in found.steps
    ]
    screen.table(["STEP", "STATUS", "WHAT", "TRIES", "BEGAN", "MESSAGE"], cells)


@app.command()
def watch(execution: Execution) -> None:
    """Follow an execution to its end; exit status 4 if it fails."""
    talk(lambda client: _follow(client, _full(execution)))


@app.command()
def pause(execution: Execution, message: Reason = "") -> None:
    """Begin no further step."""
    _print(ask(SERVICE, "PauseExecution", name=_full(execution), reason=message).execution, "pausing")


@app.command()
def resume(execution: Execution, message: Reason = "") -> None:
    """Go on."""
    _print(ask(SERVICE, "ResumeExecution", name=_full(execution), reason=message).execution, "going on")


@app.command()
def cancel(execution: Execution, message: Reason = "") -> None:
    """End it; what it has done is taken back as its steps say."""
    _print(ask(SERVICE, "CancelExecution", name=_full(execution), reason=message).execution, "being cancelled")


@app.command()
def answer(
    execution: Execution,
    step: Annotated[str, typer.Argument(metavar="STEP", help="Step that asks.")],
    approve: Annotated[bool, typer.Option("--yes/--no", help="Whether it may go on.")],
    field: Annotated[list[str] | None, typer.Option("--field", "-f", help="NAME=VALUE.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="A comment.")] = "",
) -> None:
    """Answer the question of a step."""
    reply = ask(
        SERVICE,
        "RespondInquiry",
        name=_full(execution),
        step=step,
        approved=approve,
        answers=variables(field),
        comment=message,
    )
    _print(reply.execution, "answered")


async def _follow(client: Client, name: str) -> None:
    """Tell what happens to an execution; ends the command with its exit status if it ended badly."""
    last = ""
    async for told in client.follow(SERVICE, "WatchExecution", name=name):
        if told.HasField("snapshot"):
            last = words.word(told.snapshot, "status")
        for event in told.events:
            last = words.word(event, "status")
            _tell(event)
        if last in OVER:
            break
    if last != "SUCCEEDED":
        raise typer.Exit(FAILED)


def _tell(event: Any) -> None:
    if not screen.wants_table():
        screen.document(event)
        return
    step = f"  {event.step.step} {words.word(event.step, 'status')}" if event.HasField("step") else ""
    message = event.message or (event.step.message if event.HasField("step") else "")
    screen.say(f"{words.when(event, 'time')}  {words.word(event, 'kind').lower()}{step}  {message}".rstrip())


def _full(typed: str) -> str:
    if typed.startswith("runbooks/"):
        return typed
    runbook, _, execution = typed.partition("/")
    if not execution:
        raise typer.BadParameter(f"{typed} is not RUNBOOK/ID")
    return f"runbooks/{runbook}/executions/{execution}"


def _short(name: str) -> str:
    _, runbook, _, execution = name.split("/")
    return f"{runbook}/{execution}"


def _row(one: Any) -> list[str]:
    step = one.steps[-1].step if one.steps else "-"
    began = f"{words.ago(one, 'create_time')} ago"
    return [_short(one.name), words.word(one, "status"), step, began, one.started_by, one.message]


def _print(execution: Any, done: str) -> None:
    if screen.wants_table():
        screen.say(f"execution {_short(execution.name)}: {done}, {words.word(execution, 'status')}")
    else:
        screen.document(execution)
