"""`opsuite diff`: what a deployment would do otherwise than the one that is stable there, and what has drifted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import ndiff
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.deployments import From, Variables, require_version, variables
from opsuite_cli.names import pipeline_name, short

if TYPE_CHECKING:
    from opsuite.deployer.v1.deployment_service_pb2 import PlanDeploymentRequest, PlanDeploymentResponse, PlannedStep
    from opsuite.deployer.v1.environment_service_pb2 import StableVersion

_COLOURS: Final = {"+": "green", "-": "red"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What would change."""

    stable: StableVersion | None
    before: PlanDeploymentResponse | None
    """What the stable deployment would do if it ran again; None if there is none."""
    after: PlanDeploymentResponse
    drift: Sequence[tuple[str, str]]
    """Workload, and what is not as it was asked for."""

    def lines(self) -> Iterator[str]:
        """Steps that go with "- " in front, that come with "+ ", that stay with two blanks."""
        before = [_step(one) for one in self.before.steps] if self.before else []
        yield from (line for line in ndiff(before, [_step(one) for one in self.after.steps]) if line[0] != "?")


def diff(
    pipeline: Annotated[str, typer.Argument(help="Pipeline.")],
    env: Annotated[str, typer.Argument(help="Environment, one of the pipeline's.")],
    version: Annotated[str, typer.Argument(help="Version that would be deployed; not needed with --from.")] = "",
    var: Variables = None,
    from_: From = "",
) -> None:
    """Say what a deployment would do otherwise than the stable one, and which workloads are not as asked for."""
    values = variables(var)
    require_version(version, from_)

    async def work(client: Client) -> Difference:
        from opsuite.deployer.v1.deployment_service_pb2 import PlanDeploymentRequest

        wished = PlanDeploymentRequest(
            pipeline=pipeline_name(pipeline),
            environment=env,
            version=version,
            variables=values,
            from_environment=from_,
        )
        return await difference(client, wished)

    found = talk(work)
    _print(found) if screen.wants_table() else screen.write(_document(found))


async def difference(client: Client, wished: PlanDeploymentRequest) -> Difference:
    """What would change. Raises what PlanDeployment does."""
    from opsuite.deployer.v1.deployment_service_pb2 import GetDeploymentRequest, PlanDeploymentRequest
    from opsuite_cli.environments import environment_of

    place = await environment_of(client, wished.pipeline, wished.environment)
    after = await client.deployments.PlanDeployment(wished)
    before = None
    if place.HasField("stable"):
        request = GetDeploymentRequest(name=place.stable.deployment)
        stable = (await client.deployments.GetDeployment(request)).deployment
        again = PlanDeploymentRequest(
            pipeline=wished.pipeline,
            environment=wished.environment,
            from_environment=wished.environment,
            variables=stable.variables,
        )
        before = await client.deployments.PlanDeployment(again)
    drift = await _drift(client, place.name)
    return Difference(place.stable if before else None, before, after, drift)


async def _drift(client: Client, environment: str) -> list[tuple[str, str]]:
    from opsuite_cli.workloads import all_workloads, workload_of

    theirs = [one.name for one in await all_workloads(client) if one.environment == environment]
    seen = [await workload_of(client, name) for name in theirs]
    return [(short(one.name), drift) for one in seen for drift in one.drift]


def _step(step: PlannedStep) -> str:
    return f"{step.stage}/{step.step}: {step.action}"


def _print(found: Difference) -> None:
    there = f"{found.stable.version} (revision {found.stable.pipeline_revision})" if found.stable else "nothing"
    screen.say(f"{there} → {found.after.version} (revision {found.after.pipeline_revision})", "bold")
    for line in found.lines():
        screen.say(line, _COLOURS.get(line[0], ""))
    for workload, drift in found.drift:
        screen.say(f"drift of {workload}: {drift}", "yellow")


def _document(found: Difference) -> dict[str, Any]:
    lines = list(found.lines())
    return {
        "before": screen.plain(found.stable) if found.stable else None,
        "after": {"version": found.after.version, "pipeline_revision": str(found.after.pipeline_revision)},
        "removed": [line[2:] for line in lines if line[0] == "-"],
        "added": [line[2:] for line in lines if line[0] == "+"],
        "unchanged": [line[2:] for line in lines if line[0] == " "],
        "drift": [{"workload": workload, "message": message} for workload, message in found.drift],
    }
