"""The few calls of the Kubernetes API that this project takes; only this and `kubernetes_access` know its client.

Objects are plain dictionaries, as the server sends them. What the client's typed models add is paid for with requests
that they refuse and answers that they cannot read (an Event without `eventTime` fails a whole list), so of the library
this uses what a person cannot write in an afternoon: kubeconfig with its ways to authenticate, TLS, the transport.
It is imported on first use: two thirds of a second that a deployer without Kubernetes need not spend.

Raises, in every call: Unavailable (no answer, or "not now"); the kinds of `kubernetes_errors` where the server says no.
A busy server (429, 503) is asked again for `patience`, after the time that it asks for. So is one that denies something
before it is ready: it does that, to everyone, until it has read who may do what. Credentials that are refused are read
anew once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import tenacity

from opsuite_kernel.errors import Denied, NotFound, OpsuiteError, Unavailable
from opsuite_platforms.kubernetes_access import connected, load_into
from opsuite_platforms.kubernetes_errors import BUSY, UNAUTHENTICATED, error_of, unavailable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

FIELD_MANAGER: Final = "opsuite"
# Seconds. A log that is followed lasts as long as it lasts.
CALL_TIMEOUT: Final = 30
CONNECT_TIMEOUT: Final = 5
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0

Object = dict[str, Any]
JSON: Final = "application/json"
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
        self._kubeconfig = kubeconfig
        self._context = context
        self._patience = patience
        self._lazy_client: ApiClient | None = None
        self._connecting = asyncio.Lock()
        self._kinds = dict[str, Mapping[str, Resource]]()

    async def close(self) -> None:
        """Close the connections; no call may be under way."""
        if self._lazy_client is not None:
            await self._lazy_client.close()  # type: ignore[no-untyped-call]  # the library's

    # Objects.

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
        path = PODS.path(namespace, pod, "log")
        total = None if query.get("follow") == "true" else CALL_TIMEOUT
        async with self._answer("GET", path, query, None, JSON, f"pod {pod}", total) as response:
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
        return str((await self._call("GET", "/version", "version"))["gitVersion"])

    async def _kinds_of(self, api_version: str) -> Mapping[str, Resource]:
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        try:
            found = await self._call("GET", root, f"version {api_version}")
        except NotFound:
            return {}
        return {
            each["kind"]: Resource(api_version, each["name"], each["kind"], each["namespaced"])
            for each in found["resources"]
            if "/" not in each["name"]  # the others are parts of objects
        }

    # Calls.

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
        return await self._call(method, resource.path(namespace, name, part), what, query or {}, body, content)

    async def _call(
        self,
        method: str,
        path: str,
        what: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = JSON,
    ) -> Object:
        async with self._answer(method, path, query or {}, body, content, what, CALL_TIMEOUT) as response:
            answer: Object = json.loads(await response.read())
            return answer

    @asynccontextmanager
    async def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content: str,
        what: str,
        total: float | None,
    ) -> AsyncIterator[Any]:
        """The answer to read, of a server that said yes. Every call of this project may be repeated."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_TIMEOUT)
        try:
            response = await self._accepted(lambda: self._send(method, path, query, body, content, timeout), what)
            async with response:
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise unavailable(str(fault) or type(fault).__name__) from fault

    async def _accepted(self, send: Callable[[], Awaitable[Any]], what: str) -> Any:
        """The answer of a server that said yes, asked as often as that is worth it."""
        doubts = Doubts()
        async for attempt in tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: doubts.ask_again or is_busy(error)),
            wait=wait_as_told,
            stop=tenacity.stop_before_delay(self._patience),
            reraise=True,
        ):
            with attempt:
                response = await send()
                if response.status < HTTPStatus.MULTIPLE_CHOICES:
                    return response
                error = await refusal(response, what)
                doubts.ask_again = await self._is_doubtful(error, doubts)
                raise error
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _is_doubtful(self, error: OpsuiteError, doubts: Doubts) -> bool:
        """Whether the same call may get another answer."""
        if isinstance(error, Denied) and not doubts.server_was_ready:
            doubts.server_was_ready = await self._is_ready()
            return True
        if error.reason == UNAUTHENTICATED and not doubts.credentials_are_fresh:
            doubts.credentials_are_fresh = True
            await load_into((await self._client()).configuration, self._kubeconfig, self._context)
            return True
        return False

    async def _is_ready(self) -> bool:
        import aiohttp

        async with await self._send(
            "GET", "/readyz", {}, None, JSON, aiohttp.ClientTimeout(total=CALL_TIMEOUT)
        ) as response:
            return bool(response.status == HTTPStatus.OK)

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Object | None, content: str, timeout: Any
    ) -> Any:
        client = await self._client()
        pairs = [(name, value) for name, value in query.items() if value]
        request = await client.param_serialize(
            method,
            path,
            query_params=pairs,
            header_params={"Accept": "application/json, */*", "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        return (await client.call_api(*request, _request_timeout=timeout)).response

    async def _client(self) -> ApiClient:
        async with self._connecting:
            if self._lazy_client is None:
                self._lazy_client = await connected(self._kubeconfig, self._context)
            return self._lazy_client


@dataclass(slots=True)
class Doubts:
    """What may be wrong with a refusal in the course of one call."""

    server_was_ready: bool = False
    credentials_are_fresh: bool = False
    ask_again: bool = False


def is_busy(error: BaseException) -> bool:
    """Whether the server answered that it cannot answer now: worth asking again within the same call."""
    return isinstance(error, Unavailable) and error.reason == BUSY


async def refusal(response: Any, what: str) -> OpsuiteError:
    """What a server that does not say yes says."""
    async with response:
        body = await response.read()
    return error_of(response.status, body, what, response.headers.get("Retry-After", ""))


PAUSE: Final = tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)


def wait_as_told(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asked for, or a growing random pause."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Unavailable) and error.retry_after is not None:
        return error.retry_after.total_seconds()
    return PAUSE(state)
