"""From a failed gate until the old version is healthy again, without the waits of its own health check."""

from __future__ import annotations

from datetime import datetime

from deployer import Client, DeployerProcess, a_pipeline, deploy, events_of, register

from bench.deployers import a_bench_deployer
from bench.table import Row, ms, p50
from opsuite.deployer.v1 import deployment_pb2 as pb
from opsuite.deployer.v1 import pipeline_pb2
from opsuite.deployer.v1.deployment_service_pb2 import GetDeploymentRequest

PROGRAM = """\
import http.server, sys


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/up" or sys.argv[2] == "good" else 500)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


def a_pipeline_with_a_gate(deployer: DeployerProcess) -> pipeline_pb2.Pipeline:
    """A workload that answers badly when its version says so, behind a gate that gives up at once."""
    (deployer.work / "web").mkdir(parents=True, exist_ok=True)
    (deployer.work / "web" / "main.py").write_text(PROGRAM)
    workload = {
        "workload": "web",
        "directory": "web",
        "command": ["python3", "-S", "main.py", "${port}", "${version}"],
        "ports": [{"name": "http"}],
    }
    up = {"workload": {"workload": "web", "path": "/up"}, "interval": "0.05s", "failure_threshold": 100}
    good = {"workload": {"workload": "web", "path": "/"}, "interval": "0.05s", "failure_threshold": 1}
    checks = [{"name": "up", "deadline": "20s", "timeout": "1s", **up}]
    gates = [
        {"name": "up", "checks": checks},
        {"name": "good", "checks": [{"name": "good", "deadline": "20s", "timeout": "1s", **good}]},
    ]
    stages = [{"name": "run", "steps": [{"name": "start", "workload": workload}], "gates": gates[:1]}]
    stages.append({"name": "verify", "steps": [{"name": "pause", "wait": {"duration": "0.01s"}}], "gates": gates[1:]})
    return a_pipeline("web", stages=stages, rollback_enabled=True)


async def once(client: Client) -> float:
    """Milliseconds from the end of the failed gate to the end of the rollback, less its wait for health."""
    name = (await deploy(client, "web", "bad")).name
    events = await events_of(client, name)
    failed = next(
        event.time for event in events if event.kind == pb.DEPLOYMENT_EVENT_KIND_GATE_ENDED and event.gate == "good"
    )
    back = next(event.related_deployment for event in events if event.related_deployment)
    followed = await client.deployments.GetDeployment(GetDeploymentRequest(name=back))
    deployment = followed.deployment
    assert deployment.status == pb.DEPLOYMENT_STATUS_SUCCEEDED, deployment
    waited = sum(
        _seconds(gate.end_time.ToDatetime(), gate.start_time.ToDatetime())
        for stage in deployment.stages
        for gate in stage.gates
    )
    waited += 0.01  # the pause
    return (_seconds(deployment.end_time.ToDatetime(), failed.ToDatetime()) - waited) * 1000


async def main(rounds: int) -> list[Row]:
    with a_bench_deployer(DEPLOYER_START_PLATFORM="true", DEPLOYER_COMMAND_NAMES="python3") as deployer:
        async with deployer.client() as client:
            await register(client, a_pipeline_with_a_gate(deployer))
            await events_of(client, (await deploy(client, "web", "good")).name)
            taken = [await once(client) for _ in range(rounds + 1)][1:]
    return [Row("failed gate to the old version healthy, p50", ms(p50(taken)), "", p50(taken), 100, unit="ms")]


def _seconds(end: datetime, start: datetime) -> float:
    return (end - start).total_seconds()
