"""What a pipeline is: stages of steps, and the gates between them.

A pipeline is data. What is right about it stands in `rules.py`, what a deployment makes of it in `progress.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Final

from opsuite_deployer.domain.hook_points import HookPoint
from opsuite_deployer.domain.routing import ReplicaHealth, TrafficRouting
from opsuite_deployer.domain.strategy import USUAL_SAFETY, Safety, Strategy
from opsuite_notify.port import Channel, SecretRef

MINUTE: Final = timedelta(minutes=1)


class ConcurrencyPolicy(Enum):
    """What happens to a deployment that finds its environment occupied."""

    QUEUE = "queue"
    REPLACE = "replace"
    CANCEL_RUNNING = "cancel_running"
    REJECT = "reject"


class SiblingPolicy(Enum):
    """What a failed step of a parallel stage does to those running beside it."""

    FAIL_FAST = "fail_fast"
    WAIT_ALL = "wait_all"


class OnFailure(Enum):
    """What a failed gate or hook does."""

    FAIL = "fail"
    PAUSE = "pause"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """An HTTP request that should answer as expected."""

    url: str
    expected_status: int = 200
    body_contains: str = ""


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """A TCP connection that should be accepted."""

    address: str


@dataclass(frozen=True, slots=True)
class GrpcTarget:
    """A gRPC server that should say SERVING."""

    address: str
    service: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadTarget:
    """Every replica of a workload, at its own port; without a path a TCP connection is enough."""

    workload: str
    path: str = ""
    expected_status: int = 200
    body_contains: str = ""


CheckTarget = HttpTarget | TcpTarget | GrpcTarget | WorkloadTarget


@dataclass(frozen=True, slots=True)
class Check:
    """One question and how often it is asked; counts are of answers in a row."""

    name: str
    target: CheckTarget
    timeout: timedelta = timedelta(seconds=5)
    interval: timedelta = timedelta(seconds=1)
    success_threshold: int = 1
    failure_threshold: int = 3
    initial_delay: timedelta = timedelta(0)
    deadline: timedelta = MINUTE


@dataclass(frozen=True, slots=True)
class Gate:
    """Checks that must all become healthy before the deployment goes on."""

    name: str
    checks: tuple[Check, ...]
    on_failure: OnFailure = OnFailure.FAIL


@dataclass(frozen=True, slots=True)
class Command:
    """A program on the deployer's machine."""

    command: str
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, SecretRef] = field(default_factory=dict)
    memory_bytes: int | None = None
    cpu_seconds: int | None = None
    file_size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A directory of the machine inside a container."""

    source: str
    target: str
    writable: bool = False


class ContainerEngine(Enum):
    """What runs the container of a step to its end."""

    DOCKER = "docker"
    KUBERNETES_JOB = "kubernetes_job"


@dataclass(frozen=True, slots=True)
class Docker:
    """A container, run to its end. An empty namespace means that of the settings."""

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    cpus: float = 1.0
    memory_bytes: int = 512 * 1024 * 1024
    pids: int = 512
    network_disabled: bool = False
    engine: ContainerEngine = ContainerEngine.DOCKER
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of fixed length."""

    duration: timedelta


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a workload; without a number each replica gets its own."""

    name: str
    number: int | None = None


class WorkloadPlatform(Enum):
    """Where workloads run."""

    PROCESS = "process"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload that is to run in a given version. An empty version means that of the deployment."""

    workload: str
    command: tuple[str, ...]
    version: str = ""
    directory: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[Port, ...] = ()
    replicas: int = 1
    platform: WorkloadPlatform = WorkloadPlatform.PROCESS
    image: str = ""
    namespace: str = ""
    cpus: float | None = None
    memory_bytes: int | None = None
    grace: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """Manifests that are applied to a cluster until everything is ready."""

    manifest_path: str
    namespace: str = ""
    keep_dropped: bool = False


@dataclass(frozen=True, slots=True)
class Rollout:
    """A workload that is brought to a new version while it serves."""

    workload: Workload
    strategy: Strategy
    safety: Safety = USUAL_SAFETY
    traffic: TrafficRouting | None = None
    """None: nobody that we know of sends it requests, and only replicas are moved."""
    health: ReplicaHealth | None = None
    """None: running is enough."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST that has to be answered with a status from 200 to 299; only hooks are of this kind."""

    url: str
    secret: SecretRef | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


HookKind = Command | Docker | Check | Webhook
StepKind = HookKind | Wait | Workload | Kubernetes | Rollout

KIND_NAMES: Final[Mapping[type, str]] = {
    Command: "command",
    Docker: "docker",
    Check: "health_check",
    Wait: "wait",
    Workload: "workload",
    Kubernetes: "kubernetes",
    Rollout: "rollout",
    Webhook: "webhook",
}
"""The words for kinds of steps, as contract, log and page use them."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Attempts in all, and the time between them: `backoff`, doubled each time, at most `max_backoff`."""

    attempts: int = 1
    backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(seconds=30)

    def delay_after(self, attempt: int) -> timedelta:
        """Time to wait after failed attempt number `attempt` (1 for the first)."""
        return min(self.backoff * (1 << (attempt - 1)), self.max_backoff)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do."""

    name: str
    kind: StepKind
    timeout: timedelta = 10 * MINUTE
    retry: Retry = Retry()
    idempotent: bool = False
    skip_on_rollback: bool = False
    on_failure: OnFailure = OnFailure.FAIL
    """Something else than FAIL for hooks only."""


@dataclass(frozen=True, slots=True)
class Hook:
    """Something that is done before or after a phase. An empty stage means every stage that has such a phase."""

    point: HookPoint
    step: Step
    stage: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps that belong together. `needs` None means the stage written before it."""

    name: str
    steps: tuple[Step, ...]
    gates: tuple[Gate, ...] = ()
    description: str = ""
    parallel: bool = False
    continue_on_failure: bool = False
    needs: tuple[str, ...] | None = None
    on_sibling_failure: SiblingPolicy = SiblingPolicy.FAIL_FAST
    hooks: HookPoint | None = None
    """Set where the steps are the hooks of one moment, see `hooks.py`; None for what somebody wrote as a stage."""
    about: str | None = None
    """Name of the stage that these hooks are about; None if they are about all of them, or are none."""
    of_rollout: tuple[str, str] | None = None
    """Names of the stage and the step whose rollout says when these hooks run; None for all others."""


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """Who is told of which moments (names of NotificationEvent); empty `events` means all."""

    name: str
    events: frozenset[str]
    channel: Channel


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How a version gets into an environment. `id` is the last part of its resource name."""

    id: str
    environments: tuple[str, ...]
    stages: tuple[Stage, ...]
    rollback_enabled: bool = True
    notifications: tuple[NotificationRule, ...] = ()
    timeout: timedelta | None = None
    max_duration: timedelta = timedelta(days=7)
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy.QUEUE
    environment_concurrency: Mapping[str, ConcurrencyPolicy] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    promote_in_order: bool = False
    """Whether a version has to be stable in one environment before it gets to the next."""
    hooks: tuple[Hook, ...] = ()
    """As they were written; `hooks.woven` puts them among the stages."""

    def policy_in(self, environment: str) -> ConcurrencyPolicy:
        """The concurrency policy that holds in `environment`."""
        return self.environment_concurrency.get(environment, self.concurrency)

    def needed_before(self, index: int) -> tuple[int, ...]:
        """Indexes of the stages that must have ended before stage `index` starts."""
        needs = self.stages[index].needs
        if needs is None:
            return (index - 1,) if index else ()
        by_name = {stage.name: position for position, stage in enumerate(self.stages)}
        return tuple(by_name[name] for name in needs)
