"""Who is told: receivers, and the policies by which they are told one after another."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED
from opsuite_cli.healing import resources, words
from opsuite_cli.healing.calls import ask
from opsuite_cli.healing.resources import ESCALATION_POLICY, RECEIVER

receivers = typer.Typer(no_args_is_help=True, help="Receivers: chats, mailboxes, pagers that are told.")
escalations = typer.Typer(no_args_is_help=True, help="Escalation policies: who is told, and who next.")
SERVICE = "escalation_service"

resources.add_to(
    receivers,
    RECEIVER,
    ["RECEIVER", "CHANNEL", "DESCRIPTION"],
    lambda one: [words.short(one.name), one.WhichOneof("channel") or "-", one.description],
)
resources.add_to(
    escalations,
    ESCALATION_POLICY,
    ["POLICY", "LEVELS", "FROM", "MATCHES", "DESCRIPTION"],
    lambda one: [
        words.short(one.name),
        " → ".join(", ".join(words.short(who) for who in level.receivers) for level in one.levels),
        words.word(one, "min_severity"),
        words.labels(one.match) or "everything",
        one.description,
    ],
)


@receivers.command("test")
def send_test(
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Name of the receiver.")],
    text: Annotated[str, typer.Option("--message", "-m", help="What to send.")] = "",
) -> None:
    """Send a receiver a message now, once."""
    answer = ask(SERVICE, "TestNotify", name=RECEIVER.kind.full(receiver), text=text)
    outcome = words.word(answer, "outcome")
    if screen.wants_table():
        screen.say(f"receiver {receiver}: {outcome}{': ' + answer.error if answer.error else ''}")
    else:
        screen.document(answer)
    if outcome != "SENT":
        raise typer.Exit(REFUSED)


@escalations.command()
def preview(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="Name of the policy.")],
) -> None:
    """Say who would be told when, if nobody did anything."""
    answer = ask(SERVICE, "PreviewEscalation", policy_name=ESCALATION_POLICY.kind.full(policy))
    if not screen.wants_table():
        screen.document(answer)
        return
    began: Any = answer.moments[0].time.ToDatetime() if answer.moments else None
    cells = [
        [
            f"+{words.span(one.time.ToDatetime() - began)}",
            words.word(one, "kind").lower(),
            ", ".join(words.short(who) for who in one.receivers) or "-",
            one.text,
        ]
        for one in answer.moments
    ]
    screen.table(["AFTER", "WHAT", "RECEIVERS", "TEXT"], cells)
