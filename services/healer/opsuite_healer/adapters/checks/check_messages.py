"""Checks of the contract as the domain knows them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from opsuite.common.v1 import notification_pb2
from opsuite.healer.v1 import check_pb2 as pb
from opsuite_healer.adapters.target_messages import severity_from, target_from
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.checks.check import (
    CheckSpec,
    CommandText,
    Levels,
    PostgresqlText,
    Question,
    RedisText,
    StateProbe,
)
from opsuite_healer.domain.checks.flapping import FlapLevels
from opsuite_notify.port import EnvSecret, FileSecret, SecretRef
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import CertificateProbe, DiskProbe, GrpcProbe, HttpProbe, PrometheusProbe, TcpProbe
from opsuite_rpc.values import duration_of, given

INTERVAL: Final = timedelta(seconds=30)
TIMEOUT: Final = timedelta(seconds=5)
STARTUP_GRACE: Final = timedelta(seconds=60)
SUCCESSES: Final = 2
FAILURES: Final = 3
LEAST_VALIDITY: Final = timedelta(days=14)
RAISE_PERCENT: Final = 90.0
CLEAR_PERCENT: Final = 80.0

SET_BY_THE_SERVER: Final = ("etag", "health", "created_by", "create_time", "update_time")
CHANGEABLE: Final = tuple(
    field.name for field in pb.Check.DESCRIPTOR.fields if field.name not in {"name", "target", *SET_BY_THE_SERVER}
)
"""Fields that an update may name."""


def spec_of(message: pb.Check) -> CheckSpec:
    """The check of a message of correct shape."""
    interval = duration_of(message, "interval", INTERVAL)
    return CheckSpec(
        id=id_of(message.name),
        target=target_from(message.target),
        question=_question(message),
        interval=interval,
        timeout=duration_of(message, "timeout", min(TIMEOUT, interval)),
        thresholds=thresholds_of(message),
        startup_grace=duration_of(message, "startup_grace", STARTUP_GRACE),
        severity=severity_from(message.severity),
        issue=message.issue,
        group=message.group,
        labels=dict(message.labels),
        levels=_levels(message),
        flapping=flap_levels_of(message.flapping),
        is_paused=message.paused,
    )


def thresholds_of(message: Any) -> Thresholds:
    """Those of a message that has them."""
    return Thresholds(
        success=given(message, "success_threshold", SUCCESSES), failure=given(message, "failure_threshold", FAILURES)
    )


def flap_levels_of(message: pb.Flapping) -> FlapLevels | None:
    """When something flaps; None: never."""
    if message.disabled:
        return None
    usual = FlapLevels()
    high = given(message, "high_percent", usual.high)
    return FlapLevels(high, given(message, "low_percent", min(usual.low, high)))


def document_of(message: pb.Check) -> bytes:
    """What is kept of a check: what was given, without what only the server knows."""
    kept = pb.Check()
    kept.CopyFrom(message)
    for name in SET_BY_THE_SERVER:
        kept.ClearField(name)
    return kept.SerializeToString(deterministic=True)


def merged(present: pb.Check, new: pb.Check, fields: list[str]) -> pb.Check:
    """The present check with these fields of the new one; a probe takes the place of the one there was."""
    result = pb.Check()
    result.CopyFrom(present)
    for name in fields:
        result.ClearField(name)  # type: ignore[arg-type]  # the stub wants literals
        part = pb.Check()
        part.CopyFrom(new)
        for other in pb.Check.DESCRIPTOR.fields:
            if other.name != name:
                part.ClearField(other.name)  # type: ignore[arg-type]  # the stub wants literals
        result.MergeFrom(part)
    return result


def _question(message: pb.Check) -> Question:
    match message.WhichOneof("probe"):
        case "http":
            http = message.http
            return HttpProbe(http.url, given(http, "expected_status", 200), http.body_contains)
        case "tcp":
            return TcpProbe(message.tcp.address)
        case "grpc":
            return GrpcProbe(message.grpc.address, message.grpc.service)
        case "command":
            command = message.command
            return CommandText(command.command, tuple(command.args), command.working_dir)
        case "prometheus":
            return PrometheusProbe(message.prometheus.url, message.prometheus.query)
        case "postgresql":
            return PostgresqlText(message.postgresql.url, _secret(message.postgresql))
        case "redis":
            return RedisText(message.redis.url, _secret(message.redis))
        case "certificate":
            return CertificateProbe(message.certificate.address, message.certificate.server_name)
        case "disk":
            return DiskProbe(message.disk.path)
        case _:
            usual = StateProbe()
            return StateProbe(
                given(message.state, "restart_limit", usual.restart_limit),
                duration_of(message.state, "restart_window", usual.restart_window),
            )


def _levels(message: pb.Check) -> Levels | None:
    match message.WhichOneof("probe"):
        case "prometheus":
            levels = message.prometheus.levels
            return Levels(getattr(levels, "raise"), given(levels, "clear", getattr(levels, "raise")), levels.below)
        case "certificate":
            least = duration_of(message.certificate, "least", LEAST_VALIDITY).total_seconds()
            return Levels(least, least, below=True)
        case "disk":
            highest = given(message.disk, "raise_percent", RAISE_PERCENT)
            return Levels(highest, given(message.disk, "clear_percent", min(CLEAR_PERCENT, highest)))
        case _:
            return None


def _secret(message: pb.PostgresqlCheck | pb.RedisCheck) -> SecretRef | None:
    if not message.HasField("password"):
        return None
    password: notification_pb2.SecretRef = message.password
    if password.WhichOneof("source") == "file":
        return FileSecret(password.file)
    return EnvSecret(password.env)
