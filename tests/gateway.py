"""A Gateway controller for tests: it takes HTTPRoutes as a real one says that it does. It sends no requests anywhere.

Import the fixture `routed` by name: a `kube.Cluster` whose ServiceAccount may set routes, and the controller of its
namespace. The definitions of the Gateway API are the published ones (`tools/gateway-crds.sh`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from components import missing
from kube import GRANTS, WORKLOADS, Cluster, ControlPlane, own_cluster
from kubelet import Kubelet, stamp

from opsuite_kernel.errors import Conflict, NotFound, OpsuiteError
from opsuite_platforms.kubernetes_api import MERGE, PODS, KubernetesApi, Resource
from opsuite_platforms.kubernetes_status import condition
from opsuite_platforms.kubernetes_transport import Call, Object
from opsuite_platforms.kubernetes_workloads import WORKLOAD
from opsuite_platforms.traffic.kubernetes_routes import HTTP_ROUTES

ROUTES = GRANTS / "deployer-routes-role.yaml"
VERSION = "v1.4.0"
DEFINITIONS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", False)
CONTROLLER = "test.example/gateway"


@dataclass
class Taken:
    """A generation of an HTTPRoute as the controller met it."""

    weights: Mapping[str, int]
    """Of the last rule, by Service."""
    ready: Mapping[str, int]
    """Ready pods behind each of them at that time."""


@dataclass
class GatewayController:
    """Takes every HTTPRoute of a namespace, unless told otherwise."""

    admin: KubernetesApi
    namespace: str
    is_held: bool = False
    """Takes nothing new until it is let go on."""
    refuses: Callable[[Mapping[str, int]], str] = lambda _: ""
    """Words with which it does not accept such weights; empty: it does."""
    taken: dict[str, list[Taken]] = field(default_factory=dict)
    """By HTTPRoute, the oldest first. Those that came in between two looks are missing."""
    _known: dict[str, int] = field(default_factory=dict)

    async def serve(self) -> None:
        """Look again and again, also after the API server was away."""
        while True:
            with contextlib.suppress(OpsuiteError):
                for route in await self.admin.list(HTTP_ROUTES, self.namespace):
                    await self._look(route)
            await asyncio.sleep(0.02)

    async def tell(self, route: Object, *conditions: Object, generation: int | None = None) -> None:
        """Say that of a generation, by default the present one, for every gateway that it names."""
        at = {"observedGeneration": generation or route["metadata"]["generation"], "lastTransitionTime": stamp()}
        parents = [
            {
                "parentRef": parent,
                "controllerName": CONTROLLER,
                "conditions": [{"reason": "Said", "message": ""} | each | at for each in conditions],
            }
            for parent in route["spec"].get("parentRefs", ())
        ]
        path = HTTP_ROUTES.path(self.namespace, route["metadata"]["name"], "status")
        body = {"status": {"parents": parents}}
        await self.admin.ask(Call("PATCH", path, "status", body=body, content=MERGE))

    async def _look(self, route: Object) -> None:
        name, generation = route["metadata"]["name"], route["metadata"]["generation"]
        if self.is_held or self._known.get(name) == generation:
            return
        met = await self._met(route)
        self.taken.setdefault(name, []).append(met)
        accepted: Object = {"type": "Accepted", "status": "True", "reason": "Accepted"}
        if words := self.refuses(met.weights):
            accepted = {"type": "Accepted", "status": "False", "reason": "UnsupportedValue", "message": words}
        with contextlib.suppress(NotFound):
            await self.tell(route, accepted, {"type": "ResolvedRefs", "status": "True", "reason": "ResolvedRefs"})
        self._known[name] = generation

    async def _met(self, route: Object) -> Taken:
        backends = route["spec"]["rules"][-1].get("backendRefs") or ()
        weights = {one["name"]: one["weight"] for one in backends}
        return Taken(weights, {name: await ready_pods(self.admin, self.namespace, name) for name in weights})


async def ready_pods(admin: KubernetesApi, namespace: str, workload: str) -> int:
    """How many pods of a workload are ready."""
    pods = await admin.list(PODS, namespace, labels=f"{WORKLOAD}={workload}")
    return sum(condition(pod, "Ready").get("status") == "True" for pod in pods)


@dataclass
class Routed:
    """A namespace with a Gateway controller."""

    cluster: Cluster
    gateway: GatewayController

    async def http_route(self, name: str, *rules: Object, gateways: tuple[str, ...] = ("public",)) -> Object:
        """An HTTPRoute as a person makes it; without rules one that leads nowhere yet."""
        spec: Object = {"parentRefs": [{"name": gateway} for gateway in gateways], "hostnames": ["shop.example.com"]}
        body = {"metadata": {"name": name}, "spec": spec | ({"rules": list(rules)} if rules else {})}
        return await self.cluster.admin.create(HTTP_ROUTES, self.cluster.namespace, typed(HTTP_ROUTES, body))

    async def present(self, name: str) -> Object:
        """It as it is."""
        return await self.cluster.admin.get(HTTP_ROUTES, self.cluster.namespace, name)


def typed(resource: Resource, body: Object) -> Object:
    """The object with its kind, which definitions ask for."""
    return {"apiVersion": resource.group_version, "kind": resource.kind} | body


@pytest.fixture
async def routed(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Routed]:
    """A namespace of this test alone; the deployer may run workloads and set routes there."""
    async with routed_cluster(control_plane, kubelet) as routed:
        yield routed


@asynccontextmanager
async def routed_cluster(control_plane: ControlPlane, kubelet: Kubelet, *more: Path) -> AsyncIterator[Routed]:
    """A namespace with a Gateway controller, and what `more` grants besides."""
    async with own_cluster(control_plane, kubelet, (WORKLOADS, ROUTES, *more)) as cluster:
        await define(cluster.admin)
        gateway = GatewayController(cluster.admin, cluster.namespace)
        serving = asyncio.create_task(gateway.serve())
        try:
            yield Routed(cluster, gateway)
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


async def define(admin: KubernetesApi) -> None:
    """Define the kinds of the Gateway API, as published, unless they are there; returns when they can be used."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "opsuite/tools/gateway-api" / VERSION
    if not folder.is_dir():
        missing("the Gateway API's definitions", "tools/gateway-crds.sh, with Go")
    for path in sorted(folder.glob("*.yaml")):
        name = f"{path.stem}.gateway.networking.k8s.io"
        if await admin.find(DEFINITIONS, "", name) is None:
            with contextlib.suppress(Conflict):
                await admin.create(DEFINITIONS, "", yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader))
        while condition(await admin.get(DEFINITIONS, "", name), "Established").get("status") != "True":  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.02)
