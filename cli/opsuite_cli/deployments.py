"""Deploying, and looking at what a deployment does: deploy, plan, watch, explain, logs."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.names import deployment_name, pipeline_name, short

if TYPE_CHECKING:
    from opsuite.deployer.v1.deployment_pb2 import Deployment
    from opsuite.deployer.v1.deployment_service_pb2 import PlanDeploymentResponse
    from opsuite_cli.follow import View

WAITED_TOO_LONG = 4
DeploymentId = Annotated[str, typer.Argument(help="Id of the deployment, or its whole name.")]
Environment = Annotated[str, typer.Option("--env", "-e", help="Environment, one of the pipeline's.")]
Variables = Annotated[list[str] | None, typer.Option("--var", help="Value of a variable of the pipeline: NAME=VALUE.")]
From = Annotated[
    str, typer.Option("--from", help="Environment whose stable version is deployed, with its revision of the pipeline.")
]
Priority = Annotated[int, typer.Option(min=0, max=9, help="How urgent it is: higher goes first in the queue.")]
SkipOrder = Annotated[
    bool, typer.Option("--skip-order", help="Pass the order of the environments; needs a reason, and the right to.")
]
_DURATION: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>s|m|h)?").fullmatch
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, None: 1}


def duration(text: str) -> timedelta:
    """`90`, `90s`, `15m` or `2h`."""
    if (found := _DURATION(text)) is None:
        raise typer.BadParameter(f"{text} is not a duration such as 90s, 15m or 2h")
    return timedelta(seconds=float(found["number"]) * _UNIT_SECONDS[found["unit"]])


def variables(given: list[str] | None) -> dict[str, str]:
    """The values of `--var`."""
    wrong = [one for one in given or [] if "=" not in one]
    if wrong:
        raise typer.BadParameter(f"{wrong[0]} is not NAME=VALUE", param_hint="--var")
    return dict(one.split("=", 1) for one in given or [])


def require_version(version: str, from_: str) -> None:
    """Say that one of the two is needed."""
    if not version and not from_:
        raise typer.BadParameter("a version, or --from an environment", param_hint="VERSION")


def deploy(
    pipeline: Annotated[str, typer.Argument(help="Pipeline to run.")],
    env: Environment,
    version: Annotated[str, typer.Argument(help="Version to deploy: a tag, a commit; not needed with --from.")] = "",
    var: Variables = None,
    from_: From = "",
    priority: Priority = 0,
    skip_order: SkipOrder = False,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Show what happens and wait for the end.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="The same, with what the steps write.")] = False,
    timeout: Annotated[
        timedelta | None, typer.Option(parser=duration, help="Longest wait (15m); the deployment goes on after it.")
    ] = None,
) -> None:
    """Deploy a version.

    With --wait the exit status is 0 when it succeeded, 3 when the old version is back (rolled back, or a rollout was
    aborted), 4 when it failed or timed out, 5 when it waits for a person, 6 when it was cancelled or superseded.
    Without, 0 means that it was recorded.
    """
    values = variables(var)
    require_version(version, from_)

    async def work(client: Client) -> None:
        from opsuite.deployer.v1.deployment_service_pb2 import DeployRequest

        request = DeployRequest(
            pipeline=pipeline_name(pipeline),
            version=version,
            environment=env,
            variables=values,
            reason=reason,
            from_environment=from_,
            priority=priority,
            skip_order=skip_order,
        )
        recorded = (await client.deployments.Deploy(request)).deployment
        if wait or follow:
            await _wait(client, recorded.name, Wait(logs=follow, timeout=timeout))
        else:
            _recorded(recorded)

    talk(work)


def plan(
    pipeline: Annotated[str, typer.Argument(help="Pipeline to run.")],
    env: Environment,
    version: Annotated[str, typer.Argument(help="Version to deploy; not needed with --from.")] = "",
    var: Variables = None,
    from_: From = "",
    priority: Priority = 0,
    skip_order: SkipOrder = False,
) -> None:
    """Say what `deploy` would do, and whether it could start now. Changes nothing; exit status 1 when it could not."""
    values = variables(var)
    require_version(version, from_)

    async def work(client: Client) -> PlanDeploymentResponse:
        from opsuite.deployer.v1.deployment_service_pb2 import PlanDeploymentRequest

        return await client.deployments.PlanDeployment(
            PlanDeploymentRequest(
                pipeline=pipeline_name(pipeline),
                version=version,
                environment=env,
                variables=values,
                from_environment=from_,
                priority=priority,
                skip_order=skip_order,
            )
        )

    planned = talk(work)
    _print_plan(planned) if screen.wants_table() else screen.document(planned)
    if not planned.ready or planned.HasField("refusal"):
        raise typer.Exit(1)


def watch(deployment: DeploymentId) -> None:
    """Follow a deployment to its end; the exit status is that of `deploy --wait`, but a pause does not end it."""

    async def work(client: Client) -> None:
        name = await deployment_name(client, deployment)
        await _wait(client, name, Wait(until_paused=False, events_for_programs=True))

    talk(work)


def explain(deployment: DeploymentId) -> None:
    """Say how a deployment stands: what failed, what was done about it, and what to run next."""

    async def work(client: Client) -> Deployment:
        from opsuite.deployer.v1.deployment_service_pb2 import GetDeploymentRequest

        name = await deployment_name(client, deployment)
        return (await client.deployments.GetDeployment(GetDeploymentRequest(name=name))).deployment

    found = talk(work)
    if screen.wants_table():
        _explain(found)
    else:
        screen.document(found)


def logs(
    deployment: DeploymentId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more until the deployment ends.")] = False,
    stage: Annotated[str, typer.Option(help="Only this stage.")] = "",
    step: Annotated[str, typer.Option(help="Only this step.")] = "",
) -> None:
    """Print what the steps wrote, oldest first."""

    async def work(client: Client) -> None:
        from opsuite.deployer.v1.deployment_service_pb2 import ListLogsRequest, TailLogsRequest
        from opsuite_cli.follow import JsonView, PlainView, tail_logs

        wrote = (PlainView() if screen.wants_table() else JsonView()).wrote
        name = await deployment_name(client, deployment)
        if follow:
            await tail_logs(client, TailLogsRequest(name=name, stage=stage, step=step), wrote)
            return
        request = ListLogsRequest(name=name, stage=stage, step=step, page_size=5000)
        while True:
            page = await client.deployments.ListLogs(request)
            for line in page.lines:
                wrote(line)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    talk(work)


# ---- the wait -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a deployment is followed, and what is shown of it."""

    logs: bool = False
    """Also what the steps write."""
    timeout: timedelta | None = None
    until_paused: bool = True
    """Whether a pause ends the wait."""
    events_for_programs: bool = False
    """Programs get every event; otherwise only the deployment, once it has ended."""


async def _wait(client: Client, name: str, how: Wait) -> None:
    """Follow a deployment, and end the command with its exit status."""
    import asyncio

    from opsuite_cli.ending import exit_status
    from opsuite_cli.follow import follow

    try:
        async with asyncio.timeout(None if how.timeout is None else how.timeout.total_seconds()):
            with _view(how) as view:
                ended = await follow(client, name, view, until_paused=how.until_paused, logs=how.logs)
    except TimeoutError:
        screen.complain([f"error: it has not ended yet, and goes on: opsuite watch {short(name)}"])
        raise typer.Exit(WAITED_TOO_LONG) from None
    except asyncio.CancelledError:
        screen.complain([f"left; the deployment goes on: opsuite watch {short(name)}"])
        raise
    if screen.wants_table():
        _print_ending(ended)
    elif not how.events_for_programs:
        screen.document(ended)
    raise typer.Exit(exit_status(ended))


def _view(how: Wait) -> AbstractContextManager[View]:
    from opsuite_cli.follow import JsonView, SilentView, view_for_people

    if screen.wants_table():
        return view_for_people()
    return nullcontext(JsonView() if how.events_for_programs else SilentView())


def _print_ending(deployment: Deployment) -> None:
    from opsuite_cli import words
    from opsuite_cli.ending import ending_of

    for warning in deployment.warnings:
        screen.complain([f"warning: {warning}"])
    if (ending := ending_of(deployment)) is not None:
        screen.complain(ending.lines(), headed=False)
        return
    took = words.seconds(words.took(deployment, datetime.now(UTC)))
    screen.say(f"{words.title(deployment)} {words.status(deployment.status)} in {took}", "green")


def _recorded(deployment: Deployment) -> None:
    from opsuite_cli import words

    if not screen.wants_table():
        screen.document(deployment)
        return
    place = f", position {deployment.queue_position}" if deployment.queue_position else ""
    screen.say(f"deployment {deployment.uid}: {words.title(deployment)}, {words.status(deployment.status)}{place}")
    screen.say(f"next:   opsuite watch {deployment.uid}")


def _explain(deployment: Deployment) -> None:
    from opsuite_cli import words
    from opsuite_cli.ending import ending_of
    from opsuite_cli.rollout_tree import hooks_of, rollouts_of, whole

    status = words.status(deployment.status)
    screen.say(f"deployment {deployment.uid}: {words.title(deployment)}", "bold")
    screen.say(f"{status}  {deployment.message}".rstrip(), screen.COLOURS.get(status, ""))
    who = f"asked for by {deployment.requested_by} at {words.clock(words.moment(deployment, 'create_time'))}"
    screen.say(f"{who}: {deployment.request_reason}" if deployment.request_reason else who)
    for role, other in (("takes back", deployment.rollback_of), ("tries again", deployment.retry_of)):
        if other:
            screen.say(f"{role} {short(other)}")
    if deployment.order_skipped:
        screen.say("was let past the order of the environments", "yellow")
    for warning in deployment.warnings:
        screen.say(f"warning: {warning}", "yellow")
    now = datetime.now(UTC)
    lines = [line for stage, step in rollouts_of(deployment) for line in whole(stage, step, now)]
    for line in (*lines, *hooks_of(deployment, now)):
        screen.console().print(screen.styled([("  ", ""), *line]))
    if (ending := ending_of(deployment)) is not None:
        screen.say("\n".join(ending.lines()))
    elif status != "SUCCEEDED":
        screen.say(f"next:   opsuite watch {deployment.uid}")


def _print_plan(planned: PlanDeploymentResponse) -> None:
    screen.table(
        ["STAGE", "STEP", "KIND", "ACTION"], [[one.stage, one.step, one.kind, one.action] for one in planned.steps]
    )
    screen.say()
    screen.table(
        ["CHECK", "RESULT", "FOUND"],
        [[one.subject, "SUCCEEDED" if one.passed else "FAILED", one.message] for one in planned.checks],
    )
    screen.say()
    when = f"would wait at position {planned.queue_position}" if planned.queue_position else "would start at once"
    if planned.HasField("refusal"):
        when = "would be refused"
    back = planned.rollback_version or "nothing: there is no earlier version"
    screen.say(
        f"version {planned.version}, pipeline revision {planned.pipeline_revision}; {when}; would go back to {back}"
    )
    for name in planned.supersedes:
        screen.say(f"would take the place of {short(name)} in the queue", "yellow")
    if planned.cancels:
        screen.say(f"would cancel {short(planned.cancels)} and wait for its end", "yellow")
    if planned.lifts_bar_of:
        screen.say(f"would lift the bar that {short(planned.lifts_bar_of)} left when its rollback failed", "yellow")
    if planned.HasField("refusal"):
        screen.complain([f"error: it would be refused: {planned.refusal.message}"])
    if not planned.ready:
        screen.complain(["error: it could not start: see the checks that failed"])
