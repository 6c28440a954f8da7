"""What is wrong with checks beyond their shape, all of it at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from opsuite_healer.domain.checks.check import (
    CheckSpec,
    CommandText,
    Levels,
    PostgresqlText,
    RedisText,
    StateProbe,
)
from opsuite_healer.domain.checks.flapping import FlapLevels
from opsuite_healer.domain.checks.rules import violations
from opsuite_healer.domain.targets import TargetRef
from opsuite_kernel.errors import Violation
from opsuite_probes.port import CertificateProbe, DiskProbe, GrpcProbe, HttpProbe, PrometheusProbe, TcpProbe

PROCESS, NOBODY = TargetRef("process", "shop"), TargetRef("", "shop")


def a_spec(question: Any = None, **fields: Any) -> CheckSpec:
    return replace(CheckSpec("home", NOBODY, question or TcpProbe("127.0.0.1:80")), **fields)


def judge(command: CommandText) -> Sequence[Violation]:
    return [] if command.command == "true" else [Violation("command", "is not allowed", "COMMAND_NOT_ALLOWED")]


def wrong(spec: CheckSpec) -> list[tuple[str, str]]:
    return [(one.field, one.reason) for one in violations(spec, judge)]


@pytest.mark.parametrize(
    "spec",
    [
        a_spec(),
        a_spec(HttpProbe("https://example.org/health")),
        a_spec(HttpProbe("http://127.0.0.1:${port}/health"), target=PROCESS),
        a_spec(HttpProbe("http://${host}:${port_admin}/${replica}"), target=PROCESS),
        a_spec(TcpProbe("[::1]:80")),
        a_spec(GrpcProbe("${host}:${port}"), target=TargetRef("kubernetes", "shop", namespace="prod")),
        a_spec(StateProbe(), target=TargetRef("docker", "shop", "shop-0")),
        a_spec(CommandText("true")),
        a_spec(PrometheusProbe("", "up"), levels=Levels(10, 20, below=True)),
        a_spec(PostgresqlText("postgresql://opsuite@127.0.0.1:5432/shop")),
        a_spec(RedisText("rediss://cache:6380/1")),
        a_spec(CertificateProbe("example.org:443"), levels=Levels(1, 1, below=True)),
        a_spec(DiskProbe("/srv"), levels=Levels(90, 80)),
        a_spec(flapping=None, labels={"team": "shop"}),
    ],
    ids=lambda spec: type(spec.question).__name__,
)
def test_what_is_right_is_taken(spec: CheckSpec) -> None:
    assert wrong(spec) == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (a_spec(target=replace(NOBODY, namespace="prod")), [("target.namespace", "NOT_ALLOWED")]),
        (a_spec(target=replace(NOBODY, replica="shop-0")), [("target.replica", "NOT_ALLOWED")]),
        (a_spec(StateProbe()), [("target.platform", "REQUIRED")]),
        (a_spec(TcpProbe("127.0.0.1:${port}")), [("target.platform", "REQUIRED")]),
        (a_spec(HttpProbe("ftp://example.org")), [("http.url", "FORMAT")]),
        (a_spec(TcpProbe("nowhere")), [("tcp.address", "FORMAT")]),
        (a_spec(GrpcProbe("127.0.0.1:99999")), [("grpc.address", "FORMAT")]),
        (a_spec(TcpProbe("127.0.0.1:${version}"), target=PROCESS), [("tcp.address", "TEMPLATE_UNDECLARED")]),
        (a_spec(TcpProbe("127.0.0.1:${port"), target=PROCESS), [("tcp.address", "TEMPLATE_MALFORMED")]),
        (a_spec(CommandText("rm")), [("command.command", "COMMAND_NOT_ALLOWED")]),
        (a_spec(PostgresqlText("mysql://h/d")), [("postgresql.url", "FORMAT")]),
        (a_spec(PostgresqlText("postgresql://u:hunter2@h/d")), [("postgresql.url", "SECRET_IN_REQUEST")]),
        (a_spec(PostgresqlText("postgresql://h/d?password=hunter2")), [("postgresql.url", "SECRET_IN_REQUEST")]),
        (a_spec(RedisText("redis://:hunter2@h")), [("redis.url", "SECRET_IN_REQUEST")]),
        (a_spec(RedisText("redis://h:port")), [("redis.url", "FORMAT")]),
        (a_spec(CertificateProbe("example.org")), [("certificate.address", "FORMAT")]),
        (a_spec(PrometheusProbe("", "up"), levels=Levels(1, 2)), [("prometheus.levels.clear", "REVERSED")]),
        (
            a_spec(PrometheusProbe("", "up"), levels=Levels(2, 1, below=True)),
            [("prometheus.levels.clear", "REVERSED")],
        ),
        (
            a_spec(PrometheusProbe("", "up"), levels=Levels(float("nan"), 1)),
            [("prometheus.levels.raise", "RANGE")],
        ),
        (a_spec(DiskProbe("/"), levels=Levels(80, 90)), [("disk.clear_percent", "REVERSED")]),
        (a_spec(timeout=timedelta(seconds=31)), [("timeout", "TOO_LONG")]),
        (
            a_spec(labels={"issue": "x", "workload": "y"}),
            [('labels["issue"]', "RESERVED"), ('labels["workload"]', "RESERVED")],
        ),
        (a_spec(flapping=FlapLevels(high=10, low=20)), [("flapping.low_percent", "REVERSED")]),
    ],
)
def test_what_is_wrong_is_told_with_its_place(spec: CheckSpec, expected: list[tuple[str, str]]) -> None:
    assert wrong(spec) == expected


def test_all_that_is_wrong_is_told_at_once() -> None:
    spec = a_spec(
        TcpProbe("nowhere"),
        target=replace(NOBODY, namespace="prod"),
        timeout=timedelta(minutes=2),
        labels={"check": "x"},
        flapping=FlapLevels(high=10, low=20),
    )

    assert [field for field, _ in wrong(spec)] == [
        "target.namespace",
        "tcp.address",
        "timeout",
        'labels["check"]',
        "flapping.low_percent",
    ]
    assert all("hunter2" not in one.description for one in violations(spec, judge))
