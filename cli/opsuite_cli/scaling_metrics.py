"""What policies are fed with and share: metrics that are handed in, sources, capacity pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.scaling_calls import Client, request_id, short, talk

if TYPE_CHECKING:
    from opsuite.scaler.v1.metrics_service_pb2 import MetricSource
    from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceAsyncStub
    from opsuite.scaler.v1.pool_service_pb2 import CapacityPool
    from opsuite.scaler.v1.pool_service_pb2_grpc import CapacityPoolServiceAsyncStub

pool = typer.Typer(no_args_is_help=True, help="Capacity pools: what several targets may have together.")
POOLS = "capacityPools/"
PoolName = Annotated[str, typer.Argument(metavar="POOL", help="Name of the pool.")]


def add_to(parent: typer.Typer) -> None:
    """Add the commands of this module."""
    parent.command()(put)
    parent.command()(sources)
    parent.add_typer(pool, name="pool")


def put(
    metric: Annotated[str, typer.Argument(help="Name under which policies with the source `push` ask for it.")],
    value: Annotated[float, typer.Argument(help="What it is now.")],
    member: Annotated[str, typer.Option(help="Replica that it is of, for metrics of members.")] = "",
) -> None:
    """Hand in a metric, as MetricsService.PutMetricData does."""

    async def work(client: Client) -> int:
        from opsuite.scaler.v1.metrics_service_pb2 import MetricPoint, PutMetricDataRequest

        request = PutMetricDataRequest(points=[MetricPoint(metric=metric, value=value, member=member)])
        return (await _metrics(client).PutMetricData(request)).accepted

    accepted = talk(work)
    if screen.wants_table():
        screen.say(f"{metric}: {value:g}")
    else:
        screen.write({"accepted": accepted})


def sources() -> None:
    """List the metric sources that policies may name."""

    async def work(client: Client) -> list[MetricSource]:
        from opsuite.scaler.v1.metrics_service_pb2 import ListMetricSourcesRequest

        return list((await _metrics(client).ListMetricSources(ListMetricSourcesRequest())).sources)

    found = talk(work)
    if screen.wants_table():
        screen.table(["SOURCE", "KIND", "QUERIES"], [[one.name, one.kind, one.description] for one in found])
    else:
        screen.document(found)


@pool.command()
def create(
    name: PoolName,
    capacity: Annotated[int, typer.Argument(min=1, help="Replicas that all who share it may have together.")],
    description: Annotated[str, typer.Option(help="For people.")] = "",
) -> None:
    """Record a pool; policies share it by `pool: capacityPools/NAME`."""

    async def work(client: Client) -> CapacityPool:
        from opsuite.scaler.v1.pool_service_pb2 import CapacityPool, CreateCapacityPoolRequest

        wanted = CapacityPool(name=_full(name), capacity=capacity, description=description)
        request = CreateCapacityPoolRequest(request_id=request_id(), pool=wanted)
        return (await _pools(client).CreateCapacityPool(request)).pool

    _print(talk(work))


@pool.command()
def resize(name: PoolName, capacity: Annotated[int, typer.Argument(min=1, help="Replicas.")]) -> None:
    """Change how much a pool has."""

    async def work(client: Client) -> CapacityPool:
        from google.protobuf.field_mask_pb2 import FieldMask

        from opsuite.scaler.v1.pool_service_pb2 import CapacityPool, UpdateCapacityPoolRequest

        wanted = CapacityPool(name=_full(name), capacity=capacity)
        mask = FieldMask(paths=["capacity"])
        request = UpdateCapacityPoolRequest(request_id=request_id(), pool=wanted, update_mask=mask)
        return (await _pools(client).UpdateCapacityPool(request)).pool

    _print(talk(work))


@pool.command("list")
def list_() -> None:
    """List the pools, and who has what of them."""

    async def work(client: Client) -> list[CapacityPool]:
        from opsuite.scaler.v1.pool_service_pb2 import ListCapacityPoolsRequest

        return list((await _pools(client).ListCapacityPools(ListCapacityPoolsRequest(page_size=1000))).pools)

    found = talk(work)
    if screen.wants_table():
        screen.table(
            ["POOL", "CAPACITY", "SHARES"], [[short(one.name), str(one.capacity), _shares(one)] for one in found]
        )
    else:
        screen.document(found)


@pool.command()
def delete(name: PoolName) -> None:
    """Forget a pool that no policy shares any more."""

    async def work(client: Client) -> None:
        from opsuite.scaler.v1.pool_service_pb2 import DeleteCapacityPoolRequest

        await _pools(client).DeleteCapacityPool(DeleteCapacityPoolRequest(request_id=request_id(), name=_full(name)))

    talk(work)
    screen.say(f"pool {short(name)}: deleted")


def _print(found: CapacityPool) -> None:
    if screen.wants_table():
        screen.say(f"pool {short(found.name)}: {found.capacity} replicas")
    else:
        screen.document(found)


def _shares(found: CapacityPool) -> str:
    told = (f"{short(one.policy)} {one.current_replicas} of {one.granted_replicas}" for one in found.shares)
    return ", ".join(told) or "nobody"


def _full(name: str) -> str:
    return POOLS + name.removeprefix(POOLS)


def _metrics(client: Client) -> MetricsServiceAsyncStub:
    from opsuite.scaler.v1.metrics_service_pb2_grpc import MetricsServiceStub

    stub: MetricsServiceAsyncStub = MetricsServiceStub(client.channel)
    return stub


def _pools(client: Client) -> CapacityPoolServiceAsyncStub:
    from opsuite.scaler.v1.pool_service_pb2_grpc import CapacityPoolServiceStub

    stub: CapacityPoolServiceAsyncStub = CapacityPoolServiceStub(client.channel)
    return stub
