"""What becomes dearer as things grow tenfold: the same figure at N and at 10 N."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from deployer import Client, deploy, ended

from bench.deployers import a_bench_deployer, deploy_and_wait, register_ten
from bench.history import fill, pages_of
from bench.table import Row, ms, p50
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_deployer.composition import MIGRATIONS
from opsuite_storage.migrations import migrate
from opsuite_storage.store import open_store


async def main(rounds: int) -> list[Row]:
    return [*await deployments(rounds), *await steps(rounds), *await pages()]


async def deployments(rounds: int) -> list[Row]:
    """Ten steps and a read among 10,000 deployments of before, and among 100,000."""
    taken: dict[int, tuple[float, float]] = {}
    for before in (10_000, 100_000):
        with a_bench_deployer() as deployer:
            deployer.terminate()
            store = open_store("sqlite", data_dir=deployer.data_dir, name="deployer")
            await fill(store, before)
            await store.close()
            deployer.start()
            async with deployer.client() as client:
                await register_ten(client, "ten")
                for _ in range(10):
                    await deploy_and_wait(client, "ten")
                whole = p50([await deploy_and_wait(client, "ten") for _ in range(10 * rounds)])
                taken[before] = whole, await _reading(client)
    (few, read_few), (many, read_many) = taken[10_000], taken[100_000]
    return [
        Row("ten steps, 100,000 deployments before", ms(many), f"10,000: {ms(few)}", many / few, 1.2),
        Row("GetDeployment, 100,000 deployments", ms(read_many), f"10,000: {ms(read_few)}", read_many / read_few, 1.2),
    ]


async def _reading(client: Client) -> float:
    name = (await deploy(client, "ten")).name
    await ended(client, name)
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        await client.deployments.GetDeployment(pb.GetDeploymentRequest(name=name))
        taken.append((time.perf_counter() - began) * 1000)
    return p50(taken)


async def steps(rounds: int) -> list[Row]:
    """A hundred steps, each beside one of ten."""
    with a_bench_deployer() as deployer:
        async with deployer.client() as client:
            await register_ten(client, "ten")
            await register_ten(client, "hundred", 100)
            taken: dict[str, list[float]] = {"ten": [], "hundred": []}
            for _ in range(rounds + 1):
                taken["ten"] += [await deploy_and_wait(client, "ten") for _ in range(5)]
                taken["hundred"].append(await deploy_and_wait(client, "hundred"))
    one_of_ten, one_of_hundred = p50(taken["ten"][5:]) / 10, p50(taken["hundred"][1:]) / 100
    ratio = one_of_hundred / one_of_ten
    return [Row("one step of a hundred", ms(one_of_hundred), f"of ten: {ms(one_of_ten)}", ratio, 1.2)]


async def pages() -> list[Row]:
    """A page of history out of 10,000 and of 100,000."""
    found = []
    with tempfile.TemporaryDirectory(prefix="opsuite-bench-") as directory:
        store = open_store("sqlite", data_dir=Path(directory), name="bench")
        await migrate(store, MIGRATIONS)
        for first, more in ((0, 10_000), (10_000, 90_000)):
            await fill(store, more, first)
            await pages_of(store, ("-", "-"), 20)
            found.append(p50(await pages_of(store, ("-", "-"), 100)))
        await store.close()
    return [Row("history page, 100,000 rows", ms(found[1]), f"10,000: {ms(found[0])}", found[1] / found[0], 1.2)]
