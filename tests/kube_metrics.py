"""A metrics API (`metrics.k8s.io`) for the control plane of the tests: an aggregated API server, as metrics-server is.

What it tells of a pod is what a real process of this machine uses, measured by psutil: the pods themselves are played.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psutil
from aiohttp import web
from kube import NAMESPACES
from kubelet import own_certificate

from opsuite_kernel.errors import Conflict, OpsuiteError
from opsuite_platforms.kubernetes_api import PODS, SERVICES, KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Call, Object

API_SERVICES = Resource("apiregistration.k8s.io/v1", "apiservices", "APIService", is_namespaced=False)
GROUP_VERSION = "metrics.k8s.io/v1beta1"
NAME = "v1beta1.metrics.k8s.io"
PLACE = "opsuite-metrics"


@dataclass
class MetricsApi:
    """Knows which process stands for a pod."""

    admin: KubernetesApi
    processes: dict[str, psutil.Process] = field(default_factory=dict)
    """By name of the pod; others have not been measured yet."""
    served: dict[str, tuple[int, int]] = field(default_factory=dict)
    """What was told last of each pod: nanocores and bytes."""
    window_seconds: float = 15.0
    age_seconds: float = 0.0
    """How old it says its samples are."""

    async def discovery(self, _: web.Request) -> web.Response:
        pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}
        body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": [pods]}
        return web.json_response(body)

    async def pods(self, request: web.Request) -> web.Response:
        namespace = request.match_info["namespace"]
        pods = await self.admin.list(PODS, namespace, labels=request.query.get("labelSelector", ""))
        items = [self._metrics(pod) for pod in pods if pod["metadata"]["name"] in self.processes]
        return web.json_response({"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "items": items})

    def _metrics(self, pod: Object) -> Object:
        name = pod["metadata"]["name"]
        process = self.processes[name]
        cpu, memory = round(process.cpu_percent() * 1e7), process.memory_info().rss
        self.served[name] = (cpu, memory)
        at = datetime.fromtimestamp(datetime.now(UTC).timestamp() - self.age_seconds, UTC)
        usage = {"cpu": f"{cpu}n", "memory": f"{memory}"}
        return {
            "metadata": {"name": name},
            "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "window": f"{self.window_seconds}s",
            "containers": [{"name": pod["spec"]["containers"][0]["name"], "usage": usage}],
        }


@asynccontextmanager
async def a_metrics_api(admin: KubernetesApi) -> AsyncIterator[MetricsApi]:
    """Registered with the control plane, and available there; gone afterwards."""
    api = MetricsApi(admin)
    application = web.Application()
    application.router.add_get(f"/apis/{GROUP_VERSION}", api.discovery)
    application.router.add_get(f"/apis/{GROUP_VERSION}/namespaces/{{namespace}}/pods", api.pods)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own_certificate()).start()
    try:
        await _register(admin, runner.addresses[0][1])
        yield api
    finally:
        await admin.delete(API_SERVICES, "", NAME)
        await runner.cleanup()


async def _register(admin: KubernetesApi, port: int) -> None:
    with contextlib.suppress(Conflict):
        await admin.create(NAMESPACES, "", {"metadata": {"name": PLACE}})
        # Without it the API server would ask the address of a Service, which nobody routes here.
        spec = {"type": "ExternalName", "externalName": "localhost"}
        await admin.create(SERVICES, PLACE, {"metadata": {"name": PLACE}, "spec": spec})
    service: Any = {"namespace": PLACE, "name": PLACE, "port": port}
    api_service: Any = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "service": service,
        "insecureSkipTLSVerify": True,
    }
    priority = {"groupPriorityMinimum": 100, "versionPriority": 100}
    await admin.create(API_SERVICES, "", {"metadata": {"name": NAME}, "spec": api_service | priority})
    while not await _is_available(admin):  # noqa: ASYNC110  # another process decides
        await asyncio.sleep(0.05)


async def _is_available(admin: KubernetesApi) -> bool:
    path = f"/apis/{GROUP_VERSION}/namespaces/{PLACE}/pods"
    with contextlib.suppress(OpsuiteError):
        await admin.ask(Call("GET", path, "metrics"))
        return True
    return False
