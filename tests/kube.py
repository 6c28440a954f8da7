"""A real Kubernetes control plane for tests: etcd, API server, controllers and scheduler as processes on loopback.

Import the fixtures `control_plane`, `kubelet` and `cluster` by name. One control plane serves all tests of a test
process and dies with it, whatever kills that. Each test gets a namespace of its own and, as the services do, a
ServiceAccount that may do what `deploy/kubernetes/deployer-role.yaml` grants and nothing else. No machine stands behind
it: `kubelet.Kubelet` plays one.
"""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from typing import IO, Any

import pytest
import yaml
from components import program
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from kubelet import Kubelet
from ports import free_port as free_port

from opsuite_platforms.kubernetes_api import KubernetesApi, Resource
from opsuite_platforms.kubernetes_transport import Call, Object

HOW_TO_GET_IT = "tools/kube-assets/build.sh, with Go; about ten minutes"
GRANTS = Path(__file__).parents[1] / "deploy/kubernetes"
WORKLOADS, MANIFESTS = GRANTS / "deployer-role.yaml", GRANTS / "deployer-manifests-role.yaml"
START_SECONDS = 120
ADMIN_TOKEN = token_hex(16)
# What services do is written down, what the cluster's own parts and the tests do is not.
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:masters", "system:nodes"]},
        {"level": "None", "namespaces": ["kube-system", "kube-node-lease", ""]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}

NAMESPACES = Resource("v1", "namespaces", "Namespace", is_namespaced=False)
SERVICE_ACCOUNTS = Resource("v1", "serviceaccounts", "ServiceAccount")
KINDS = {
    "Role": Resource("rbac.authorization.k8s.io/v1", "roles", "Role"),
    "RoleBinding": Resource("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding"),
}
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", is_namespaced=False)
CLUSTER_BINDINGS = Resource(
    "rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", is_namespaced=False
)


class ControlPlane:
    """The processes of one cluster and the files that they read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self._etcd_port, self._peer_port = (free_port() for _ in range(3))
        self.url = f"https://127.0.0.1:{self.port}"
        self.authorities = directory / "pki/apiserver.crt"
        self._starter = ThreadPoolExecutor(max_workers=1)
        self._running = dict[str, subprocess.Popen[bytes]]()
        self._names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        self._programs = {name: program(name, HOW_TO_GET_IT) for name in self._names}

    def start(self) -> None:
        """Start everything; returns when pods can be made."""
        self._write_files()
        self._run("etcd", self._etcd_arguments())
        self.start_api_server()
        client = ["--kubeconfig", self.directory / "admin.json", "--leader-elect=false", "--secure-port=0"]
        fast = ["--kube-api-qps=500", "--kube-api-burst=1000"]
        self._run("kube-controller-manager", [*client, *fast, *self._controller_arguments()])
        self._run("kube-scheduler", [*client, *fast])

    def start_api_server(self) -> None:
        """Start the API server, also after it was killed; returns when it is ready."""
        self._run("kube-apiserver", self._api_server_arguments())
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline or self._running["kube-apiserver"].poll() is not None:
                raise RuntimeError(self.tail_of_logs())
            time.sleep(0.05)

    def kill(self, name: str) -> None:
        """SIGKILL: what is asked to stop in order waits a minute for watches to end."""
        if process := self._running.pop(name, None):
            process.kill()
            process.wait()

    @contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """That process stands still meanwhile."""
        process = self._running[name]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill everything."""
        for name in list(self._running):
            self.kill(name)
        self._starter.shutdown()

    def kubeconfig(self, token: str, *, url: str = "") -> Object:
        """What a client reads to be who has that token."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [
                {"name": "test", "cluster": {"server": url or self.url, "certificate-authority": str(self.authorities)}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
        }

    def calls_of(self, user: str) -> list[Object]:
        """What a user has asked the API server for, oldest first."""
        lines = (self.directory / "audit.jsonl").read_text().splitlines()
        return [call for call in map(json.loads, lines) if call["user"]["username"] == user]

    def tail_of_logs(self) -> str:
        """The end of what every process wrote."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in self.directory.glob("*.log"))

    def _run(self, name: str, arguments: list[Any]) -> None:
        # Killed by the kernel when the thread that starts it dies, so that no test run leaves a process behind: one
        # thread that lives as long as this, since tests start and stop things from threads that do not.
        until_we_die = ["setpriv", "--pdeathsig", "KILL", "--"]
        command = [*until_we_die, self._programs[name], *map(str, arguments)]
        with (self.directory / f"{name}.log").open("ab") as log:
            self._running[name] = self._starter.submit(start_process, command, log).result()

    def _write_files(self) -> None:
        self.directory.chmod(0o700)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self.directory / "sa.key").write_bytes(key.private_bytes(*pem))
        (self.directory / "tokens.csv").write_text(f'{ADMIN_TOKEN},admin,admin-uid,"system:masters"\n')
        (self.directory / "audit-policy.json").write_text(json.dumps(AUDIT))
        (self.directory / "admin.json").write_text(json.dumps(self.kubeconfig(ADMIN_TOKEN)))

    def _etcd_arguments(self) -> list[Any]:
        clients, peers = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            *("--data-dir", self.directory / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
        ]

    def _api_server_arguments(self) -> list[Any]:
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", f"--secure-port={self.port}", "--advertise-address=127.0.0.1"),
            *("--endpoint-reconciler-type=none", f"--cert-dir={self.directory / 'pki'}", "--profiling=false"),
            *("--service-cluster-ip-range=10.0.0.0/16", "--allow-privileged=true", "--authorization-mode=RBAC"),
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={self.directory / 'sa.key'}",
            f"--service-account-key-file={self.directory / 'sa.key'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            f"--audit-policy-file={self.directory / 'audit-policy.json'}",
            *(f"--audit-log-path={self.directory / 'audit.jsonl'}", "--audit-log-mode=blocking"),
        ]

    def _controller_arguments(self) -> list[Any]:
        return [
            *("--use-service-account-credentials=true", "--pvclaimbinder-sync-period=1s"),
            f"--service-account-private-key-file={self.directory / 'sa.key'}",
            f"--root-ca-file={self.authorities}",
        ]

    def _is_ready(self) -> bool:
        try:
            context = ssl.create_default_context(cafile=self.authorities)
            request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
            with urllib.request.urlopen(request, context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, ssl.SSLError):
            return False


@dataclass
class Cluster:
    """What one test has of the control plane: a namespace, and a ServiceAccount with the Role that we ship."""

    control_plane: ControlPlane
    kubelet: Kubelet
    namespace: str
    kubeconfig: Path
    """Of the ServiceAccount."""
    token: str
    admin: KubernetesApi
    """May do everything: for what the test does behind the back of what it tests."""
    opened: list[KubernetesApi] = field(default_factory=list)

    def api(self, *, url: str = "", patience: timedelta = timedelta(seconds=30)) -> KubernetesApi:
        """The cluster as a service sees it; closed after the test."""
        path = self.kubeconfig
        if url:
            path = path.with_name(f"{self.namespace}-{token_hex(4)}.json")
            path.write_text(json.dumps(self.control_plane.kubeconfig(self.token, url=url)))
        self.opened.append(api := KubernetesApi(path, patience=patience))
        return api

    async def grant_everywhere(self, *rules: Object) -> None:
        """Let the ServiceAccount do that in the whole cluster."""
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": self.namespace}
        subject = {"kind": "ServiceAccount", "name": "opsuite-deployer", "namespace": self.namespace}
        metadata = {"name": self.namespace}
        await self.admin.create(CLUSTER_ROLES, "", {"metadata": metadata, "rules": list(rules)})
        binding = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
        await self.admin.create(CLUSTER_BINDINGS, "", binding)


SHARED = pytest.StashKey[tuple[ControlPlane, Kubelet]]()


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> ControlPlane:
    """The cluster that all tests of this process share."""
    return shared(pytestconfig)[0]


@pytest.fixture(scope="session")
def kubelet(pytestconfig: pytest.Config) -> Kubelet:
    """Its node, which plays its pods."""
    return shared(pytestconfig)[1]


def shared(config: pytest.Config) -> tuple[ControlPlane, Kubelet]:
    """Started once, however many modules import the fixtures: each import makes a fixture of its own."""
    if SHARED not in config.stash:
        directory = Path(tempfile.mkdtemp(prefix="opsuite-kube-"))
        config.add_cleanup(lambda: shutil.rmtree(directory))
        plane = ControlPlane(directory)
        config.add_cleanup(plane.stop)
        plane.start()
        kubelet = Kubelet(plane.url, plane.authorities, ADMIN_TOKEN)
        kubelet.start()
        config.add_cleanup(kubelet.stop)
        config.stash[SHARED] = (plane, kubelet)
    return config.stash[SHARED]


@pytest.fixture
async def cluster(control_plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[Cluster]:
    """What this test has of the control plane."""
    async with own_cluster(control_plane, kubelet) as cluster:
        yield cluster


@asynccontextmanager
async def own_cluster(
    control_plane: ControlPlane, kubelet: Kubelet, grants: Sequence[Path] = (WORKLOADS,)
) -> AsyncIterator[Cluster]:
    """A namespace for one test; what is in it is left to die with the control plane."""
    namespace = f"test-{token_hex(4)}"
    admin = KubernetesApi(control_plane.directory / "admin.json")
    await admin.create(NAMESPACES, "", {"metadata": {"name": namespace}})
    token = await service_account(admin, namespace, "\n---\n".join(path.read_text() for path in grants))
    kubeconfig = control_plane.directory / f"{namespace}.json"
    kubeconfig.write_text(json.dumps(control_plane.kubeconfig(token)))
    cluster = Cluster(control_plane, kubelet, namespace, kubeconfig, token, admin)
    yield cluster
    kubelet.kill_all(namespace)
    for api in [admin, *cluster.opened]:
        await api.close()


async def service_account(admin: KubernetesApi, namespace: str, roles: str, name: str = "opsuite-deployer") -> str:
    """A token of a new ServiceAccount that has what the documents grant, there and nowhere else."""
    while await admin.find(SERVICE_ACCOUNTS, namespace, "default") is None:  # without it pods are refused
        time.sleep(0.02)  # noqa: ASYNC251  # nothing else runs yet
    await admin.create(SERVICE_ACCOUNTS, namespace, {"metadata": {"name": name}})
    for document in yaml.safe_load_all(roles):
        if document["kind"] in KINDS:
            document["metadata"].pop("namespace", None)
            for subject in document.get("subjects", []):
                subject["namespace"] = namespace
            await admin.create(KINDS[document["kind"]], namespace, document)
    request = {"metadata": {"name": name}, "spec": {"expirationSeconds": 3600}}
    path = SERVICE_ACCOUNTS.path(namespace, name, "token")
    answer = await admin.ask(Call("POST", path, f"token {name}", body=request))
    return str(answer["status"]["token"])


def start_process(command: list[Any], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process in a session of its own, which writes to `log`."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
