"""What the scaler has of the control plane: a ServiceAccount with the Role that we ship. Import `scaled` by name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from kube import GRANTS, Cluster, ControlPlane, own_cluster, service_account
from kubelet import Kubelet

from opsuite_platforms.kubernetes_api import DEPLOYMENTS, PODS, KubernetesApi
from opsuite_platforms.kubernetes_transport import Object

ROLE = GRANTS / "scaler-role.yaml"
ACCOUNT = "opsuite-scaler"


@dataclass
class Scaled:
    """A namespace of one test."""

    cluster: Cluster
    api: KubernetesApi
    """The cluster as the scaler sees it."""

    @property
    def admin(self) -> KubernetesApi:
        return self.cluster.admin

    @property
    def namespace(self) -> str:
        return self.cluster.namespace

    async def a_deployment(self, name: str, replicas: int, *, image: str = "web", **pod_spec: Any) -> None:
        """As a person makes one, by hand."""
        labels = {"app": name}
        requests = {"cpu": "250m", "memory": "64Mi"}
        container = {"name": "app", "image": image, "resources": {"requests": requests}}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod_spec}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        await self.admin.create(DEPLOYMENTS, self.namespace, {"metadata": {"name": name}, "spec": spec})

    async def resize(self, name: str, replicas: int) -> None:
        """Another hand."""
        await self.admin.merge(DEPLOYMENTS, self.namespace, name, {"spec": {"replicas": replicas}})

    async def pods(self, labels: str) -> list[Object]:
        return await self.admin.list(PODS, self.namespace, labels=labels)


@asynccontextmanager
async def scaled_cluster(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Scaled]:
    """A namespace with a ServiceAccount that may do what `scaler-role.yaml` grants and nothing else."""
    async with own_cluster(control_plane, kubelet) as cluster:
        token = await service_account(cluster.admin, cluster.namespace, ROLE.read_text(), ACCOUNT)
        path = control_plane.directory / f"{cluster.namespace}-scaler.json"
        path.write_text(json.dumps(control_plane.kubeconfig(token)))
        api = KubernetesApi(path)
        yield Scaled(cluster, api)
        await api.close()


@pytest.fixture
async def scaled(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Scaled]:
    """A namespace of this test alone."""
    async with scaled_cluster(control_plane, kubelet) as scaled:
        yield scaled
