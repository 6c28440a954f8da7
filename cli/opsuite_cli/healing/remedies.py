"""Healing: policies, what is done about incidents, and the brakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.deployments import duration
from opsuite_cli.healing import resources, words
from opsuite_cli.healing.calls import Client, ask, talk
from opsuite_cli.healing.resources import HEALING_POLICY
from opsuite_cli.healing.targets import Target

app = typer.Typer(no_args_is_help=True, help="Healing: what is done about trouble, and the brakes.")
policies = typer.Typer(no_args_is_help=True, help="Policies: what is done about which incidents.")
app.add_typer(policies, name="policy")
Remediation = Annotated[str, typer.Argument(metavar="REMEDIATION", help="Id or name of the remediation.")]
Reason = Annotated[str, typer.Option("--message", "-m", help="Why, for the history.")]
SERVICE = "healing_service"
HEAD = ["REMEDIATION", "STATE", "ISSUE", "TARGET", "STEP", "POLICY", "BEGAN", "REASON"]


def _policy_row(policy: Any) -> list[str]:
    steps = " → ".join(one.action for one in policy.steps)
    issues = ", ".join(policy.match.issues) or "any"
    return [words.short(policy.name), words.word(policy, "mode"), issues, str(policy.priority), steps]


resources.add_to(policies, HEALING_POLICY, ["POLICY", "MODE", "ISSUES", "PRIORITY", "STEPS"], _policy_row)


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="Documents: checks, policies, runbooks, receivers …")],
) -> None:
    """Make everything in a file so: HealthCheck, HealingPolicy, Runbook, Receiver, EscalationPolicy."""
    resources.applied(file)


@app.command()
def status() -> None:
    """Show whether the healer acts, and on what."""
    _print_healer(ask(SERVICE, "GetHealer").healer)


@app.command()
def pause(
    for_: Annotated[
        timedelta | None, typer.Option("--for", parser=duration, help="How long (30m); without it for good.")
    ] = None,
    message: Reason = "",
) -> None:
    """Take no new action anywhere; what is under way ends."""
    fields: dict[str, Any] = {"reason": message}
    if for_ is not None:
        from google.protobuf.timestamp_pb2 import Timestamp

        fields["until"] = Timestamp()
        fields["until"].FromDatetime(datetime.now(UTC) + for_)
    _print_healer(ask(SERVICE, "PauseHealer", **fields).healer)


@app.command()
def resume(message: Reason = "") -> None:
    """Act again."""
    _print_healer(ask(SERVICE, "ResumeHealer", reason=message).healer)


@app.command()
def now(
    what: Annotated[str, typer.Argument(metavar="INCIDENT|TARGET", help="incidents/…, or process/checkout.")],
    policy: Annotated[str, typer.Option(help="Which policy; without it the first that matches.")] = "",
    issue: Annotated[str, typer.Option(help="For a target: type of the issue.")] = "",
    message: Reason = "",
) -> None:
    """Mend something now, within the same brakes."""
    answer = ask(SERVICE, "Heal", reason=message, **_about(what, policy, issue))
    _print(answer.remediation, "begun")


@app.command("what-if")
def what_if(
    what: Annotated[str, typer.Argument(metavar="INCIDENT|TARGET", help="incidents/…, or process/checkout.")],
    policy: Annotated[str, typer.Option(help="Which policy; without it the first that matches.")] = "",
    issue: Annotated[str, typer.Option(help="For a target: type of the issue.")] = "",
) -> None:
    """Say what would be done, and what every brake says; nothing is done."""
    answer = ask(SERVICE, "EvaluateIssue", **_about(what, policy, issue))
    if not screen.wants_table():
        screen.document(answer)
        return
    screen.say(f"policy {words.short(answer.policy.name)}", "bold")
    for decision in answer.decisions:
        _print_decision(decision)


@app.command("list")
def list_(
    filter_: Annotated[str, typer.Option("--filter", help="Which: state = ACTING.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 50,
) -> None:
    """List remediations, the newest first."""
    found = ask(SERVICE, "ListRemediations", page_size=limit, filter=filter_).remediations
    if screen.wants_table():
        screen.table(HEAD, [_row(one) for one in found])
    else:
        screen.document(list(found))


@app.command()
def show(remediation: Remediation) -> None:
    """Show a remediation: what was decided by which values, what was done, and what came of it."""
    found = ask(SERVICE, "GetRemediation", name=_full(remediation)).remediation
    if not screen.wants_table():
        screen.document(found)
        return
    screen.say(f"{found.issue}  {words.target(found)}  {words.word(found, 'state')}", "bold")
    if found.message:
        screen.say(f"  {found.message}")
    for decision in found.decisions:
        _print_decision(decision)
    for attempt in found.attempts:
        undo = "undo " if attempt.is_undo else ""
        began = words.when(attempt, "start_time")
        screen.say(f"  {began}  {undo}{attempt.action}  {words.word(attempt, 'state')}  {attempt.message}")


@app.command()
def watch(
    remediation: Annotated[str, typer.Argument(metavar="[REMEDIATION]", help="Which; without it all.")] = "-",
) -> None:
    """Tell what happens to remediations, until Ctrl-C."""

    async def work(client: Client) -> None:
        async for answer in client.follow(SERVICE, "WatchRemediations", name=_full(remediation)):
            for one in answer.remediations:
                if screen.wants_table():
                    screen.say("  ".join(_row(one)))
                else:
                    screen.document(one)

    talk(work)


@app.command()
def approve(remediation: Remediation, message: Reason = "") -> None:
    """Let the action through that it waits with."""
    _print(ask(SERVICE, "ApproveRemediation", name=_full(remediation), reason=message).remediation, "approved")


@app.command()
def reject(remediation: Remediation, message: Reason = "") -> None:
    """Refuse the action that it waits with."""
    _print(ask(SERVICE, "RejectRemediation", name=_full(remediation), reason=message).remediation, "rejected")


@app.command()
def cancel(remediation: Remediation, message: Reason = "") -> None:
    """Take no further action."""
    _print(ask(SERVICE, "CancelRemediation", name=_full(remediation), reason=message).remediation, "cancelled")


@app.command()
def circuits(
    filter_: Annotated[str, typer.Option("--filter", help="Which: state = OPEN.")] = "",
) -> None:
    """List circuits: how often what was done, and what is not done any more for now."""
    found = talk(lambda client: client.every(SERVICE, "ListCircuits", "circuits", filter=filter_))
    if not screen.wants_table():
        screen.document(found)
        return
    cells = [
        [
            words.target(one),
            one.action,
            words.word(one, "state"),
            str(len(one.starts)),
            str(one.failures),
            words.ago(one, "half_open_time") if words.word(one, "state") == "OPEN" else "-",
            one.reason,
        ]
        for one in found
    ]
    screen.table(["TARGET", "ACTION", "STATE", "ACTIONS", "FAILURES", "TRIAL IN", "REASON"], cells)


@app.command()
def reset(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="process/checkout.")],
    action: Annotated[str, typer.Argument(metavar="ACTION", help="RESTART_SERVICE …")],
    message: Reason = "",
) -> None:
    """Close a circuit: the action may be taken again."""
    fields = {"target": Target(target).message, "action": action, "reason": message}
    answer = ask(SERVICE, "ResetCircuit", **fields)
    if screen.wants_table():
        screen.say(f"circuit of {action} on {target}: {words.word(answer.circuit, 'state')}")
    else:
        screen.document(answer.circuit)


@app.command()
def actions() -> None:
    """List what the healer can do."""
    found = ask(SERVICE, "ListActions").actions
    if not screen.wants_table():
        screen.document(list(found))
        return
    cells = [
        [
            one.kind,
            words.word(one, "risk"),
            "yes" if one.is_available else f"no: {one.why_not}",
            ", ".join(part.name + ("" if part.is_required else "?") for part in one.parameters),
            one.description,
        ]
        for one in found
    ]
    screen.table(["ACTION", "RISK", "AVAILABLE", "PARAMETERS", "DESCRIPTION"], cells)


def _about(what: str, policy: str, issue: str) -> dict[str, Any]:
    """The fields of a request that is about an incident or a target."""
    fields: dict[str, Any] = {"policy": HEALING_POLICY.kind.full(policy)} if policy else {}
    if what.startswith("incidents/"):
        return {**fields, "incident": what}
    return {**fields, "target": Target(what).message, "issue": issue}


def _full(remediation: str) -> str:
    return remediation if remediation.startswith("remediations/") else f"remediations/{remediation}"


def _row(one: Any) -> list[str]:
    return [
        words.short(one.name),
        words.word(one, "state"),
        one.issue,
        words.target(one),
        str(one.step + 1),
        words.short(one.policy) or "-",
        f"{words.ago(one, 'create_time')} ago",
        one.reason or one.message,
    ]


def _print(remediation: Any, done: str) -> None:
    if screen.wants_table():
        state = words.word(remediation, "state")
        screen.say(f"remediation {words.short(remediation.name)}: {done}, {state}")
    else:
        screen.document(remediation)


def _print_decision(decision: Any) -> None:
    kind = words.word(decision, "kind")
    screen.say(f"  {words.when(decision, 'time')}  {kind} {decision.action}  {decision.message}")
    for gate in decision.gates:
        values = f"  ({words.labels(gate.values)})" if gate.values else ""
        screen.say(f"      {gate.gate:<12} {'open' if gate.is_open else 'shut'}  {gate.message}{values}")


def _print_healer(healer: Any) -> None:
    if not screen.wants_table():
        screen.document(healer)
        return
    if healer.is_paused:
        until = f" until {words.when(healer, 'paused_until')} UTC" if healer.HasField("paused_until") else ""
        why = f": {healer.pause_reason}" if healer.pause_reason else ""
        screen.say(f"the healer is paused{until} by {healer.paused_by}{why}")
    else:
        screen.say("the healer acts")
    for state, count in sorted(healer.remediations.items()):
        screen.say(f"  {state:<18} {count}")
