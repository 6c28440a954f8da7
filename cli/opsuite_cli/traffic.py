"""Routes by hand: who is sent where, and the edges that do it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import Client, talk
from opsuite_cli.deployments import duration

if TYPE_CHECKING:
    from opsuite.deployer.v1.traffic_service_pb2 import Edge, RouteWeights
    from opsuite.deployer.v1.traffic_service_pb2_grpc import TrafficServiceAsyncStub

app = typer.Typer(no_args_is_help=True, help="Routes: who is sent where, and changing that by hand for a time.")
WorkloadName = Annotated[str, typer.Argument(metavar="WORKLOAD", help="Workload.")]
Reason = Annotated[str, typer.Option(help="Why, for the history.")]


@app.command()
def show(workload: WorkloadName) -> None:
    """Show the route of a workload: the share of each revision, and which edges have it."""

    async def work(client: Client) -> RouteWeights:
        from opsuite.deployer.v1.traffic_service_pb2 import GetWeightsRequest

        return (await _stub(client).GetWeights(GetWeightsRequest(name=_name(workload)))).weights

    _print(talk(work))


@app.command("set")
def set_(
    workload: WorkloadName,
    shares: Annotated[list[str], typer.Argument(metavar="REVISION=PERCENT…", help="Shares that add up to 100.")],
    ttl: Annotated[timedelta, typer.Option(parser=duration, help="How long it holds (10m); then what was before.")],
    reason: Reason = "",
) -> None:
    """Split the requests by hand for a time; refused while a rollout has the route."""
    split = dict(_share(one) for one in shares)

    async def work(client: Client) -> RouteWeights:
        from opsuite.deployer.v1.traffic_service_pb2 import RevisionWeight, SetWeightsRequest

        request = SetWeightsRequest(
            name=_name(workload),
            revisions=[RevisionWeight(revision=name, weight=weight) for name, weight in split.items()],
            reason=reason,
        )
        request.ttl.FromTimedelta(ttl)
        return (await _stub(client).SetWeights(request)).weights

    _print(talk(work))


@app.command()
def drain(
    workload: WorkloadName,
    endpoint: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Where the replica takes requests.")],
    undo: Annotated[bool, typer.Option("--undo", help="Put it back.")] = False,
    reason: Reason = "",
) -> None:
    """Take one replica out of the route, or put it back; requests under way get time to end."""

    async def work(client: Client) -> RouteWeights:
        from opsuite.deployer.v1.traffic_service_pb2 import DrainEndpointRequest

        request = DrainEndpointRequest(name=_name(workload), endpoint=endpoint, undo=undo, reason=reason)
        return (await _stub(client).DrainEndpoint(request)).weights

    _print(talk(work))


def list_edges() -> None:
    """List the edges that have ever connected, and whether they have what was asked for."""

    async def work(client: Client) -> list[Edge]:
        from opsuite.deployer.v1.traffic_service_pb2 import ListEdgesRequest

        return list((await _stub(client).ListEdges(ListEdgesRequest())).edges)

    found = talk(work)
    if not screen.wants_table():
        screen.document(found)
        return
    from opsuite_cli import words

    screen.table(
        ["EDGE", "CONNECTED", "UP TO DATE", "LAST SEEN", "REFUSES"],
        [
            [
                one.name.removeprefix("edges/"),
                _yes(one.connected),
                _yes(one.up_to_date),
                words.clock(words.moment(one, "last_seen_time")),
                one.rejection,
            ]
            for one in found
        ],
    )


def forget_edge(edge: Annotated[str, typer.Argument(metavar="ID", help="Name of the edge.")]) -> None:
    """Forget an edge that is gone for good: what is silent blocks promotions."""

    async def work(client: Client) -> None:
        from opsuite.deployer.v1.traffic_service_pb2 import ForgetEdgeRequest

        await _stub(client).ForgetEdge(ForgetEdgeRequest(name=f"edges/{edge.removeprefix('edges/')}"))

    talk(work)
    if screen.wants_table():
        screen.say(f"edge {edge} is forgotten")
    else:
        screen.write({})


def _stub(client: Client) -> TrafficServiceAsyncStub:
    from opsuite.deployer.v1.traffic_service_pb2_grpc import TrafficServiceStub

    found: TrafficServiceAsyncStub = TrafficServiceStub(client.channel)
    return found


def _name(workload: str) -> str:
    return f"workloads/{workload.removeprefix('workloads/')}"


def _share(text: str) -> tuple[str, int]:
    revision, _, percent = text.partition("=")
    if not revision or not percent.isdecimal():
        raise typer.BadParameter(f"{text} is not REVISION=PERCENT", param_hint="REVISION=PERCENT")
    return revision, int(percent)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _print(weights: RouteWeights) -> None:
    from opsuite_cli import words

    if not screen.wants_table():
        screen.document(weights)
        return
    screen.table(
        ["REVISION", "TRACK", "SHARE", "REPLICAS"],
        [[one.revision, one.track, f"{one.weight} %", " ".join(one.endpoints)] for one in weights.revisions],
    )
    if weights.drained_endpoints:
        screen.say(f"taken out by hand: {' '.join(weights.drained_endpoints)}", "yellow")
    if (until := words.moment(weights, "expire_time")) is not None:
        screen.say(f"split by hand until {words.clock(until)}", "yellow")
    for edge in weights.edges:
        said = edge.rejection or ("has it" if edge.applied else "does not have it yet")
        screen.say(f"edge {edge.id}: {said}" + ("" if edge.connected else ", not connected"))
