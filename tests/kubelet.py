"""A node that plays its pods, for a control plane without machines. In tests only; results that rest on it say so.

It runs **no containers**. The pod of a Job has its `args` run as a real process of this machine, with its `env`, its
output kept as the log, its signals and its deadline as on a real node; only the image is not there. Every other pod is
played: the name of its image (or of its program) says what becomes of it.

    …absent…        the image cannot be pulled
    …crash…         the container starts and dies, again and again; so does one whose program is below /nonexistent
    …hang…          it runs and never becomes ready
    anything else   it runs and is ready

Logs are served over HTTPS, where the API server fetches them for `pods/log`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NODE = "node-1"
HEARTBEAT_SECONDS = 10
ADDRESSES = itertools.count(1)

Object = dict[str, Any]


@dataclass(eq=False)
class PlayedPod:
    """A pod of this node, and its process if it has one."""

    pod: Object
    log: list[str] = field(default_factory=list)
    """Lines with their times in front."""
    process: asyncio.subprocess.Process | None = None
    has_ended: bool = False
    log_is_lost: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Condition = field(default_factory=asyncio.Condition)
    address: str = field(default_factory=lambda: "10.244.{}.{}".format(*divmod(next(ADDRESSES), 250)))

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def container(self) -> Object:
        found: Object = self.pod["spec"]["containers"][0]
        return found

    @property
    def is_deleted(self) -> bool:
        return "deletionTimestamp" in self.pod["metadata"]

    @property
    def job(self) -> str:
        """Name of the Job that it belongs to; empty if to none."""
        owners = self.pod["metadata"].get("ownerReferences", [])
        return next((owner["name"] for owner in owners if owner["kind"] == "Job"), "")

    async def write(self, text: str) -> None:
        self.log.append(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}000Z {text}")
        async with self.written:
            self.written.notify_all()

    async def end(self) -> None:
        self.has_ended = True
        async with self.written:
            self.written.notify_all()

    def send(self, number: int) -> None:
        """Send a signal to its process and whatever that started."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


class Kubelet:
    """One node, in a thread of its own."""

    def __init__(self, url: str, authorities: Path, token: str) -> None:
        self._url = url
        self._authorities = authorities
        self._headers = {"Authorization": f"Bearer {token}"}
        self._pods = dict[str, PlayedPod]()
        self._tasks = set[asyncio.Task[None]]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubelet", daemon=True)
        self._is_ready = threading.Event()

    # What tests call, from their own threads.

    def start(self) -> None:
        """Join the cluster; returns when pods can be scheduled here."""
        self._thread.start()
        self._main = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        self._main.add_done_callback(lambda _: self._is_ready.set())
        self._is_ready.wait()
        if self._main.done():
            self._main.result()

    def stop(self) -> None:
        """Die, and every process with it."""
        self.kill_all()
        self._main.cancel()
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kill_all(self, namespace: str = "") -> None:
        """Kill the processes of a namespace, or of all."""
        for played in list(self._pods.values()):
            if not namespace or played.namespace == namespace:
                played.send(signal.SIGKILL)

    def end(self, namespace: str, job: str) -> None:
        """Send SIGTERM to the process of a Job."""
        for played in list(self._pods.values()):
            if (played.namespace, played.job) == (namespace, job):
                played.send(signal.SIGTERM)

    def lose_log(self, namespace: str, job: str) -> None:
        """Answer no more for the log of a Job, as a node that was replaced."""
        for played in list(self._pods.values()):
            if (played.namespace, played.job) == (namespace, job):
                played.log_is_lost = True

    def crash(self, namespace: str, pod: str) -> None:
        """Let a played pod that was ready begin to crash."""
        (found,) = (each for each in self._pods.values() if (each.namespace, each.name) == (namespace, pod))
        self._call(self._patch_status(found, crashing(found)))

    def hang(self, namespace: str, pod: str) -> None:
        """Let a played pod that was ready run on and be ready no longer."""
        (found,) = (each for each in self._pods.values() if (each.namespace, each.name) == (namespace, pod))
        self._call(self._patch_status(found, running(found, ready=False)))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # The node.

    async def _live(self) -> None:
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self._authorities))
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as self._session:
            port = await self._serve_logs()
            await self._register(port)
            self._start(self._keep_alive())
            self._is_ready.set()
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async for pod in self._watch():
                        self._take(pod)
                await asyncio.sleep(0.1)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        await self._logs.cleanup()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    async def _register(self, port: int) -> None:
        await self._ask("POST", "/api/v1/nodes", {"metadata": {"name": NODE}, "spec": {}})
        room = {"cpu": "1000", "memory": "1000Gi", "pods": "10000"}
        status = {
            "capacity": room,
            "allocatable": room,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Played", "lastHeartbeatTime": stamp()}],
        }
        await self._ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status})
        # A new node is tainted until a controller has seen that it is ready.
        while (await self._ask("GET", f"/api/v1/nodes/{NODE}"))["spec"].get("taints"):  # noqa: ASYNC110  # of another process
            await asyncio.sleep(0.02)

    async def _keep_alive(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40}
        while True:
            lease = {"metadata": {"name": NODE}, "spec": spec | {"renewTime": f"{datetime.now(UTC):%FT%T.%f}Z"}}
            if await self._ask("PATCH", f"{leases}/{NODE}", lease) == {}:
                await self._ask("POST", leases, lease)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _watch(self) -> AsyncIterator[Object]:
        mine = {"fieldSelector": f"spec.nodeName={NODE}"}
        known = await self._ask("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}")
        for pod in known["items"]:
            yield pod
        query = mine | {"watch": "true", "resourceVersion": known["metadata"]["resourceVersion"]}
        endless = aiohttp.ClientTimeout(total=None)
        async with self._session.get(f"{self._url}/api/v1/pods", params=query, timeout=endless) as answer:
            async for line in lines_of(answer.content):
                event = json.loads(line)
                if event["type"] not in {"ADDED", "MODIFIED"}:
                    if event["type"] == "ERROR":
                        return
                    continue
                yield event["object"]

    def _take(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if (played := self._pods.get(uid)) is not None:
            played.pod = pod
            played.changed.set()
        elif pod.get("status", {}).get("phase") == "Pending":
            played = self._pods[uid] = PlayedPod(pod)
            self._start(self._play(played))

    # Pods.

    async def _play(self, played: PlayedPod) -> None:
        if "absent" in played.container["image"]:
            await self._patch_status(played, not_pulled(played))
        elif played.job:
            await self._run(played)
        elif "crash" in played.container["image"] or program_of(played).startswith("/nonexistent"):
            await self._patch_status(played, crashing(played))
        else:
            await played.write(f"{played.name} speaks")
            await self._patch_status(played, running(played, ready="hang" not in played.container["image"]))
        await self._wait_for_its_end(played)

    async def _run(self, played: PlayedPod) -> None:
        """Run the program of a Job to its end, or until it is deleted or too old."""
        began = datetime.now(UTC)
        env = {"PATH": os.environ["PATH"]} | {each["name"]: each["value"] for each in played.container.get("env", [])}
        try:
            played.process = await asyncio.create_subprocess_exec(
                *[*played.container.get("command", []), *played.container.get("args", [])],
                env=env,
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                limit=2**24,
            )
        except OSError as fault:
            await played.end()
            await self._patch_status(played, ended(played, began, 128, reason="StartError", message=str(fault)))
            return
        await self._patch_status(played, running(played, since=began))
        ending = asyncio.create_task(self._read_to_end(played))
        too_old = await self._until_end_or_stop(played, ending, began)
        code = await ending
        await self._patch_status(played, ended(played, began, code, is_too_old=too_old))

    async def _read_to_end(self, played: PlayedPod) -> int:
        process = played.process
        assert process is not None
        assert process.stdout is not None
        async for line in process.stdout:
            await played.write(line.decode(errors="replace").rstrip("\n"))
        code = await process.wait()
        await played.end()
        return code if code >= 0 else 128 - code

    async def _until_end_or_stop(self, played: PlayedPod, ending: asyncio.Task[int], began: datetime) -> bool:
        """Return at its end; whether it was ended for its age."""
        while not ending.done():
            limit = played.pod["spec"].get("activeDeadlineSeconds")
            left = None if limit is None else (began + timedelta(seconds=limit) - datetime.now(UTC)).total_seconds()
            is_too_old = left is not None and left <= 0
            if is_too_old or played.is_deleted:
                grace = played.pod["metadata"].get("deletionGracePeriodSeconds")
                await self._stop(played, ending, played.pod["spec"]["terminationGracePeriodSeconds"], grace)
                return is_too_old
            played.changed.clear()
            changed = asyncio.create_task(played.changed.wait())
            await asyncio.wait({ending, changed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
        return False

    async def _stop(self, played: PlayedPod, ending: asyncio.Task[int], usual: int, asked: int | None) -> None:
        played.send(signal.SIGTERM)
        await asyncio.wait({ending}, timeout=usual if asked is None else asked)
        played.send(signal.SIGKILL)

    async def _wait_for_its_end(self, played: PlayedPod) -> None:
        while not played.is_deleted:
            limit = played.pod["spec"].get("activeDeadlineSeconds")
            try:
                async with asyncio.timeout(None if played.has_ended else limit):
                    await played.changed.wait()
            except TimeoutError:
                await played.end()
                await self._patch_status(played, too_old())
            played.changed.clear()
        await played.end()
        path = f"/api/v1/namespaces/{played.namespace}/pods/{played.name}"
        mine = {"uid": played.pod["metadata"]["uid"]}
        await self._ask("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": mine})

    async def _patch_status(self, played: PlayedPod, status: Object) -> None:
        path = f"/api/v1/namespaces/{played.namespace}/pods/{played.name}/status"
        await self._ask("PATCH", path, {"metadata": {"uid": played.pod["metadata"]["uid"]}, "status": status})

    async def _ask(self, method: str, path: str, body: Object | None = None) -> Object:
        """The answer; empty if there is no such object. Waits for a server that is away."""
        content = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.request(method, self._url + path, json=body, headers=content) as answer:
                    if answer.status < 300:
                        found: Object = await answer.json()
                        return found
                    if answer.status in {404, 409}:
                        return {}
            await asyncio.sleep(0.1)

    # Logs.

    async def _serve_logs(self) -> int:
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer_log)
        self._logs = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._logs.setup()
        await web.TCPSite(self._logs, "127.0.0.1", 0, ssl_context=own_certificate()).start()
        port: int = self._logs.addresses[0][1]
        return port

    async def _answer_log(self, request: web.Request) -> web.StreamResponse:
        names = request.match_info["namespace"], request.match_info["pod"]
        played = next((each for each in self._pods.values() if (each.namespace, each.name) == names), None)
        if played is None or played.log_is_lost:
            raise web.HTTPNotFound
        answer = web.StreamResponse()
        await answer.prepare(request)
        follow, with_times = (request.query.get(each) == "true" for each in ("follow", "timestamps"))
        sent = max(0, len(played.log) - int(request.query.get("tailLines", len(played.log))))
        while True:
            for line in played.log[sent:]:
                sent += 1
                await answer.write(((line if with_times else line.partition(" ")[2]) + "\n").encode())
            async with played.written:
                if sent == len(played.log):
                    if played.has_ended or not follow:
                        return answer
                    await played.written.wait()


def program_of(played: PlayedPod) -> str:
    """The first word of what is to run; empty if the image decides."""
    return str([*played.container.get("command", []), *played.container.get("args", []), ""][0])


def status_of(played: PlayedPod, phase: str, container: Object, *, ready: bool = False, restarts: int = 0) -> Object:
    """The status of a pod with one container."""
    conditions = [
        {"type": kind, "status": str(state), "lastTransitionTime": stamp()}
        for kind, state in [("PodScheduled", True), ("Initialized", True), ("ContainersReady", ready), ("Ready", ready)]
    ]
    return {
        "phase": phase,
        "startTime": played.pod.get("status", {}).get("startTime") or stamp(),
        "hostIP": "127.0.0.1",
        "podIP": played.address,
        "podIPs": [{"ip": played.address}],
        "conditions": conditions,
        "containerStatuses": [
            {
                "name": played.container["name"],
                "image": played.container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": restarts,
                **container,
            }
        ],
    }


def running(played: PlayedPod, *, ready: bool = True, since: datetime | None = None) -> Object:
    state = {"state": {"running": {"startedAt": stamp(since)}}, "started": True}
    return status_of(played, "Running", state, ready=ready)


def crashing(played: PlayedPod) -> Object:
    last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": stamp(), "finishedAt": stamp()}}
    message = f"back-off 10s restarting failed container={played.container['name']} pod={played.name}"
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    return status_of(played, "Running", {"state": state, "lastState": last}, restarts=3)


def not_pulled(played: PlayedPod) -> Object:
    message = f'Back-off pulling image "{played.container["image"]}": ErrImagePull: not found'
    return status_of(played, "Pending", {"state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}})


def ended(
    played: PlayedPod, began: datetime, code: int, *, reason: str = "", message: str = "", is_too_old: bool = False
) -> Object:
    why = reason or ("Completed" if code == 0 else "Error")
    end = {"exitCode": code, "reason": why, "message": message, "startedAt": stamp(began), "finishedAt": stamp()}
    status = status_of(played, "Failed" if code or is_too_old else "Succeeded", {"state": {"terminated": end}})
    return status | (too_old() if is_too_old else {})


def too_old() -> Object:
    message = "Pod was active on the node longer than the specified deadline"
    return {"phase": "Failed", "reason": "DeadlineExceeded", "message": message}


def stamp(time: datetime | None = None) -> str:
    return f"{time or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length."""
    rest = b""
    async for data in content.iter_any():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line


def own_certificate() -> ssl.SSLContext:
    """A certificate that nobody knows: API servers do not check that of a kubelet unless told to."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NODE)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    both = certificate.public_bytes(pem) + key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with memory_file(both) as path:
        context.load_cert_chain(path)
    return context


@contextlib.contextmanager
def memory_file(data: bytes) -> Any:
    """A file that is on no disk, for what takes only paths."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
