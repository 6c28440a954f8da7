"""Pipelines between contract and domain. Shapes were checked before; defaults of the contract are filled in here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from opsuite.common.v1 import health_check_pb2, notification_pb2
from opsuite.deployer.v1 import pipeline_pb2 as pb
from opsuite.deployer.v1 import workload_pb2
from opsuite_deployer.adapters.rollout_messages import rollout_of
from opsuite_deployer.application.ports import Revision
from opsuite_deployer.domain.hook_points import HookPoint, Moment, Phase
from opsuite_deployer.domain.hooks import usual_failure
from opsuite_deployer.domain.pipeline import (
    Check,
    CheckTarget,
    Command,
    ConcurrencyPolicy,
    ContainerEngine,
    Docker,
    Gate,
    GrpcTarget,
    Hook,
    HookKind,
    HttpTarget,
    Kubernetes,
    Mount,
    NotificationRule,
    OnFailure,
    Pipeline,
    Port,
    Retry,
    SiblingPolicy,
    Stage,
    Step,
    StepKind,
    TcpTarget,
    Wait,
    Webhook,
    Workload,
    WorkloadPlatform,
    WorkloadTarget,
)
from opsuite_notify.port import Channel, EmailChannel, EnvSecret, FileSecret, SlackChannel, WebhookChannel

_POLICIES: Final[Mapping[int, ConcurrencyPolicy]] = {
    pb.CONCURRENCY_POLICY_UNSPECIFIED: ConcurrencyPolicy.QUEUE,
    pb.CONCURRENCY_POLICY_QUEUE: ConcurrencyPolicy.QUEUE,
    pb.CONCURRENCY_POLICY_REPLACE: ConcurrencyPolicy.REPLACE,
    pb.CONCURRENCY_POLICY_CANCEL_RUNNING: ConcurrencyPolicy.CANCEL_RUNNING,
    pb.CONCURRENCY_POLICY_REJECT: ConcurrencyPolicy.REJECT,
}
_SIBLINGS: Final[Mapping[int, SiblingPolicy]] = {
    pb.SIBLING_POLICY_UNSPECIFIED: SiblingPolicy.FAIL_FAST,
    pb.SIBLING_POLICY_FAIL_FAST: SiblingPolicy.FAIL_FAST,
    pb.SIBLING_POLICY_WAIT_ALL: SiblingPolicy.WAIT_ALL,
}
_GATE_FAILURES: Final[Mapping[int, OnFailure]] = {
    pb.GATE_FAILURE_UNSPECIFIED: OnFailure.FAIL,
    pb.GATE_FAILURE_FAIL: OnFailure.FAIL,
    pb.GATE_FAILURE_PAUSE: OnFailure.PAUSE,
    pb.GATE_FAILURE_CONTINUE: OnFailure.CONTINUE,
}
_PLATFORMS: Final[Mapping[int, WorkloadPlatform]] = {
    workload_pb2.WORKLOAD_PLATFORM_UNSPECIFIED: WorkloadPlatform.PROCESS,
    workload_pb2.WORKLOAD_PLATFORM_PROCESS: WorkloadPlatform.PROCESS,
    workload_pb2.WORKLOAD_PLATFORM_DOCKER: WorkloadPlatform.DOCKER,
    workload_pb2.WORKLOAD_PLATFORM_KUBERNETES: WorkloadPlatform.KUBERNETES,
}
_ENGINES: Final[Mapping[int, ContainerEngine]] = {
    pb.CONTAINER_ENGINE_UNSPECIFIED: ContainerEngine.DOCKER,
    pb.CONTAINER_ENGINE_DOCKER: ContainerEngine.DOCKER,
    pb.CONTAINER_ENGINE_KUBERNETES_JOB: ContainerEngine.KUBERNETES_JOB,
}

_HOOK_FAILURES: Final[Mapping[int, OnFailure]] = {
    pb.HOOK_FAILURE_FAIL: OnFailure.FAIL,
    pb.HOOK_FAILURE_PAUSE: OnFailure.PAUSE,
    pb.HOOK_FAILURE_CONTINUE: OnFailure.CONTINUE,
}
_PHASES: Final[Mapping[int, Phase]] = {pb.HookPhase.Value(f"HOOK_PHASE_{phase.value}"): phase for phase in Phase}
HOOK_TIMEOUT: Final = timedelta(seconds=10)
"""Of a hook that says nothing, beside the deadline of its health check; docs/adr/0027 says why."""


def document_of(message: pb.Pipeline) -> bytes:
    """The form in which a revision is kept: without output-only fields, and the same for equal pipelines."""
    kept = pb.Pipeline()
    kept.CopyFrom(message)
    for output_only in ("revision", "etag", "create_time"):
        kept.ClearField(output_only)
    return kept.SerializeToString(deterministic=True)


def message_of(revision: Revision) -> pb.Pipeline:
    """A revision as the contract shows it."""
    message = pb.Pipeline.FromString(revision.document)
    message.revision = revision.number
    message.etag = revision.etag
    message.create_time.FromDatetime(revision.created_at)
    return message


def pipeline_of(message: pb.Pipeline) -> Pipeline:
    """The pipeline that a message of correct shape describes."""
    return Pipeline(
        id=message.name.removeprefix("pipelines/"),
        environments=tuple(message.environments),
        stages=tuple(_stage(stage) for stage in message.stages),
        rollback_enabled=message.rollback_enabled if message.HasField("rollback_enabled") else True,
        notifications=tuple(_notification(rule) for rule in message.notifications),
        timeout=_duration(message, "timeout"),
        max_duration=_duration(message, "max_duration") or timedelta(days=7),
        concurrency=_POLICIES[message.concurrency],
        environment_concurrency={name: _POLICIES[policy] for name, policy in message.environment_concurrency.items()},
        variables=dict(message.variables),
        promote_in_order=message.promote_in_order,
        hooks=tuple(_hook(hook) for hook in message.hooks),
    )


def _hook(message: pb.Hook) -> Hook:
    point = _point(message)
    kind = _hook_kind(message)
    deadline = kind.deadline if isinstance(kind, Check) else timedelta(0)
    step = Step(
        name=message.name,
        kind=kind,
        timeout=_duration(message, "timeout") or HOOK_TIMEOUT + deadline,
        retry=_retry(message.retry),
        idempotent=message.idempotent,
        skip_on_rollback=message.on_rollback == pb.ON_ROLLBACK_SKIP,
        on_failure=_HOOK_FAILURES.get(message.on_failure) or usual_failure(point),
    )
    return Hook(point, step, message.stage)


def _point(message: pb.Hook) -> HookPoint:
    moment = message.WhichOneof("moment") or "before"
    return HookPoint(Moment(moment), _PHASES[getattr(message, moment)])


def _hook_kind(message: pb.Hook) -> HookKind:
    match message.WhichOneof("kind"):
        case "command":
            return _command(message.command)
        case "docker":
            return _docker(message.docker)
        case "health_check":
            return _check(message.health_check)
        case _:
            call = message.webhook
            return Webhook(call.url, _reference(call.secret) if call.HasField("secret") else None, dict(call.metadata))


def _stage(message: pb.Stage) -> Stage:
    return Stage(
        name=message.name,
        description=message.description,
        steps=tuple(_step(step) for step in message.steps),
        gates=tuple(_gate(gate) for gate in message.gates),
        parallel=message.parallel,
        continue_on_failure=message.continue_on_failure,
        needs=tuple(message.needs.stages) if message.HasField("needs") else None,
        on_sibling_failure=_SIBLINGS[message.on_sibling_failure],
    )


def _gate(message: pb.HealthGate) -> Gate:
    return Gate(message.name, tuple(_check(check) for check in message.checks), _GATE_FAILURES[message.on_failure])


def _step(message: pb.Step) -> Step:
    step = Step(
        name=message.name,
        kind=_kind(message),
        retry=_retry(message.retry),
        idempotent=message.idempotent,
        skip_on_rollback=message.on_rollback == pb.ON_ROLLBACK_SKIP,
    )
    timeout = _duration(message, "timeout")
    return (
        step
        if timeout is None
        else Step(step.name, step.kind, timeout, step.retry, step.idempotent, step.skip_on_rollback)
    )


def _retry(message: pb.RetryPolicy) -> Retry:
    default = Retry()
    backoff, longest = _duration(message, "backoff"), _duration(message, "max_backoff")
    return Retry(
        attempts=message.attempts if message.HasField("attempts") else default.attempts,
        backoff=default.backoff if backoff is None else backoff,
        max_backoff=default.max_backoff if longest is None else longest,
    )


def _kind(message: pb.Step) -> StepKind:
    match message.WhichOneof("kind"):
        case "command":
            return _command(message.command)
        case "docker":
            return _docker(message.docker)
        case "health_check":
            return _check(message.health_check)
        case "wait":
            return Wait(message.wait.duration.ToTimedelta())
        case "kubernetes":
            step = message.kubernetes
            return Kubernetes(step.manifest_path, step.namespace, step.keep_dropped)
        case "rollout":
            return rollout_of(message.rollout, _workload(message.rollout.workload), _check)
        case _:
            return _workload(message.workload)


def _command(message: pb.CommandStep) -> Command:
    limits = message.limits
    return Command(
        command=message.command,
        args=tuple(message.args),
        working_dir=message.working_dir,
        env=dict(message.env),
        secret_env={name: _reference(ref) for name, ref in message.secret_env.items()},
        memory_bytes=limits.memory_bytes if limits.HasField("memory_bytes") else None,
        cpu_seconds=limits.cpu_seconds if limits.HasField("cpu_seconds") else None,
        file_size_bytes=limits.file_size_bytes if limits.HasField("file_size_bytes") else None,
    )


def _docker(message: pb.DockerStep) -> Docker:
    limits = message.limits
    default = Docker(image="")
    return Docker(
        image=message.image,
        command=tuple(message.command),
        env=dict(message.environment_vars),
        mounts=tuple(Mount(mount.source, mount.target, mount.writable) for mount in message.mounts),
        cpus=limits.cpus if limits.HasField("cpus") else default.cpus,
        memory_bytes=limits.memory_bytes if limits.HasField("memory_bytes") else default.memory_bytes,
        pids=limits.pids if limits.HasField("pids") else default.pids,
        network_disabled=message.network_disabled,
        engine=_ENGINES[message.engine],
        namespace=message.namespace,
    )


def _workload(message: workload_pb2.WorkloadStep) -> Workload:
    return Workload(
        workload=message.workload,
        version=message.version,
        command=tuple(message.command),
        directory=message.directory,
        env=dict(message.env),
        ports=tuple(Port(port.name, port.number if port.HasField("number") else None) for port in message.ports),
        replicas=message.replicas if message.HasField("replicas") else 1,
        platform=_PLATFORMS[message.platform],
        image=message.image,
        namespace=message.namespace,
        cpus=message.cpus if message.HasField("cpus") else None,
        memory_bytes=message.memory_bytes if message.HasField("memory_bytes") else None,
        grace=timedelta(seconds=10) if (grace := _duration(message, "grace")) is None else grace,
    )


def _check(message: health_check_pb2.HealthCheck) -> Check:
    default = Check(name="", target=TcpTarget(""))
    times = {
        name: duration
        for name in ("timeout", "interval", "initial_delay", "deadline")
        if (duration := _duration(message, name)) is not None
    }
    return Check(
        name=message.name,
        target=_target(message),
        success_threshold=message.success_threshold
        if message.HasField("success_threshold")
        else default.success_threshold,
        failure_threshold=message.failure_threshold
        if message.HasField("failure_threshold")
        else default.failure_threshold,
        **times,
    )


def _target(message: health_check_pb2.HealthCheck) -> CheckTarget:
    match message.WhichOneof("probe"):
        case "http":
            http = message.http
            return HttpTarget(
                http.url, http.expected_status if http.HasField("expected_status") else 200, http.body_contains
            )
        case "tcp":
            return TcpTarget(message.tcp.address)
        case "grpc":
            return GrpcTarget(message.grpc.address, message.grpc.service)
        case _:
            workload = message.workload
            status = workload.expected_status if workload.HasField("expected_status") else 200
            return WorkloadTarget(workload.workload, workload.path, status, workload.body_contains)


def _notification(message: notification_pb2.Notification) -> NotificationRule:
    events = (notification_pb2.NotificationEvent.Name(event) for event in message.events)
    return NotificationRule(
        name=message.name,
        events=frozenset(event.removeprefix("NOTIFICATION_EVENT_") for event in events),
        channel=_channel(message),
    )


def _channel(message: notification_pb2.Notification) -> Channel:
    match message.WhichOneof("channel"):
        case "webhook":
            webhook = message.webhook
            return WebhookChannel(webhook.url, _reference(webhook.secret) if webhook.HasField("secret") else None)
        case "slack":
            return SlackChannel(_reference(message.slack.url))
        case _:
            return EmailChannel(tuple(message.email.to))


def _reference(message: notification_pb2.SecretRef) -> EnvSecret | FileSecret:
    return EnvSecret(message.env) if message.WhichOneof("source") == "env" else FileSecret(message.file)


def _duration(message: Message, field: str) -> timedelta | None:
    if not message.HasField(field):
        return None
    value: Duration = getattr(message, field)
    return value.ToTimedelta()
