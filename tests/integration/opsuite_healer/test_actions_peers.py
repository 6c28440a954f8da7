"""Actions by a real deployer and a real scaler on a real supervisord: rolled back, scaled, drained, each once."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from deployer import DeployerProcess, a_deployer, a_pipeline, deploy, ended, free_port, register
from envoy import Edge
from fakes.healer_actions import Actor, an_actor
from fakes.web_workload import SERVER, a_rollout, status_of
from scaler import ScalerProcess, a_policy, create

from opsuite_healer.application.actions import ActionCall, ActionOutcome
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Conflict, Unavailable
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

pytestmark = pytest.mark.asyncio(loop_scope="module")

SHOP = TargetRef("process", "shop")
DONE = ActionOutcome.DONE
PATIENCE = timedelta(minutes=2)


@dataclass
class Suite:
    """Everything that runs, and a healer's actions on it."""

    deployer: DeployerProcess
    scaler: ScalerProcess
    actor: Actor


@pytest.fixture(scope="module")
def processes() -> Iterator[tuple[DeployerProcess, ScalerProcess]]:
    """A deployer whose work directory holds a small web server, and a scaler of the same workloads."""
    with a_deployer() as deployer:
        deployer.work.mkdir(parents=True, exist_ok=True)
        program = deployer.work / "serve"
        program.write_text(SERVER)
        program.chmod(0o755)
        scaler = ScalerProcess(deployer.data_dir.parent / "scaler", deployer.data_dir)
        try:
            scaler.start()
            yield deployer, scaler
        finally:
            scaler.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def suite(processes: tuple[DeployerProcess, ScalerProcess]) -> AsyncIterator[Suite]:
    """The workload `shop` behind an edge in version 1.1, which came after 1.0; the last test takes that back."""
    deployer, scaler = processes
    folder = Path(tempfile.mkdtemp(prefix="opsuite-"))
    edge = Edge(EdgeBootstrap("edge-1", deployer.socket.replace("unix://", "unix:")), folder)
    await edge.start()
    traffic = {"edge": {"listenPort": free_port()}, "drain": "0.1s"}
    async with deployer.client() as client:
        await register(client, a_pipeline("shop", a_rollout("shop", traffic=traffic, rolling={})))
        for version in ("1.0", "1.1"):
            await ended(client, (await deploy(client, "shop", version)).name)
    async with an_actor(
        folder / "healer",
        platform_dir=deployer.data_dir,
        HEALER_DEPLOYER_ADDRESS=deployer.address,
        deployer_token_file=deployer.data_dir / "token",
        HEALER_SCALER_ADDRESS=scaler.address,
        scaler_token_file=scaler.data_dir / "token",
    ) as actor:
        yield Suite(deployer, scaler, actor)
    await edge.kill()
    shutil.rmtree(folder)


async def sizes(suite: Suite) -> int:
    """Replicas that the workload is to have, over all of its revisions."""
    platform = suite.actor.stage.house.platforms["process"]
    names = await platform.list_workloads(part_of="shop")
    return sum([(await platform.observe(name)).desired_replicas for name in names])


async def replicas(suite: Suite) -> list[TargetRef]:
    """The replicas that serve."""
    platform = suite.actor.stage.house.platforms["process"]
    return [
        TargetRef("process", "shop", replica.name)
        for name in await platform.list_workloads(part_of="shop")
        for replica in (await platform.observe(name)).replicas
    ]


async def test_the_last_deployment_that_changed_a_target_is_told(suite: Suite) -> None:
    rollouts = suite.actor.doing.rollouts
    revision = (await replicas(suite))[0].replica.rpartition("-")[0]

    last = await rollouts.last(SHOP)

    assert last is not None
    assert (last.version, last.previous_version, last.is_healthy, last.is_rollback) == ("1.1", "1.0", True, False)
    assert last.ended_at is not None
    assert last.ended_at > last.started_at
    assert await rollouts.last(TargetRef("process", revision)) == last
    assert await rollouts.last(TargetRef("process", "stranger")) is None


async def test_a_workload_is_scaled_up_once_and_back_again(suite: Suite) -> None:
    actor = suite.actor
    before = await sizes(suite)
    call = actor.call("SCALE_UP", SHOP, max=str(before + 1), by="5")
    known = await actor.prepare(call)

    results = [await actor.run(call, known) for _ in range(2)]
    grown = await sizes(suite)
    undo = results[0].undo
    assert undo is not None
    back = [await actor.take(actor.call(undo.kind, SHOP, **undo.params)) for _ in range(2)]

    assert [result.outcome for result in [*results, *back]] == [DONE] * 4
    assert (grown, await sizes(suite)) == (before + 1, before)


async def test_what_is_at_its_bound_is_not_scaled(suite: Suite) -> None:
    call = suite.actor.call("SCALE_UP", SHOP, max=str(await sizes(suite)))

    with pytest.raises(Conflict) as refused:
        await suite.actor.prepare(call)

    assert refused.value.reason == "AT_MAXIMUM"


async def test_a_size_that_somebody_else_has_changed_is_respected(suite: Suite) -> None:
    actor, before = suite.actor, await sizes(suite)
    call = actor.call("SCALE_UP", SHOP, max="9")
    known = await actor.prepare(call)
    other = actor.call("SCALE_UP", SHOP, max="9", by="3")
    taken = await actor.take(other)

    result = await actor.run(call, known)
    assert taken.undo is not None
    await actor.take(actor.call(taken.undo.kind, SHOP, **taken.undo.params))

    assert (result.outcome, result.facts["reason"]) == (ActionOutcome.REFUSED, "SIZE_CHANGED")
    assert await sizes(suite) == before


async def test_a_replica_is_drained_and_put_back_and_never_more_than_the_share(suite: Suite) -> None:
    actor = suite.actor
    first, second = await replicas(suite)
    call = actor.call("REBALANCE_LOAD", first, mode="drain")
    known = await actor.prepare(call)

    results = [await actor.run(call, known) for _ in range(2)]
    with pytest.raises(Conflict) as refused:
        await actor.prepare(actor.call("REBALANCE_LOAD", second, mode="drain"))
    undo = results[0].undo
    assert undo is not None
    back = await actor.take(actor.call(undo.kind, first, **undo.params))

    assert [result.outcome for result in [*results, back]] == [DONE] * 3
    assert refused.value.reason == "SHARE_EXCEEDED"
    assert await actor.prepare(call) == known


async def test_a_split_by_hand_moves_no_more_than_the_share(suite: Suite) -> None:
    actor, revision = suite.actor, (await replicas(suite))[0].replica.rpartition("-")[0]
    nobody = actor.call("REBALANCE_LOAD", SHOP, mode="weights", weights=f"{revision}=40,shop-1=60")
    kept = actor.call("REBALANCE_LOAD", SHOP, mode="weights", weights=f"{revision}=100", ttl="2s")

    with pytest.raises(Conflict) as refused:
        await actor.prepare(nobody)
    result = await actor.take(kept)

    assert refused.value.reason == "SHARE_EXCEEDED"
    assert (result.outcome, result.undo) == (DONE, None)


async def test_what_the_deployer_has_no_route_to_cannot_be_drained(suite: Suite) -> None:
    call = suite.actor.call("REBALANCE_LOAD", TargetRef("process", "stranger", "stranger-0"), mode="drain")

    with pytest.raises(Conflict) as refused:
        await suite.actor.prepare(call)

    assert refused.value.reason == "NO_ROUTE"


async def test_the_last_deployment_is_rolled_back_once(suite: Suite) -> None:
    actor = suite.actor
    call = actor.call("ROLL_BACK_DEPLOYMENT", SHOP)
    known = await actor.prepare(call)

    results = [await actor.run(call, known, timeout=PATIENCE) for _ in range(2)]
    last = await actor.doing.rollouts.last(SHOP)
    with pytest.raises(Conflict) as refused:
        await actor.prepare(actor.call("ROLL_BACK_DEPLOYMENT", SHOP))
    async with suite.deployer.client() as client:
        back = await ended(client, results[0].facts["deployment"])

    assert [(result.outcome, result.facts["version"]) for result in results] == [(DONE, "1.0"), (DONE, "1.0")]
    assert results[0].facts == results[1].facts
    assert (status_of(back), back.rollback_of, "remediations/1" in back.request_reason) == (
        "SUCCEEDED",
        known["deployment"],
        True,
    )
    assert last is not None
    assert last.is_rollback
    assert refused.value.reason == "ALREADY_ROLLED_BACK"


async def test_what_was_deployed_too_long_ago_is_not_rolled_back(suite: Suite) -> None:
    call: ActionCall = suite.actor.call("ROLL_BACK_DEPLOYMENT", SHOP, within="1ms")

    with pytest.raises(Conflict) as refused:
        await suite.actor.prepare(call)

    assert refused.value.reason == "NO_RECENT_DEPLOYMENT"


async def test_a_policy_that_decides_about_the_size_is_asked_and_takes_it_back_itself(suite: Suite) -> None:
    actor, before = suite.actor, await sizes(suite)
    async with suite.scaler.client() as client:
        await create(client, a_policy("shop", target={"name": "shop", "platform": "process"}))
    call = actor.call("SCALE_UP", SHOP, max=str(before + 1))
    known = await actor.prepare(call)

    results = [await actor.run(call, known) for _ in range(2)]

    assert (results[0].outcome, results[0].undo, results[1].outcome) == (DONE, None, DONE)
    assert await sizes(suite) == before + 1


async def test_a_deployer_that_is_away_is_told_as_such() -> None:
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place:
        (token := Path(place) / "token-of-peer").write_text("secret")
        async with an_actor(
            Path(place) / "healer", HEALER_DEPLOYER_ADDRESS="127.0.0.1:1", deployer_token_file=token
        ) as actor:
            with pytest.raises(Unavailable, match="the deployer at"):
                await actor.doing.rollouts.last(SHOP)
