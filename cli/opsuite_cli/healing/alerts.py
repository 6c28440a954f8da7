"""Alerts: what fires, what is told together, where it goes, and what is kept quiet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.deployments import duration, variables
from opsuite_cli.healing import words
from opsuite_cli.healing.calls import Client, ask, talk
from opsuite_cli.importing import documents_in, text_of
from opsuite_cli.resource_documents import Kind
from opsuite_cli.scaling_calls import refuse
from opsuite_kernel.errors import InvalidInput, OpsuiteError, Violation

app = typer.Typer(no_args_is_help=True, help="Alerts: what fires, and where it goes.")
silences = typer.Typer(no_args_is_help=True, help="Silences: what is kept quiet, by whom, and for how long.")
routing = typer.Typer(no_args_is_help=True, help="Routing: where alerts go, and which explain one another.")
app.add_typer(routing, name="routing")
Labels = Annotated[list[str] | None, typer.Argument(metavar="LABEL=VALUE…", help="Labels.")]
SERVICE, SILENCES = "alert_service", "silence_service"
ROUTING = Kind(
    "Routing",
    "opsuite.healer.v1.alert_pb2",
    "",
    "routing",
    "routing",
    frozenset({"etag", "update_time", "updated_by"}),
)
_OPERATORS = (
    ("!~", "MATCH_OPERATOR_NOT_MATCHES"),
    ("=~", "MATCH_OPERATOR_MATCHES"),
    ("!=", "MATCH_OPERATOR_NOT_EQUAL"),
    ("=", "MATCH_OPERATOR_EQUAL"),
)


@app.command("list")
def list_(
    matching: Annotated[list[str] | None, typer.Argument(metavar="MATCHER…", help="job=api, team=~a|b.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
) -> None:
    """List alerts."""
    matchers = [_matcher(one) for one in matching or []]
    found = talk(lambda client: client.every(SERVICE, "ListAlerts", "alerts", matchers=matchers, show_resolved=every))
    if not screen.wants_table():
        screen.document(found)
        return
    cells = [
        [
            words.short(one.name),
            words.word(one, "state"),
            words.word(one, "severity"),
            f"{words.ago(one, 'start_time')} ago",
            ", ".join(words.short(quiet) for quiet in [*one.silenced_by, *one.inhibited_by]) or "-",
            words.labels(one.labels),
        ]
        for one in found
    ]
    screen.table(["ALERT", "STATE", "SEVERITY", "SINCE", "QUIET BY", "LABELS"], cells)


@app.command()
def groups() -> None:
    """List what is told together, and when next."""
    found = talk(lambda client: client.every(SERVICE, "ListGroups", "groups"))
    if not screen.wants_table():
        screen.document(found)
        return
    cells = [
        [
            one.route,
            words.labels(one.labels) or "-",
            str(one.firing_count),
            ", ".join(words.short(receiver) for receiver in one.receivers) or "-",
            words.when(one, "notify_time"),
            words.when(one, "next_flush_time"),
            words.word(one, "last_reason").lower(),
        ]
        for one in found
    ]
    screen.table(["ROUTE", "GROUP", "FIRING", "RECEIVERS", "TOLD", "NEXT", "WHY"], cells)


@app.command()
def push(
    labels: Labels = None,
    annotation: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, for people.")] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Say that it is over.")] = False,
) -> None:
    """Push one alert, as a program would."""
    from opsuite.healer.v1.alert_pb2 import PushedAlert

    alert = PushedAlert(labels=variables(labels), annotations=variables(annotation))
    if resolved:
        alert.end_time.FromDatetime(datetime.now(UTC))
    answer = ask(SERVICE, "PushAlerts", alerts=[alert])
    if screen.wants_table():
        screen.say(f"alert {words.short(answer.names[0])}: {'over' if resolved else 'fires'}")
    else:
        screen.document(answer)


# --- routing ---------------------------------------------------------------------------------------------------------


@routing.command("get")
def get_routing() -> None:
    """Print the routing as a document."""
    form = screen.plain(ask(SERVICE, "GetRouting").routing)
    found = {"apiVersion": "opsuite.dev/v1", "kind": "Routing", "metadata": {"name": "routing"}}
    found["spec"] = {key: value for key, value in form.items() if key not in ROUTING.output_only}
    if not screen.wants_table():
        screen.write(found)
        return
    import yaml

    screen.say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())


@routing.command("apply")
def apply_routing(
    file: Annotated[Path, typer.Option("--file", "-f", help="Document of the kind Routing.")],
) -> None:
    """Use a routing from now on, as a whole."""
    try:
        wanted = _routing_in(file)
    except OpsuiteError as error:
        refuse(error)

    async def work(client: Client) -> Any:
        wanted.etag = (await client.call(SERVICE, "GetRouting")).routing.etag
        try:
            return (await client.call(SERVICE, "SetRouting", routing=wanted)).routing
        except InvalidInput as error:
            told = [ROUTING.in_document(one) for one in error.violations]
            raise InvalidInput(told, reason=error.reason) from error

    answer = talk(work)
    if screen.wants_table():
        screen.say("routing: in use")
    else:
        screen.document(answer)


@routing.command("test")
def routes_of(labels: Labels = None) -> None:
    """Say where an alert with these labels would go, and what would keep it quiet."""
    answer = ask(SERVICE, "TestRoute", labels=variables(labels))
    if not screen.wants_table():
        screen.document(answer)
        return
    cells = [
        [
            one.route,
            ", ".join(words.short(receiver) for receiver in one.receivers) or "-",
            words.labels(one.group_labels) or "-",
            words.lasting(one, "group_wait"),
            words.lasting(one, "group_interval"),
            words.lasting(one, "repeat_interval"),
        ]
        for one in answer.matches
    ]
    screen.table(["ROUTE", "RECEIVERS", "GROUP", "WAIT", "INTERVAL", "REPEAT"], cells)
    for what, quiet in (("telling", answer.quiet_notifications), ("acting", answer.quiet_actions)):
        if quiet:
            screen.say(f"no {what}: {', '.join(quiet)}")


def _routing_in(file: Path) -> Any:
    found = [one for one in documents_in(text_of(file)) if ROUTING.is_in(one)]
    if len(found) != 1:
        raise InvalidInput([Violation("kind", "the file must hold one Routing")])
    return ROUTING.read({**found[0], "metadata": {"name": "routing"}})


# --- silences --------------------------------------------------------------------------------------------------------


@silences.command("list")
def list_silences(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
) -> None:
    """List silences."""
    found = talk(lambda client: client.every(SILENCES, "ListSilences", "silences", show_expired=every))
    if not screen.wants_table():
        screen.document(found)
        return
    cells = [
        [
            words.short(one.name),
            words.word(one, "state"),
            words.word(one, "scope").lower(),
            words.when(one, "end_time"),
            one.author,
            " ".join(_written(matcher) for matcher in one.matchers),
            one.comment,
        ]
        for one in found
    ]
    screen.table(["SILENCE", "STATE", "SCOPE", "UNTIL", "AUTHOR", "MATCHERS", "COMMENT"], cells)


@silences.command()
def add(
    matching: Annotated[list[str], typer.Argument(metavar="MATCHER…", help="job=api, team=~a|b, env!=test.")],
    for_: Annotated[timedelta, typer.Option("--for", parser=duration, help="How long (2h).")],
    message: Annotated[str, typer.Option("--message", "-m", help="Why; wanted.")],
    scope: Annotated[str, typer.Option(help="notifications, actions or both.")] = "both",
) -> None:
    """Keep alerts quiet for some time."""
    from opsuite.healer.v1.alert_pb2 import QuietScope, Silence

    scopes = {
        "notifications": "QUIET_SCOPE_NOTIFICATIONS",
        "actions": "QUIET_SCOPE_ACTIONS",
        "both": "QUIET_SCOPE_NOTIFICATIONS_AND_ACTIONS",
    }
    if scope not in scopes:
        raise typer.BadParameter("must be notifications, actions or both", param_hint="--scope")
    silence = Silence(
        comment=message, scope=QuietScope.Value(scopes[scope]), matchers=[_matcher(one) for one in matching]
    )
    silence.end_time.FromDatetime(datetime.now(UTC) + for_)
    _print_silence(ask(SILENCES, "CreateSilence", silence=silence).silence)


@silences.command()
def expire(
    silence: Annotated[str, typer.Argument(metavar="SILENCE", help="Id or name of the silence.")],
    message: Annotated[str, typer.Option("--message", "-m", help="Why.")] = "",
) -> None:
    """End a silence now; it stays on the list."""
    name = silence if silence.startswith("silences/") else f"silences/{silence}"
    _print_silence(ask(SILENCES, "ExpireSilence", name=name, reason=message).silence)


def _print_silence(silence: Any) -> None:
    if screen.wants_table():
        state = words.word(silence, "state")
        screen.say(f"silence {words.short(silence.name)}: {state} until {words.when(silence, 'end_time')} UTC")
    else:
        screen.document(silence)


def _matcher(text: str) -> Any:
    """`job=api`, `team=~a|b`."""
    from opsuite.healer.v1.alert_pb2 import Matcher, MatchOperator

    found = [(text.find(sign), sign, operator) for sign, operator in _OPERATORS if text.find(sign) > 0]
    if not found:
        raise typer.BadParameter(f"{text} is not LABEL=VALUE, with =, !=, =~ or !~")
    position, sign, operator = min(found, key=lambda one: (one[0], -len(one[1])))
    label, value = text[:position], text[position + len(sign) :]
    return Matcher(label=label, operator=MatchOperator.Value(operator), value=value)


def _written(matcher: Any) -> str:
    signs = {operator.removeprefix("MATCH_OPERATOR_"): sign for sign, operator in _OPERATORS}
    return f"{matcher.label}{signs.get(words.word(matcher, 'operator'), '=')}{matcher.value}"
