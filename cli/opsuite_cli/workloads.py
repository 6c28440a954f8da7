"""Workloads that rollouts look after, as they are now: list, show, restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.names import short

if TYPE_CHECKING:
    from opsuite.deployer.v1.workload_service_pb2 import Workload
    from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceAsyncStub

app = typer.Typer(
    no_args_is_help=True, help="Workloads: their revisions, their replicas, and what is not as it should be."
)
WorkloadName = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Workload.")]


@app.command("list")
def list_() -> None:
    """List the workloads that rollouts look after."""
    found = talk(all_workloads)
    if not screen.wants_table():
        screen.document(found)
        return
    screen.table(["WORKLOAD", "ENVIRONMENT", "STABLE", "REVISIONS", "ROLLING OUT"], [_row(one) for one in found])


@app.command()
def show(workload: WorkloadName) -> None:
    """Show a workload with its revisions and replicas, and what is not as it was asked for."""
    _print(talk(lambda client: workload_of(client, _name(workload))))


@app.command()
def restart(workload: WorkloadName, reason: Annotated[str, typer.Option(help="Why, for the history.")] = "") -> None:
    """Restart the replicas of the stable revision one after the other; returns when all run again."""

    async def work(client: Client) -> Workload:
        from opsuite.deployer.v1.workload_service_pb2 import RestartWorkloadRequest

        request = RestartWorkloadRequest(name=_name(workload), reason=reason)
        return (await _stub(client).RestartWorkload(request)).workload

    _print(talk(work))


async def all_workloads(client: Client) -> list[Workload]:
    """Every workload, without replicas."""
    from opsuite.deployer.v1.workload_service_pb2 import ListWorkloadsRequest

    return list((await _stub(client).ListWorkloads(ListWorkloadsRequest())).workloads)


async def workload_of(client: Client, name: str) -> Workload:
    """A workload as it is now. Raises NotFound, Unavailable."""
    from opsuite.deployer.v1.workload_service_pb2 import GetWorkloadRequest

    return (await _stub(client).GetWorkload(GetWorkloadRequest(name=name))).workload


def _stub(client: Client) -> WorkloadServiceAsyncStub:
    from opsuite.deployer.v1.workload_service_pb2_grpc import WorkloadServiceStub

    found: WorkloadServiceAsyncStub = WorkloadServiceStub(client.channel)
    return found


def _name(workload: str) -> str:
    return f"workloads/{workload.removeprefix('workloads/')}"


def _place(workload: Workload) -> str:
    return workload.environment.removeprefix("pipelines/").replace("/environments/", "/")


def _row(workload: Workload) -> list[str]:
    stable = next((one.version for one in workload.revisions if one.stable), "nothing")
    return [
        short(workload.name),
        _place(workload),
        stable,
        str(len(workload.revisions)),
        short(workload.rollout_of),
    ]


def _print(workload: Workload) -> None:
    if not screen.wants_table():
        screen.document(workload)
        return
    screen.say(f"{short(workload.name)} of {_place(workload)}", "bold")
    if workload.rollout_of:
        screen.say(f"is being rolled out by {short(workload.rollout_of)}")
    screen.table(
        ["REVISION", "VERSION", "STABLE", "REPLICAS", "SHARE"],
        [
            [
                one.name,
                one.version,
                "yes" if one.stable else "",
                str(one.replicas),
                f"{one.weight} %" if one.HasField("weight") else "",
            ]
            for one in workload.revisions
        ],
    )
    for revision in workload.revisions:
        for replica in revision.replica_statuses:
            restarts = f", {replica.restarts} restarts" if replica.restarts else ""
            said = f": {replica.message}" if replica.message else ""
            screen.say(f"  {replica.name}  {replica.phase}  {replica.endpoint}{restarts}{said}")
    for drift in workload.drift:
        screen.say(f"drift: {drift}", "yellow")
