"""What scaling does and did: status, activities, explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import scaling_words, screen
from opsuite_cli.scaling_calls import Client, full, short, talk

if TYPE_CHECKING:
    from opsuite.scaler.v1.decision_pb2 import ScalingActivity, ScalingEvent, ScalingStatus

Name = Annotated[str, typer.Argument(metavar="POLICY", help="Name of the policy.")]
HEAD = ["TIME", "ACTIVITY", "CAUSE", "DECISION", "OUTCOME", "LOOKS"]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (status, activities, explain):
        app.command()(command)


def status(
    name: Name, watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on telling what happens.")] = False
) -> None:
    """Show how a target stands: its size, its metrics, and the last decision."""
    if watch:
        talk(lambda client: _watch(client, name))
        return
    _print(talk(lambda client: _status(client, name)))


def activities(
    name: Name,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    filter_: Annotated[str, typer.Option("--filter", help='Which: verdict = "SCALE".')] = "",
) -> None:
    """List what was decided and done, the newest first."""

    async def work(client: Client) -> list[ScalingActivity]:
        from opsuite.scaler.v1.scaler_service_pb2 import ListScalingActivitiesRequest

        request = ListScalingActivitiesRequest(parent=full(name), page_size=limit, filter=filter_)
        return list((await client.scaler.ListScalingActivities(request)).activities)

    found = talk(work)
    if screen.wants_table():
        screen.table(HEAD, [scaling_words.activity_row(one) for one in found])
    else:
        screen.document(found)


def explain(
    name: Name,
    activity: Annotated[str, typer.Argument(metavar="[ACTIVITY]", help="Which; without it the last one.")] = "",
) -> None:
    """Say why a size is what it is: every rule that was applied, in order, with its numbers."""
    from opsuite.scaler.v1.scaler_service_pb2 import ExplainScalingActivityRequest, ExplainScalingActivityResponse

    async def work(client: Client) -> ExplainScalingActivityResponse:
        which = f"{full(name)}/activities/{activity}" if activity else (await _last(client, name))
        return await client.scaler.ExplainScalingActivity(ExplainScalingActivityRequest(name=which))

    answer = talk(work)
    if not screen.wants_table():
        screen.document(answer)
        return
    screen.say(f"activity {short(answer.activity.name)}", "bold")
    for line in answer.lines:
        screen.say(line)


async def _last(client: Client, name: str) -> str:
    from opsuite_kernel.errors import NotFound

    found = (await _status(client, name)).last_activity.name
    if not found:
        raise NotFound("scaling activity", f"{full(name)}/activities")
    return found


async def _status(client: Client, name: str) -> ScalingStatus:
    from opsuite.scaler.v1.scaler_service_pb2 import GetScalingStatusRequest

    return (await client.scaler.GetScalingStatus(GetScalingStatusRequest(name=full(name)))).status


async def _watch(client: Client, name: str) -> None:
    """Tell what happens until the policy is deleted or Ctrl-C."""
    from opsuite.scaler.v1.decision_pb2 import SCALING_EVENT_KIND_DELETED
    from opsuite.scaler.v1.scaler_service_pb2 import WatchScalingStatusRequest
    from opsuite_kernel.errors import Unavailable

    token = ""
    while True:
        try:
            stream = client.scaler.WatchScalingStatus(WatchScalingStatusRequest(name=full(name), resume_token=token))
            async for batch in stream:
                token = batch.resume_token or token
                for known in batch.snapshot.statuses:
                    _print(known)
                for event in batch.events:
                    _tell(event)
                    if event.kind == SCALING_EVENT_KIND_DELETED:
                        return
            return
        except Unavailable as gone:  # a server that restarts: go on where it ended
            if not token:
                raise
            screen.complain([f"{gone.message}; going on"])
            await _rest()


async def _rest() -> None:
    import asyncio

    await asyncio.sleep(1)


def _print(status: ScalingStatus) -> None:
    if not screen.wants_table():
        screen.document(status)
        return
    for line in scaling_words.status_lines(status):
        screen.say(line)


def _tell(event: ScalingEvent) -> None:
    from opsuite.scaler.v1.decision_pb2 import ScalingEventKind

    if not screen.wants_table():
        screen.document(event)
        return
    kind = scaling_words.word(ScalingEventKind, event.kind, "SCALING_EVENT_KIND_")
    what = scaling_words.decision(event.activity.decision) if event.HasField("activity") else event.message
    by = f" by {event.actor}" if event.actor else ""
    screen.say(f"{event.time.ToDatetime():%H:%M:%S}  {kind:<14} {what}{by}")
