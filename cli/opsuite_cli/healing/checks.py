"""Health checks: what is healthy, and since when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.healing import resources, words
from opsuite_cli.healing.calls import Client, ask, talk
from opsuite_cli.healing.resources import HEALTH_CHECK
from opsuite_cli.healing.targets import Target

app = typer.Typer(no_args_is_help=True, help="Health checks: what is healthy, and since when.")
Name = Annotated[str, typer.Argument(metavar="CHECK", help="Name of the check.")]
SERVICE = "health_check_service"
UNHEALTHY = 3
"""Exit status of `run` when something is not healthy."""


def row(check: Any) -> list[str]:
    """Cells of a check in a list."""
    since = min((one.since.seconds for one in check.health.subjects if one.HasField("since")), default=0)
    sick = [one for one in check.health.subjects if words.word(one, "outcome") == "UNHEALTHY"]
    told = sick[0].last.message if sick else ""
    flapping = " (flapping)" if any(one.is_flapping for one in check.health.subjects) else ""
    return [
        words.short(check.name),
        words.target(check),
        str(check.WhichOneof("probe") or "-"),
        "PAUSED" if check.paused else words.word(check.health, "outcome") + flapping,
        words.ago(min(check.health.subjects, key=lambda one: one.since.seconds), "since") if since else "-",
        told,
    ]


resources.add_to(app, HEALTH_CHECK, ["CHECK", "TARGET", "PROBE", "HEALTH", "SINCE", "LAST"], row)


@app.command()
def run(
    target: Annotated[
        str, typer.Argument(metavar="[TARGET]", help="process/checkout, or with #REPLICA; without it everything.")
    ] = "",
    group: Annotated[str, typer.Option(help="Without a target: only the checks of this group.")] = "",
) -> None:
    """Ask checks now. For a target the answers are waited for, and the exit status is 3 if it is unhealthy."""
    if not target:
        answer = ask(SERVICE, "CheckAll", group=group)
        if screen.wants_table():
            screen.say(
                f"{answer.checks} checks look now; before: {answer.healthy} healthy, {answer.unhealthy} unhealthy"
            )
        else:
            screen.document(answer)
        return
    answer = ask(SERVICE, "CheckTarget", target=Target(target).message)
    outcome = words.word(answer, "outcome")
    if screen.wants_table():
        screen.say(f"{target}: {outcome}  {answer.message}")
        cells = [
            [words.short(one.check), one.replica or "-", words.word(one.answer, "outcome"), one.answer.message]
            for one in answer.answers
        ]
        screen.table(["CHECK", "REPLICA", "HEALTH", "ANSWER"], cells)
    else:
        screen.document(answer)
    if outcome == "UNHEALTHY":
        raise typer.Exit(UNHEALTHY)


@app.command()
def watch(
    name: Annotated[str, typer.Argument(metavar="[CHECK]", help="Which; without it all.")] = "-",
) -> None:
    """Tell what happens to checks, until Ctrl-C."""

    async def work(client: Client) -> None:
        async for answer in client.follow(SERVICE, "WatchHealth", name=HEALTH_CHECK.kind.full(name)):
            for one in answer.snapshot.statuses if answer.HasField("snapshot") else ():
                screen.say(f"{words.short(one.name)}  {words.word(one, 'outcome')}")
            for event in answer.events:
                _tell(event)

    talk(work)


@app.command()
def flapping(name: Name) -> None:
    """Say why a check counts as flapping, or does not."""
    answer = ask(SERVICE, "GetFlapState", name=HEALTH_CHECK.kind.full(name))
    if not screen.wants_table():
        screen.document(answer)
        return
    screen.say(f"flaps from {answer.high_percent:g} % of changes on, until {answer.low_percent:g} %")
    cells = [
        [one.replica or "-", f"{one.percent:.1f} %", "FLAPPING" if one.is_flapping else "-", str(len(one.history))]
        for one in answer.states
    ]
    screen.table(["REPLICA", "CHANGES", "STATE", "RESULTS"], cells)


def _tell(event: Any) -> None:
    if not screen.wants_table():
        screen.document(event)
        return
    outcome = f"  {words.word(event.subject, 'outcome')}" if event.HasField("subject") else ""
    kind = words.word(event, "kind").lower().replace("_", " ")
    screen.say(f"{words.when(event, 'time')}  {words.short(event.name)}  {kind}{outcome}  {event.message}".rstrip())
