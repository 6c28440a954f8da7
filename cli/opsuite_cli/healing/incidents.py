"""Incidents: what is open, what has happened, and who looks after it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.deployments import duration
from opsuite_cli.healing import words
from opsuite_cli.healing.calls import Client, ask, talk

app = typer.Typer(no_args_is_help=True, help="Incidents: what is open, and who looks after it.")
Incident = Annotated[str, typer.Argument(metavar="INCIDENT", help="Id or name of the incident.")]
Reason = Annotated[str, typer.Option("--message", "-m", help="Why, for the timeline.")]
SERVICE = "incident_service"
SEVERITIES = ("info", "warning", "error", "critical")
HEAD = ["INCIDENT", "STATUS", "SEVERITY", "ISSUE", "TARGET", "OPENED", "SUMMARY"]


def row(incident: Any) -> list[str]:
    """Cells of an incident in a list."""
    return [
        words.short(incident.name),
        words.word(incident, "status"),
        words.word(incident, "severity"),
        incident.issue,
        words.target(incident),
        f"{words.ago(incident, 'open_time')} ago",
        incident.summary,
    ]


def full(typed: str) -> str:
    """The resource name of an incident."""
    return typed if typed.startswith("incidents/") else f"incidents/{typed}"


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    filter_: Annotated[str, typer.Option("--filter", help='Which: severity = CRITICAL AND issue = "CRASHED".')] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List incidents, the newest first."""
    chosen = " AND ".join(one for one in ("" if every else "NOT status = RESOLVED", filter_) if one)
    found = ask(SERVICE, "ListIncidents", page_size=limit, filter=chosen).incidents
    if screen.wants_table():
        screen.table(HEAD, [row(one) for one in found])
    else:
        screen.document(list(found))


@app.command()
def show(incident: Incident) -> None:
    """Show an incident with its timeline."""

    async def work(client: Client) -> tuple[Any, list[Any]]:
        found = (await client.call(SERVICE, "GetIncident", name=full(incident))).incident
        return found, await client.every(SERVICE, "GetTimeline", "entries", name=full(incident))

    found, entries = talk(work)
    if not screen.wants_table():
        screen.write({"incident": screen.plain(found), "timeline": screen.plain(entries)})
        return
    screen.say(found.summary or found.issue, "bold")
    facts = {
        "incident": words.short(found.name),
        "status": words.word(found, "status"),
        "severity": words.word(found, "severity"),
        "issue": found.issue,
        "target": words.target(found),
        "opened": f"{words.when(found, 'open_time')} UTC, told {found.seen_count} times",
        "found by": found.source,
        "deployment": found.deployment,
        "remediation": found.remediation,
        "quiet": ", ".join(found.hushed_by),
        "told": ", ".join(words.short(one) for one in found.told),
        "trace": found.trace_id,
    }
    for name, value in facts.items():
        if value:
            screen.say(f"  {name:<12} {value}")
    for entry in entries:
        by = f"  ({entry.actor})" if entry.actor not in {"", "healer"} else ""
        screen.say(f"  {words.when(entry, 'time')}  {words.word(entry, 'kind').lower():<22} {entry.text}{by}")


@app.command()
def open(  # noqa: A001 - the word that people use
    summary: Annotated[str, typer.Argument(help="One line that says what is wrong.")],
    issue: Annotated[str, typer.Option(help="Type of the issue, which policies are chosen by.")] = "REPORTED",
    severity: Annotated[str, typer.Option(help="info, warning, error or critical.")] = "error",
    target: Annotated[str, typer.Option(help="What is in trouble: process/checkout.")] = "",
    key: Annotated[str, typer.Option(help="Equal for all tellings of the same trouble.")] = "",
) -> None:
    """Tell the healer of trouble that no check has found."""
    from opsuite.healer.v1.target_pb2 import Severity
    from opsuite_cli.healing.targets import Target

    if severity.lower() not in SEVERITIES:
        raise typer.BadParameter(f"must be one of {', '.join(SEVERITIES)}", param_hint="--severity")
    fields: dict[str, Any] = {
        "issue": issue,
        "severity": Severity.Value(f"SEVERITY_{severity.upper()}"),
        "summary": summary,
        "key": key,
    }
    if target:
        fields["target"] = Target(target).message
    answer = ask(SERVICE, "TriggerIncident", **fields)
    _print(answer.incident, "opened" if answer.opened else "was open already")


@app.command()
def acknowledge(incident: Incident, message: Reason = "") -> None:
    """Say that you look after it: nobody else is told."""
    _change("Acknowledge", incident, "acknowledged", reason=message)


@app.command()
def resolve(incident: Incident, message: Reason = "") -> None:
    """Say that it is over."""
    _change("Resolve", incident, "resolved", reason=message)


@app.command()
def reopen(incident: Incident, message: Reason = "") -> None:
    """Say that it is not over after all."""
    _change("Reopen", incident, "open again", reason=message)


@app.command()
def escalate(incident: Incident, message: Reason = "") -> None:
    """Tell people of it now."""
    _change("Escalate", incident, "escalated", reason=message)


@app.command()
def snooze(
    incident: Incident,
    for_: Annotated[timedelta, typer.Option("--for", parser=duration, help="How long (30m).")],
    message: Reason = "",
) -> None:
    """Tell nobody more of it for some time."""
    from datetime import UTC, datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    until = Timestamp()
    until.FromDatetime(datetime.now(UTC) + for_)
    _change("Snooze", incident, f"snoozed for {words.span(for_)}", until=until, reason=message)


@app.command()
def note(incident: Incident, text: Annotated[str, typer.Argument(help="What to remember.")]) -> None:
    """Put something on the timeline."""
    answer = ask(SERVICE, "AddIncidentNote", name=full(incident), text=text)
    _print(answer.incident, "noted")


@app.command()
def merge(
    incident: Incident,
    sources: Annotated[list[str], typer.Argument(metavar="INCIDENT…", help="What becomes part of it.")],
    message: Reason = "",
) -> None:
    """Make one of incidents that are the same."""
    answer = ask(SERVICE, "MergeIncidents", name=full(incident), sources=[full(one) for one in sources], reason=message)
    _print(answer.incident, f"has taken in {len(sources)}")


@app.command()
def reassign(
    incident: Incident,
    policy: Annotated[str, typer.Option(help="Escalation policy from now on.")] = "",
    receiver: Annotated[list[str] | None, typer.Option(help="Receiver to tell, in place of a policy.")] = None,
    message: Reason = "",
) -> None:
    """Have others told of it."""
    fields: dict[str, Any] = {"receivers": [f"receivers/{words.short(one)}" for one in receiver or []]}
    if policy:
        fields["policy"] = f"escalationPolicies/{words.short(policy)}"
    answer = ask(SERVICE, "ReassignIncident", name=full(incident), reason=message, **fields)
    _print(answer.incident, "reassigned")


@app.command()
def watch() -> None:
    """Tell what happens to incidents, until Ctrl-C."""

    async def work(client: Client) -> None:
        async for answer in client.follow(SERVICE, "WatchIncidents", name="incidents/-"):
            for one in answer.snapshot.incidents if answer.HasField("snapshot") else ():
                screen.say("  ".join(row(one)))
            for event in answer.events:
                if not screen.wants_table():
                    screen.document(event)
                    continue
                kind = words.word(event.entry, "kind").lower()
                about = f"{words.short(event.incident.name)}  {event.incident.issue}"
                screen.say(f"{words.when(event.entry, 'time')}  {about}  {kind}  {event.entry.text}")

    talk(work)


@app.command()
def stats(
    last: Annotated[
        timedelta | None, typer.Option("--last", parser=duration, help="How far back (24h); 30 days unless given.")
    ] = None,
) -> None:
    """Count incidents, and how long they took to be acknowledged (MTTA) and resolved (MTTR)."""
    from datetime import UTC, datetime

    from google.protobuf.timestamp_pb2 import Timestamp

    start = Timestamp()
    start.FromDatetime(datetime.now(UTC) - (last or timedelta(days=30)))
    answer = ask(SERVICE, "GetIncidentStatistics", start_time=start)
    if not screen.wants_table():
        screen.document(answer)
        return
    head = ["ISSUE", "OPENED", "OPEN", "MENDED", "BY ITSELF", "ESCALATED", "MTTA", "MTTR"]
    cells = [
        [
            one.group or "all",
            str(one.opened),
            str(one.open),
            str(one.resolved_by_action),
            str(one.resolved_by_itself),
            str(one.escalated),
            words.lasting(one, "mean_time_to_acknowledge"),
            words.lasting(one, "mean_time_to_resolve"),
        ]
        for one in [*answer.issues, answer.total]
    ]
    screen.table(head, cells)


def _change(verb: str, incident: str, done: str, **fields: Any) -> None:
    answer = ask(SERVICE, f"{verb}Incident", name=full(incident), **fields)
    _print(answer.incident, done)


def _print(incident: Any, done: str) -> None:
    if screen.wants_table():
        screen.say(f"incident {words.short(incident.name)}: {done}")
    else:
        screen.document(incident)
