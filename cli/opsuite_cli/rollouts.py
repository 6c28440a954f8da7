"""Rollouts: how one version takes over from another, and what a person may do about it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.names import deployment_name, pipeline_name, short
from opsuite_cli.steering import Reason, steer
from opsuite_kernel.errors import InvalidInput, NotFound, Violation

if TYPE_CHECKING:
    from opsuite.deployer.v1.deployment_pb2 import Deployment
    from opsuite.deployer.v1.deployment_service_pb2 import PromotionScope

app = typer.Typer(no_args_is_help=True, help="Rollouts: how a new version takes over, and what to do about it.")
Target = Annotated[str, typer.Argument(help="Id of a deployment, or a pipeline: then its newest one.")]
Env = Annotated[str, typer.Option("--env", "-e", help="Environment, for a pipeline that has several.")]
LOOK_EVERY_SECONDS: Final = 0.5
READ_AGAIN_SECONDS: Final = 60.0
"""How long one look waits for a server that is being restarted."""
ID_LENGTH: Final = 26


@app.command()
def status(
    target: Target,
    env: Env = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it to its end, as `opsuite watch` does.")
    ] = False,
) -> None:
    """Show a rollout: its versions with their shares of the requests, every replica, every edge.

    With --watch the picture is kept true until the deployment has ended, and the exit status is that of
    `deploy --wait`; with --json each change is a document on a line of its own.
    """

    async def once(client: Client) -> None:
        _print([found async for found in _with_rollback(client, await find(client, target, env))])

    async def follow(client: Client) -> None:
        await _follow(client, await find(client, target, env))

    talk(follow if watch else once)


@app.command()
def promote(
    target: Target,
    env: Env = "",
    step: Annotated[
        bool, typer.Option("--step", help="To its next step: ends the pause it is in. The default.")
    ] = False,
    skip: Annotated[bool, typer.Option("--skip", help="Past its present step, whatever that is.")] = False,
    full: Annotated[bool, typer.Option("--full", help="To its end, without the steps that are left.")] = False,
    reason: Reason = "",
) -> None:
    """Let a rollout that waits go on; refused while replicas of the new version are not healthy."""
    if step + skip + full > 1:
        raise typer.BadParameter("one of --step, --skip and --full")

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import PromoteDeploymentRequest

        request = PromoteDeploymentRequest(name=name, reason=reason, scope=_scope(skip=skip, full=full))
        return (await client.deployments.PromoteDeployment(request)).deployment

    _steer(target, env, call, asked="to promote")


def _scope(*, skip: bool, full: bool) -> PromotionScope.ValueType:
    from opsuite.deployer.v1 import deployment_service_pb2 as pb

    if full:
        return pb.PROMOTION_SCOPE_FULL
    return pb.PROMOTION_SCOPE_SKIP_STEP if skip else pb.PROMOTION_SCOPE_NEXT_STEP


@app.command()
def abort(target: Target, env: Env = "", reason: Reason = "") -> None:
    """Bring the requests back to the old version at once; what ran before the rollout stays done."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import AbortDeploymentRequest

        return (await client.deployments.AbortDeployment(AbortDeploymentRequest(name=name, reason=reason))).deployment

    _steer(target, env, call, asked="to abort")


@app.command()
def pause(target: Target, env: Env = "", reason: Reason = "") -> None:
    """Take no further step; replicas are watched all the same."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import PauseDeploymentRequest

        return (await client.deployments.PauseDeployment(PauseDeploymentRequest(name=name, reason=reason))).deployment

    _steer(target, env, call, asked="to pause")


@app.command()
def resume(target: Target, env: Env = "", reason: Reason = "") -> None:
    """Let a rollout that somebody paused go on."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import ResumeDeploymentRequest

        return (await client.deployments.ResumeDeployment(ResumeDeploymentRequest(name=name, reason=reason))).deployment

    _steer(target, env, call, asked="to resume")


@app.command()
def retry(target: Target, env: Env = "", reason: Reason = "") -> None:
    """Roll the same version out again, as a new deployment, after one that was aborted or failed."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import RetryDeploymentRequest

        return (await client.deployments.RetryDeployment(RetryDeploymentRequest(name=name, reason=reason))).deployment

    _steer(target, env, call)


def _steer(target: str, env: str, call: Callable[[Client, str], Awaitable[Deployment]], *, asked: str = "") -> None:
    following = "rollout status --watch"
    steer(lambda client, typed: find(client, typed, env), target, call, asked=asked, following=following)


# ---- which one ------------------------------------------------------------------------------------------------------


async def find(client: Client, typed: str, env: str) -> str:
    """The deployment that somebody means; of a pipeline the newest one under way, else the newest.

    Raises: NotFound; InvalidInput (a pipeline that is under way in several environments).
    """
    if "/deployments/" in typed or (len(typed) == ID_LENGTH and typed.isalnum()):
        return await deployment_name(client, typed)
    from opsuite.deployer.v1.deployment_service_pb2 import ListDeploymentsRequest

    parent = f"{pipeline_name(typed)}/environments/{env or '-'}"
    listed = (await client.deployments.ListDeployments(ListDeploymentsRequest(parent=parent, page_size=50))).deployments
    if not listed:
        raise NotFound("deployment", f"of {typed}" + (f" in {env}" if env else ""))
    under_way = [one for one in listed if one.HasField("start_time") and not one.HasField("end_time")]
    places = sorted({one.environment for one in under_way})
    if len(places) > 1:
        said = f"{typed} is under way in {' and '.join(places)}: say where with --env"
        raise InvalidInput([Violation("", said, "AMBIGUOUS")])
    return (under_way or list(listed))[0].name


# ---- looking at it --------------------------------------------------------------------------------------------------


async def _with_rollback(client: Client, name: str) -> AsyncIterator[Deployment]:
    """The deployment, and the one that takes it back, if there is one."""
    from opsuite.deployer.v1.deployment_service_pb2 import GetDeploymentRequest

    while name:
        request = GetDeploymentRequest(name=name)
        answer = await client.deployments.GetDeployment(request, timeout=READ_AGAIN_SECONDS, wait_for_ready=True)
        yield answer.deployment
        name = answer.deployment.rolled_back_by


async def _follow(client: Client, name: str) -> None:
    """Show it until it has ended, and end the command with its exit status.

    It is read again and again, since replicas come and go without an event that says so.
    """
    import asyncio

    from opsuite_cli.ending import exit_status

    try:
        with _view() as show:
            while not (found := [one async for one in _with_rollback(client, name)])[0].HasField("end_time"):
                show(found)
                await asyncio.sleep(LOOK_EVERY_SECONDS)
            show(found)
    except asyncio.CancelledError:
        screen.complain([f"left; the deployment goes on: opsuite rollout status {short(name)} --watch"])
        raise
    if screen.wants_table():
        _print_ending(found[0])
    raise typer.Exit(exit_status(found[0]))


def _view() -> Any:
    """What shows deployments: a picture that is redrawn, or each change of it below the last."""
    from contextlib import nullcontext

    if screen.wants_table() and screen.is_watched():
        from opsuite_cli.live import LiveTree

        return LiveTree(_lines_of)
    seen: list[Any] = []

    def show(found: Sequence[Deployment]) -> None:
        told = [_document(one) for one in found]
        if told != seen[-1:]:
            seen[:] = [told]
            _print(found) if screen.wants_table() else _print_on_a_line(told)

    return nullcontext(show)


def _print_ending(deployment: Deployment) -> None:
    """What is to be said of one that did not end well."""
    from opsuite_cli.ending import ending_of

    if (ending := ending_of(deployment)) is not None:
        screen.complain(ending.lines(), headed=False)


def _lines_of(deployments: Sequence[Deployment]) -> list[Any]:
    """The lines that show deployments with their rollouts."""
    from opsuite_cli import words
    from opsuite_cli.rollout_tree import hooks_of, rollouts_of, whole

    now, lines = datetime.now(UTC), list[Any]()
    for deployment in deployments:
        standing = words.status(deployment.status)
        kind = "rollback " if deployment.rollback_of else ""
        head = [(f"{kind}{words.title(deployment)}", "bold"), (f"  {standing}", screen.COLOURS.get(standing, ""))]
        lines.append((*head, (f"  {words.seconds(words.took(deployment, now))}  {deployment.uid}", "dim")))
        begun = list(rollouts_of(deployment))
        for stage, step in begun:
            lines += [(("  ", ""), *line) for line in whole(stage, step, now)]
            lines += [(("  ", ""), *line) for line in hooks_of(deployment, now, rollout=f":{stage}:{step.name}")]
        if not begun:
            lines.append((("  no rollout has begun", "dim"),))
    return lines


def _print(deployments: Sequence[Deployment]) -> None:
    if not screen.wants_table():
        screen.write(_document(deployments[0]))
        return
    for line in _lines_of(deployments):
        screen.console().print(screen.styled(line))


def _document(deployment: Deployment) -> dict[str, Any]:
    """What programs get: how the deployment stands, and its rollouts."""
    from opsuite_cli.rollout_tree import rollouts_of

    whole = screen.plain(deployment)
    named = ("name", "version", "environment", "status", "pause_reason", "message", "rollback_of", "rolled_back_by")
    rollouts = [
        {"stage": stage, "step": step.name, "rollout": screen.plain(step.rollout)}
        for stage, step in rollouts_of(deployment)
    ]
    return {name: whole[name] for name in named if name in whole} | {"rollouts": rollouts}


def _print_on_a_line(told: Sequence[dict[str, Any]]) -> None:
    import json
    import sys

    sys.stdout.write(json.dumps(told[0], ensure_ascii=False) + "\n")
    sys.stdout.flush()
