"""Environments: what is there, and who keeps them shut: env, lock, unlock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.deployments import duration
from opsuite_cli.names import pipeline_name, short

if TYPE_CHECKING:
    from opsuite.deployer.v1.environment_service_pb2 import Environment, EnvironmentLock
    from opsuite.deployer.v1.environment_service_pb2_grpc import EnvironmentServiceAsyncStub

app = typer.Typer(no_args_is_help=True, help="Environments: what runs there, who waits, who keeps them shut.")
PipelineName = Annotated[str, typer.Argument(metavar="PIPELINE", help="Pipeline.")]
EnvironmentName = Annotated[str, typer.Argument(metavar="ENV", help="Environment, one of the pipeline's.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


@app.command("list")
def list_(pipeline: PipelineName) -> None:
    """List the environments of a pipeline, in its order."""

    async def work(client: Client) -> list[Environment]:
        from opsuite.deployer.v1.environment_service_pb2 import ListEnvironmentsRequest

        request = ListEnvironmentsRequest(parent=pipeline_name(pipeline))
        return list((await _stub(client).ListEnvironments(request)).environments)

    found = talk(work)
    if not screen.wants_table():
        screen.document(found)
        return
    screen.table(
        ["ENVIRONMENT", "STABLE", "REVISION", "DEPLOYING", "WAITING", "LOCKED BY", "OPEN"], [_row(one) for one in found]
    )


@app.command()
def show(place: Annotated[str, typer.Argument(metavar="PIPELINE/ENV", help="Environment of a pipeline.")]) -> None:
    """Show an environment: what is stable there, who has it, who waits, who keeps it shut."""
    pipeline, _, environment = place.removeprefix("pipelines/").replace("/environments/", "/").partition("/")
    if not environment:
        raise typer.BadParameter(f"{place} is not PIPELINE/ENV", param_hint="PIPELINE/ENV")
    _print(talk(lambda client: environment_of(client, pipeline, environment)))


def lock(
    pipeline: PipelineName,
    env: EnvironmentName,
    message: Annotated[str, typer.Option("--message", "-m", help="What for; shown to those whom it keeps out.")] = "",
    ttl: Annotated[
        timedelta | None, typer.Option(parser=duration, help="How long it holds unless renewed (1h); else for good.")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Let the time of your lock begin anew instead.")] = False,
    reason: Reason = "",
) -> None:
    """Let nobody else deploy to an environment; rollbacks pass. Who holds the lock may change it."""
    if renew == bool(message):
        raise typer.BadParameter("a message says what the lock is for; --renew takes none", param_hint="-m")

    async def work(client: Client) -> Environment:
        from opsuite.deployer.v1.environment_service_pb2 import LockEnvironmentRequest, RenewLockRequest

        name = _name(pipeline, env)
        if renew:
            await _stub(client).RenewLock(RenewLockRequest(name=name))
            return await environment_of(client, pipeline, env)
        request = LockEnvironmentRequest(name=name, message=message, reason=reason)
        if ttl is not None:
            request.ttl.FromTimedelta(ttl)
        return (await _stub(client).LockEnvironment(request)).environment

    found = talk(work)
    if screen.wants_table():
        screen.say(f"{env} of {short(pipeline)} is {_locked(found.lock)}")
    else:
        screen.document(found)


def unlock(
    pipeline: PipelineName,
    env: EnvironmentName,
    force: Annotated[
        bool, typer.Option("--force", help="Whoever holds it; needs the right to, and is audited.")
    ] = False,
    reason: Reason = "",
) -> None:
    """End your lock of an environment."""

    async def work(client: Client) -> Environment:
        from opsuite.deployer.v1 import environment_service_pb2 as pb

        name = _name(pipeline, env)
        if force:
            forced = pb.ForceUnlockEnvironmentRequest(name=name, reason=reason)
            return (await _stub(client).ForceUnlockEnvironment(forced)).environment
        request = pb.UnlockEnvironmentRequest(name=name, reason=reason)
        return (await _stub(client).UnlockEnvironment(request)).environment

    found = talk(work)
    if screen.wants_table():
        screen.say(f"{env} of {short(pipeline)} is open")
    else:
        screen.document(found)


def _stub(client: Client) -> EnvironmentServiceAsyncStub:
    """The service of environments."""
    from opsuite.deployer.v1.environment_service_pb2_grpc import EnvironmentServiceStub

    found: EnvironmentServiceAsyncStub = EnvironmentServiceStub(client.channel)
    return found


async def environment_of(client: Client, pipeline: str, environment: str) -> Environment:
    """An environment as it is now. Raises NotFound."""
    from opsuite.deployer.v1.environment_service_pb2 import GetEnvironmentRequest

    request = GetEnvironmentRequest(name=_name(pipeline, environment))
    return (await _stub(client).GetEnvironment(request)).environment


def _name(pipeline: str, environment: str) -> str:
    return f"{pipeline_name(pipeline)}/environments/{environment}"


def _row(one: Environment) -> list[str]:
    return [
        short(one.name),
        one.stable.version or "nothing",
        str(one.stable.pipeline_revision or ""),
        short(one.holder),
        str(one.queue_length or ""),
        one.lock.holder,
        "yes" if one.deployable else "no",
    ]


def _print(one: Environment) -> None:
    from opsuite_cli import words

    if not screen.wants_table():
        screen.document(one)
        return
    screen.say(one.name.removeprefix("pipelines/").replace("/environments/", " → "), "bold")
    if one.HasField("stable"):
        since = words.clock(words.moment(one.stable, "end_time"))
        revision = f"revision {one.stable.pipeline_revision}"
        screen.say(f"stable:    {one.stable.version} ({revision}) since {since}, by {short(one.stable.deployment)}")
    else:
        screen.say("stable:    nothing yet")
    screen.say(f"deploying: {short(one.holder) or 'nothing'}")
    waiting = ", ".join(short(name) for name in one.queue)
    screen.say(f"waiting:   {waiting or 'nothing'}" + (" …" if one.queue_length > len(one.queue) else ""))
    screen.say(f"lock:      {_locked(one.lock) if one.HasField('lock') else 'none'}")
    if one.promotes_from:
        screen.say(f"order:     a version has to be stable in {one.promotes_from} first")
    if one.deployable:
        screen.say("you may deploy to it", "green")
    for obstacle in one.obstacles:
        screen.say(f"you may not deploy to it: {obstacle.message}", "yellow")


def _locked(lock: EnvironmentLock) -> str:
    from opsuite_cli import words

    expires = words.moment(lock, "expire_time")
    until = f"until {words.clock(expires)} unless renewed" if expires else "until it is unlocked"
    return f"locked by {lock.holder} {until}: {lock.message}"
