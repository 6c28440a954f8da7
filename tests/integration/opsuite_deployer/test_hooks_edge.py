"""Hooks of a canary behind a real Envoy: before the first requests and each greater share, and what a no does."""

import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from deployer import DeployerProcess, a_deployer, deploy, ended, free_port, register
from envoy import Edge, ask_often, load, served
from fakes.calls import get
from fakes.pipelines import a_pipeline, a_stage
from fakes.web_workload import SERVER, a_rollout, status_of

from opsuite_platforms.traffic.bootstrap import EdgeBootstrap


@pytest.fixture(scope="module")
def deployer() -> Iterator[DeployerProcess]:
    """A deployer whose work directory holds a small web server."""
    with a_deployer() as process:
        process.work.mkdir(parents=True, exist_ok=True)
        (process.work / "serve").write_text(SERVER)
        (process.work / "serve").chmod(0o755)
        yield process


@pytest.fixture
async def edge(deployer: DeployerProcess) -> AsyncIterator[Edge]:
    """An Envoy that takes its routes from the deployer."""
    folder = Path(tempfile.mkdtemp(prefix="opsuite-"))
    edge = Edge(EdgeBootstrap("edge-1", deployer.socket.replace("unix://", "unix:")), folder)
    await edge.start()
    yield edge
    await edge.kill()
    shutil.rmtree(folder)


class Gatekeeper:
    """A webhook that notes who asks and how the requests are shared then; says no when `refuses` says so."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.refuses: set[str] = set()
        self.asked: list[tuple[str, bool]] = []
        """Phase, and whether the new version gets any requests."""

    async def take(self, request: web.Request) -> web.Response:
        told = json.loads(await request.read())
        phase = told["phase"].split(":")[1]
        gets_some = told["version"] in await ask_often(self.port, 200) if told["version"] != "1.0" else False
        self.asked.append((phase, gets_some))
        return web.Response(status=403 if phase in self.refuses else 200)


@pytest.fixture
async def gatekeeper() -> AsyncIterator[tuple[Gatekeeper, str]]:
    """A gatekeeper and where it listens."""
    keeper = Gatekeeper(free_port())
    app = web.Application()
    app.router.add_post("/", keeper.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield keeper, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_a_canary_asks_before_its_shares_grow_and_a_refusal_sends_everybody_back(
    deployer: DeployerProcess, edge: Edge, gatekeeper: tuple[Gatekeeper, str]
) -> None:
    keeper, url = gatekeeper
    hooks = [
        {"name": phase.lower(), "before": f"HOOK_PHASE_{phase}", "timeout": "60s", "webhook": {"url": url}}
        for phase in ("TRAFFIC", "INCREASE", "PROMOTION")
    ]
    canary = {"steps": [{"setWeight": 30}, {"setWeight": 60}], "scaleDownDelay": "0.2s", "abortScaleDownDelay": "0.2s"}
    traffic = {"edge": {"listenPort": keeper.port}, "drain": "0.2s"}
    stage = a_stage("web", a_rollout("asking", traffic=traffic, canary=canary))
    async with deployer.client() as client:
        await register(client, a_pipeline("asking", stage, hooks=hooks))
        first = await ended(client, (await deploy(client, "asking", "1.0")).name)
        assert (status_of(first), [phase for phase, _ in keeper.asked]) == (
            "SUCCEEDED",
            ["PROMOTION", "TRAFFIC", "INCREASE"],
        )

        keeper.asked.clear()
        await served(keeper.port)
        async with load(keeper.port, clients=2) as answers:
            second = await ended(client, (await deploy(client, "asking", "1.1")).name)
        assert (status_of(second), set(answers)) == ("SUCCEEDED", {"1.0", "1.1"})
        assert keeper.asked == [
            ("TRAFFIC", False),
            ("INCREASE", False),
            ("INCREASE", True),
            ("PROMOTION", True),
            ("INCREASE", True),
        ]

        keeper.refuses.add("PROMOTION")
        third = await ended(client, (await deploy(client, "asking", "1.2")).name)
        back = await get(client, third.rolled_back_by)
        after = await ask_often(keeper.port, 50)

    assert (status_of(third), status_of(back)) == ("ROLLED_BACK", "SUCCEEDED")
    assert "hook promotion (before:PROMOTION:web:roll) failed: the webhook: HTTP 403" in third.failure.message
    assert set(after) == {"1.1"}
