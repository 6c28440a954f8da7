"""Changing what a deployment does: cancel, pause, resume, retry, retry-step, skip-step, rollback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.deployments import DeploymentId
from opsuite_cli.names import deployment_name
from opsuite_kernel.errors import Conflict

if TYPE_CHECKING:
    from opsuite.deployer.v1.deployment_pb2 import Deployment

Reason = Annotated[str, typer.Option(help="Why, for the history.")]
Stage = Annotated[str, typer.Argument(help="Stage of the step, or moment of the hook (before:web).")]
StepName = Annotated[str, typer.Argument(help="The step or hook.")]


def cancel(deployment: DeploymentId, reason: Reason = "") -> None:
    """Stop a deployment and leave things as they are; its running steps are killed."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import CancelDeploymentRequest

        request = CancelDeploymentRequest(name=name, reason=reason)
        return (await client.deployments.CancelDeployment(request)).deployment

    steer(deployment_name, deployment, call)


def pause(deployment: DeploymentId, reason: Reason = "") -> None:
    """Let the running steps end, then start nothing more."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import PauseDeploymentRequest

        request = PauseDeploymentRequest(name=name, reason=reason)
        return (await client.deployments.PauseDeployment(request)).deployment

    steer(deployment_name, deployment, call)


def resume(deployment: DeploymentId, reason: Reason = "") -> None:
    """Let a paused deployment go on; a gate that paused it is asked again."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import ResumeDeploymentRequest

        request = ResumeDeploymentRequest(name=name, reason=reason)
        return (await client.deployments.ResumeDeployment(request)).deployment

    steer(deployment_name, deployment, call)


def retry(deployment: DeploymentId, reason: Reason = "") -> None:
    """Deploy the same version again, from the stage that failed."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import RetryDeploymentRequest

        request = RetryDeploymentRequest(name=name, reason=reason)
        return (await client.deployments.RetryDeployment(request)).deployment

    steer(deployment_name, deployment, call)


def retry_step(deployment: DeploymentId, stage: Stage, step: StepName, reason: Reason = "") -> None:
    """Let a step run again that was interrupted when the deployer died."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import RetryStepRequest

        request = RetryStepRequest(name=name, stage=stage, step=step, reason=reason)
        return (await client.deployments.RetryStep(request)).deployment

    steer(deployment_name, deployment, call)


def skip_step(deployment: DeploymentId, stage: Stage, step: StepName, reason: Reason = "") -> None:
    """Count a step as done that was interrupted when the deployer died."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import SkipStepRequest

        request = SkipStepRequest(name=name, stage=stage, step=step, reason=reason)
        return (await client.deployments.SkipStep(request)).deployment

    steer(deployment_name, deployment, call)


def rollback(
    deployment: DeploymentId,
    to: Annotated[str, typer.Option(help="Earlier deployment to go back to; the last stable one if absent.")] = "",
    reason: Reason = "",
) -> None:
    """Put the version back that was stable before a deployment, as a new deployment."""

    async def call(client: Client, name: str) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import RollbackRequest

        earlier = await deployment_name(client, to) if to else ""
        request = RollbackRequest(name=name, to=earlier, reason=reason)
        return (await client.deployments.Rollback(request)).deployment

    steer(deployment_name, deployment, call)


def steer(
    find: Callable[[Client, str], Awaitable[str]],
    typed: str,
    call: Callable[[Client, str], Awaitable[Deployment]],
    *,
    asked: str = "",
    following: str = "watch",
) -> None:
    """Ask something of the deployment that `find` makes of what was typed, and print how it, or the new one, stands.

    `asked` says what, where that is granted a moment later.
    """

    async def work(client: Client) -> Deployment:
        name = await find(client, typed)
        try:
            return await call(client, name)
        except Conflict as refused:
            refused.metadata.setdefault("deployment", name)  # whoever explains it says what to run next
            raise

    answer = talk(work)
    if not screen.wants_table():
        screen.document(answer)
        return
    from opsuite_cli import words

    wish = f"; asked {asked}" if asked else ""
    screen.say(f"deployment {answer.uid}: {words.title(answer)}, {words.status(answer.status)}{wish}")
    screen.say(f"next:   opsuite {following} {answer.uid}")
