"""What Prometheus and a trace collector see, against what really happened."""

import asyncio
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from components import program
from deployer import DeployerProcess, a_command, a_deployer, a_pipeline, deploy, ended, free_port, register
from otlp_receiver import receiving

from opsuite.deployer.v1 import deployment_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb

WAIT_SECONDS = 30.0


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """Ask until the answer is not empty, and return it."""
    for _ in range(int(WAIT_SECONDS / 0.05)):
        if answer := await condition():
            return answer
        await asyncio.sleep(0.05)
    pytest.fail(f"never seen: {what}")


def a_failing_gate(name: str) -> dict[str, Any]:
    check = {"name": "closed", "tcp": {"address": "127.0.0.1:1"}, "interval": "0.05s", "failureThreshold": 1}
    return {"name": name, "steps": [a_command("run")], "gates": [{"name": "open", "checks": [check]}]}


async def a_history(deployer: DeployerProcess) -> None:
    """Two successes, a failure that goes back, and one that has nothing to go back to."""
    async with deployer.client() as client:
        await register(client, a_pipeline("seen"))
        for version in ("1", "2"):
            await ended(client, (await deploy(client, "seen", version)).name)
        await register(client, a_pipeline("seen", stages=[a_failing_gate("bad")]))
        await ended(client, (await deploy(client, "seen", "3")).name)
        await register(client, a_pipeline("alone", stages=[a_failing_gate("bad")]))
        await ended(client, (await deploy(client, "alone", "1")).name)


async def history_counts(deployer: DeployerProcess) -> Mapping[str, int]:
    """How many deployments ended in which way, by the history itself."""
    counts: dict[str, int] = {}
    async with deployer.client() as client:
        page = await client.deployments.ListDeployments(
            pb.ListDeploymentsRequest(parent="pipelines/-/environments/-", page_size=1000)
        )
    for one in page.deployments:
        name = deployment_pb2.DeploymentStatus.Name(one.status)
        status = name.removeprefix("DEPLOYMENT_STATUS_").lower()
        counts[status] = counts.get(status, 0) + 1
    return counts


class Prometheus:
    """A real server that scrapes one deployer."""

    def __init__(self, folder: Path, target: str) -> None:
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
                    "scrape_configs": [{"job_name": "bitcraps-operations", "static_configs": [{"targets": [target]}]}],
                }
            )
        )
        self.process = subprocess.Popen(
            [
                program("prometheus", "apt-get install prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def query(self, expression: str) -> dict[str, float]:
        """Values by the label "status" (empty where there is none); nothing while it is not up yet."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {one["metric"].get("status", ""): float(one["value"][1]) for one in found}

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(30)


async def test_what_prometheus_scrapes_equals_the_history_also_after_a_restart(tmp_path: Path) -> None:
    with a_deployer() as deployer:
        prometheus = Prometheus(tmp_path, f"127.0.0.1:{deployer.side_port}")
        try:
            await a_history(deployer)
            expected = await history_counts(deployer)
            assert expected == {"succeeded": 3, "rolled_back": 1, "failed": 1}

            async def equal() -> bool:
                seen = await asyncio.to_thread(prometheus.query, "bitcraps_deployments_total")
                return {status: int(count) for status, count in seen.items()} == expected

            await until(equal, "the totals of the history")
            assert prometheus.query("bitcraps_rollbacks_total") == {"": 1}
            assert prometheus.query("bitcraps_active_deployments") == {"": 0}
            assert prometheus.query("bitcraps_deployment_duration_seconds_count") == {"": 5}

            await asyncio.to_thread(deployer.restart)
            async with deployer.client() as client:
                await ended(client, (await deploy(client, "alone", "2")).name)
            expected = await history_counts(deployer)
            await until(equal, "the totals after a restart")
        finally:
            prometheus.close()


async def test_one_trace_holds_call_queue_steps_gates_and_rollback(deployer: DeployerProcess) -> None:
    async with receiving() as receiver:
        with a_deployer(DEPLOYER_OTLP_ENDPOINT=receiver.endpoint) as traced:
            await a_history(traced)
            async with traced.client() as client:
                page = await client.deployments.ListDeployments(
                    pb.ListDeploymentsRequest(parent="pipelines/seen/environments/-", filter='version = "3"')
                )
                name = page.deployments[0].name

                async def has_its_root() -> pb.GetTraceResponse | None:
                    trace = await client.deployments.GetTrace(pb.GetTraceRequest(name=name))
                    return trace if any(not one.parent_span_id for one in trace.spans) else None

                trace = await until(has_its_root, "the span of the call")
            told = {span.span_id: span for span in trace.spans}
            for name in ("deployment 3", "queue", "preflight", "stage bad", "step run", "gate open", "rollback 2"):
                assert name in {span.name for span in trace.spans}
            root = next(span for span in trace.spans if not span.parent_span_id)
            assert root.name.endswith("Deploy")
            assert all(span.parent_span_id in told for span in trace.spans if span is not root)

            async def exported() -> bool:
                return set(told) <= set(receiver.spans)

            await until(exported, "every span at the collector")
            assert {one.id for one in receiver.of_trace(trace.trace_id)} >= set(told)


async def test_after_a_crash_the_trace_goes_on_with_a_link() -> None:
    with a_deployer() as deployer:
        async with deployer.client() as client:
            steps = [{"name": "hold", "wait": {"duration": "2s"}}, a_command("after")]
            await register(client, a_pipeline("crash", *steps))
            name = (await deploy(client, "crash")).name
            # The wait has begun when its event is there; then the deployer dies in the middle of it.
            async for answer in client.deployments.WatchDeployment(pb.WatchDeploymentRequest(name=name)):
                if answer.snapshot.stages and answer.snapshot.stages[0].steps[0].attempt:
                    break
                if any(event.step == "hold" for event in answer.events):
                    break
        deployer.kill()
        await asyncio.to_thread(deployer.start)
        async with deployer.client() as client:
            await ended(client, name)
            trace = await client.deployments.GetTrace(pb.GetTraceRequest(name=name))
    spans = {span.name: span for span in trace.spans}
    hold = spans["step hold"]
    assert spans["deployment 1.0.0"].attributes["opsuite.takeovers"] == "1"
    assert f"{trace.trace_id}/{hold.span_id}" in spans["step after"].links
