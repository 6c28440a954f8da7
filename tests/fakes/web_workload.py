"""A small web server to roll out, and what tests ask about its rollout."""

import asyncio
from typing import Any

from deployer import Client

from opsuite.deployer.v1 import deployment_pb2, rollout_pb2
from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite_platforms.port import Platform

SERVER = """#!/usr/bin/env python3
# Answers with its version, and with the status in ANSWER; /alive is always well; /die-VERSION kills that version.
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: the second would wait 40 ms for an acknowledgement

    def do_GET(self):
        version = os.environ["DEPLOYMENT_VERSION"]
        if self.path == f"/die-{version}":
            os._exit(1)
        body = version.encode()
        self.send_response(200 if self.path == "/alive" else int(os.environ.get("ANSWER", "200")))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def a_rollout(
    workload: str, *, replicas: int = 2, answer: str = "200", health_path: str = "/", **fields: Any
) -> dict[str, Any]:
    """A step that rolls the server out."""
    rollout = {
        "workload": {
            "workload": workload,
            "command": ["./serve", "${port}"],
            "env": {"ANSWER": answer},
            "ports": [{"name": "http"}],
            "replicas": replicas,
        },
        "health": {"path": health_path, "interval": "0.05s"},
        "minHealthyTime": "0.1s",
        "healthyDeadline": "60s",
        "progressDeadline": "120s",
        **fields,
    }
    return {"name": "roll", "rollout": rollout}


async def pids_of(platform: Platform, workload: str) -> dict[str, int]:
    """The process of each replica, once supervisord tells them all: "pid 4711, uptime 0:00:01".

    A program that serves already may still be starting for supervisord, which then says nothing.
    """
    while True:
        told = {one.name: one.message for one in (await platform.observe(workload)).replicas}
        if told and all(message.startswith("pid ") for message in told.values()):
            return {name: int(message.removeprefix("pid ").partition(",")[0]) for name, message in told.items()}
        await asyncio.sleep(0.05)


def rollout_of(deployment: deployment_pb2.Deployment) -> rollout_pb2.RolloutStatus:
    """Where the rollout of a pipeline with that one step stands."""
    return deployment.stages[0].steps[0].rollout


def status_of(deployment: deployment_pb2.Deployment) -> str:
    """The last word of its status."""
    return deployment_pb2.DeploymentStatus.Name(deployment.status).removeprefix("DEPLOYMENT_STATUS_")


async def until(
    client: Client, name: str, status: str, *, step: int | None = None, phase: int | None = None
) -> deployment_pb2.Deployment:
    """The deployment when it and its rollout stand there; the test's own time limit is the limit."""
    while True:
        deployment = (await client.deployments.GetDeployment(pb.GetDeploymentRequest(name=name))).deployment
        rollout = rollout_of(deployment)
        if status_of(deployment) == status and step in {None, rollout.step} and phase in {None, rollout.phase}:
            return deployment
        await asyncio.sleep(0.05)
