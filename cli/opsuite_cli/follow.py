"""Follows a deployment to its end, and the one that takes it back, in whatever view there is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, aclosing, nullcontext
from typing import Any, Protocol

from google.protobuf.json_format import MessageToJson

from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1.deployment_service_pb2 import GetDeploymentRequest, TailLogsRequest, WatchDeploymentRequest
from opsuite_cli import screen, words
from opsuite_cli.calls import Client
from opsuite_cli.lines import line_of, lines_so_far, log_line
from opsuite_cli.picture import Picture
from opsuite_kernel.errors import Exhausted, Unavailable
from opsuite_rpc.watching import full_jitter, watch

READ_AGAIN_SECONDS = 60.0
"""How long the last look waits for a server that is being restarted."""


class View(Protocol):
    """Shows what happens."""

    def begins(self, picture: Picture) -> None:
        """A deployment whose events follow."""

    def happened(self, event: pb.DeploymentEvent, picture: Picture) -> None:
        """An event, after `picture` has taken it."""

    def wrote(self, line: pb.LogLine) -> None:
        """A line of a step's output."""


class PlainView:
    """One line for each event."""

    def begins(self, picture: Picture) -> None:
        """Say which one it is, and what has happened to it."""
        deployment = picture.deployment
        kind = "rollback" if deployment.rollback_of else "deployment"
        screen.say(f"{kind} {deployment.uid}: {words.title(deployment)}, {words.status(deployment.status)}")
        for line in lines_so_far(deployment):
            screen.say(line)

    def happened(self, event: pb.DeploymentEvent, picture: Picture) -> None:
        """Print it."""
        screen.say(line_of(event, picture))

    def wrote(self, line: pb.LogLine) -> None:
        """Print it."""
        screen.say(log_line(line))


class JsonView:
    """One JSON document a line, for programs; log lines are told apart by their `text`."""

    def begins(self, picture: Picture) -> None:
        """Nothing: programs ask for what they need."""

    def happened(self, event: pb.DeploymentEvent, picture: Picture) -> None:
        """Print it."""
        self._print(event)

    def wrote(self, line: pb.LogLine) -> None:
        """Print it."""
        self._print(line)

    def _print(self, message: Any) -> None:
        sys.stdout.write(MessageToJson(message, indent=None, preserving_proto_field_name=True) + "\n")
        sys.stdout.flush()


class SilentView:
    """Shows nothing."""

    def begins(self, picture: Picture) -> None:
        """Nothing."""

    def happened(self, event: pb.DeploymentEvent, picture: Picture) -> None:
        """Nothing."""

    def wrote(self, line: pb.LogLine) -> None:
        """Nothing."""


class TerminalView:
    """A picture that is redrawn; see `live`."""

    def __init__(self) -> None:
        from opsuite_cli.live import LiveView

        self._live = LiveView()

    def __enter__(self) -> TerminalView:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(*error)

    def begins(self, picture: Picture) -> None:
        """Show it below the others."""
        self._live.add(picture)

    def happened(self, event: pb.DeploymentEvent, picture: Picture) -> None:
        """Nothing: the picture is redrawn by itself."""

    def wrote(self, line: pb.LogLine) -> None:
        """Print it above the picture."""
        self._live.line(log_line(line))


def view_for_people() -> AbstractContextManager[View]:
    """A picture in a terminal, lines elsewhere."""
    return TerminalView() if screen.is_watched() else nullcontext(PlainView())


async def follow(client: Client, name: str, view: View, *, until_paused: bool, logs: bool = False) -> pb.Deployment:
    """The deployment once it has ended; what happens is shown meanwhile.

    With `until_paused` also one that waits for somebody: this one, or the one that takes it back.
    """
    tail = asyncio.create_task(tail_logs(client, TailLogsRequest(name=name), view.wrote)) if logs else None
    try:
        paused = await _events(client, name, view, until_paused=until_paused)
        answer = await client.deployments.GetDeployment(
            GetDeploymentRequest(name=paused or name), timeout=READ_AGAIN_SECONDS, wait_for_ready=True
        )
        if tail is not None and not paused:
            await tail
    finally:
        if tail is not None:
            tail.cancel()
    return answer.deployment


async def _events(client: Client, name: str, view: View, *, until_paused: bool) -> str:
    """Show all that happens; the name of the deployment that is paused, if one is and that is asked for."""
    picture: Picture | None = None
    answers = watch(client.deployments.WatchDeployment, WatchDeploymentRequest(name=name))
    async with aclosing(answers):
        async for answer in answers:
            if answer.WhichOneof("marker") == "snapshot":
                picture = Picture(answer.snapshot)
                view.begins(picture)
            assert picture is not None  # noqa: S101  # a watch without a token begins with a snapshot
            for event in answer.events:
                picture.take(event)
                view.happened(event, picture)
            if until_paused and picture.deployment.status == pb.DEPLOYMENT_STATUS_PAUSED:
                return name
            if picture.deployment.status == pb.DEPLOYMENT_STATUS_ROLLING_BACK:
                # It has no events of its own until the other one ends.
                paused = await _events(client, picture.deployment.rolled_back_by, view, until_paused=until_paused)
                if paused:
                    return paused
    return ""


async def tail_logs(client: Client, request: TailLogsRequest, wrote: Callable[[pb.LogLine], None]) -> None:
    """Hand over every line once, across lost connections, until the deployment has ended."""
    failures = 0
    while True:
        try:
            async for answer in client.deployments.TailLogs(request):
                failures = 0
                for line in answer.lines:
                    wrote(line)
                    request.after_sequence = line.sequence
            return
        except Exhausted:
            raise
        except Unavailable:
            failures += 1
        await asyncio.sleep(full_jitter(failures))
