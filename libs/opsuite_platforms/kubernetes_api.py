"""The objects of a Kubernetes cluster: read, created, applied, deleted, and what kinds there are.

Raises, in every call: Unavailable (no answer, or "not now"); the kinds of `kubernetes_errors` where the server says no.
Every call may be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from opsuite_kernel.errors import NotFound
from opsuite_platforms.kubernetes_transport import CALL_TIMEOUT, JSON, Call, KubernetesTransport, Object

FIELD_MANAGER: Final = "opsuite"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object, by the words of its addresses."""

    group_version: str
    plural: str
    kind: str
    is_namespaced: bool = True

    def path(self, namespace: str, name: str = "", part: str = "") -> str:
        """Address of the collection, of one object, or of a part (sub-resource) of it."""
        root = f"/api/{self.group_version}" if "/" not in self.group_version else f"/apis/{self.group_version}"
        place = f"/namespaces/{quote(namespace, safe='')}" if self.is_namespaced else ""
        return f"{root}{place}/{self.plural}" + "".join(f"/{quote(each, safe='')}" for each in (name, part) if each)


DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment")
REPLICA_SETS: Final = Resource("apps/v1", "replicasets", "ReplicaSet")
JOBS: Final = Resource("batch/v1", "jobs", "Job")
PODS: Final = Resource("v1", "pods", "Pod")
SERVICES: Final = Resource("v1", "services", "Service")
EVENTS: Final = Resource("v1", "events", "Event")
NETWORK_POLICIES: Final = Resource("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap")


class KubernetesApi:
    """One cluster, as one identity. Use it in one event loop; `close` it at the end."""

    def __init__(
        self,
        kubeconfig: Path | None = None,
        *,
        context: str | None = None,
        patience: timedelta = timedelta(seconds=10),
    ) -> None:
        """Without a file: that of `KUBECONFIG` or `~/.kube/config`, and inside a pod the pod's service account."""
        self._transport = KubernetesTransport(kubeconfig, context, patience)
        self._kinds = dict[str, Mapping[str, Resource]]()

    async def close(self) -> None:
        """Close the connections; no call may be under way."""
        await self._transport.close()

    async def ask(self, call: Call) -> Object:
        """The answer to any other call."""
        return await self._transport.ask(call)

    async def get(self, resource: Resource, namespace: str, name: str, part: str = "") -> Object:
        """The object. Raises: NotFound."""
        return await self._object("GET", resource, namespace, name, part)

    async def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, if there is one."""
        try:
            return await self.get(resource, namespace, name)
        except NotFound:
            return None

    async def list(
        self, resource: Resource, namespace: str, *, labels: str = "", fields: str = "", limit: int = 0
    ) -> list[Object]:
        """The objects that match both selectors, or the first `limit` of them."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(limit or "")}
        return list((await self._object("GET", resource, namespace, query=query)).get("items") or [])

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """The object as it was created. Raises: Conflict (ALREADY_EXISTS)."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._object("POST", resource, namespace, body=body, query=query)

    async def apply(
        self, resource: Resource, namespace: str, body: Object, *, force: bool = False, dry_run: bool = False
    ) -> Object:
        """The object after a server-side apply of `body`, which names it and owns every field that it holds.

        `force` takes fields over that others own. With `metadata.resourceVersion` only the object in that version is
        changed; with `dry_run` nothing is. Raises: Conflict (FIELDS_OWNED), Stale.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "dryRun": "All" if dry_run else ""}
        name = str(body["metadata"]["name"])
        return await self._object("PATCH", resource, namespace, name, body=body, query=query, content=APPLY)

    async def merge(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """The object after a merge patch. Raises: NotFound, Stale (`body` names another version)."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._object("PATCH", resource, namespace, name, body=body, query=query, content=MERGE)

    async def replace(self, resource: Resource, namespace: str, body: Object, part: str = "") -> Object:
        """The object (or that part of it) as replaced. Raises: NotFound, Stale (its version has changed)."""
        query = {"fieldManager": FIELD_MANAGER}
        return await self._object("PUT", resource, namespace, body["metadata"]["name"], part, body=body, query=query)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str = "", grace: int | None = None
    ) -> bool:
        """Delete the object (only the one of that `uid`) and in the background what it owns; whether there was one.

        Raises: Stale (an object of another `uid` has that name).
        """
        body: Object = {"propagationPolicy": "Background"}
        if uid:
            body["preconditions"] = {"uid": uid}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        try:
            await self._object("DELETE", resource, namespace, name, body=body)
        except NotFound:
            return False
        return True

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The log of a pod's container as it comes; with `follow`, until the container ends."""
        timeout = None if query.get("follow") == "true" else CALL_TIMEOUT
        call = Call("GET", PODS.path(namespace, pod, "log"), f"pod {pod}", query, timeout_seconds=timeout)
        async with self._transport.answer(call) as response:
            async for data in response.content.iter_any():
                yield data

    async def kind(self, api_version: str, kind: str) -> Resource:
        """The resource of a kind that the server has now. Raises: NotFound."""
        if kind not in self._kinds.get(api_version, {}):  # one that came with a definition just applied is new here
            self._kinds[api_version] = await self._kinds_of(api_version)
        try:
            return self._kinds[api_version][kind]
        except KeyError:
            raise NotFound("kind", f"{kind} ({api_version})", reason="KIND_UNKNOWN") from None

    async def version(self) -> str:
        """Version of the server."""
        return str((await self.ask(Call("GET", "/version", "version")))["gitVersion"])

    async def _kinds_of(self, api_version: str) -> Mapping[str, Resource]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            found = await self.ask(Call("GET", root, f"version {api_version}"))
        except NotFound:
            return {}
        return {
            each["kind"]: Resource(api_version, each["name"], each["kind"], each["namespaced"])
            for each in found["resources"]
            if "/" not in each["name"]  # the others are parts of objects
        }

    async def _object(
        self,
        method: str,
        resource: Resource,
        namespace: str,
        name: str = "",
        part: str = "",
        *,
        body: Object | None = None,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
    ) -> Object:
        what = f"{resource.kind.lower()} {name or (body or {}).get('metadata', {}).get('name', '')}"
        return await self.ask(Call(method, resource.path(namespace, name, part), what, query or {}, body, content))
