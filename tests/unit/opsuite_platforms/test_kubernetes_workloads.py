"""What a workload becomes on Kubernetes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from opsuite_kernel.errors import Conflict
from opsuite_platforms.kubernetes_workloads import (
    SPEC,
    VERSION,
    beginning_of,
    deployment_of,
    label_value,
    port_numbers,
    service_of,
)
from opsuite_platforms.port import PortSpec, Readiness, WorkloadSpec

DEADLINE = timedelta(minutes=10)
WEB = WorkloadSpec("web", "1.0.0", ("serve", "--port", "${port}"), "/", ports=(PortSpec("http"),), image="web:1")


def pod_of(spec: WorkloadSpec) -> dict[str, Any]:
    pod: dict[str, Any] = deployment_of(spec, 1, DEADLINE)["spec"]["template"]["spec"]
    return pod


def container_of(spec: WorkloadSpec) -> dict[str, Any]:
    container: dict[str, Any] = pod_of(spec)["containers"][0]
    return container


def test_a_port_left_to_the_platform_keeps_out_of_the_way_of_fixed_ones() -> None:
    ports = (PortSpec("http"), PortSpec("admin", 8080), PortSpec("metrics"))

    assert port_numbers(ports) == {"http": 8081, "admin": 8080, "metrics": 8082}


def test_ports_are_told_to_command_and_environment() -> None:
    spec = replace(WEB, env={"LISTEN": "0.0.0.0:${port_http}"})

    container = container_of(spec)

    assert container["args"] == ["serve", "--port", "8080"]
    assert container["env"] == [{"name": "LISTEN", "value": "0.0.0.0:8080"}]


def test_the_service_has_the_same_ports() -> None:
    (port,) = service_of(WEB)["spec"]["ports"]

    assert (port["name"], port["port"], port["targetPort"]) == ("http", 8080, 8080)


def test_what_looks_like_a_variable_of_kubernetes_stays_as_it_is() -> None:
    assert container_of(replace(WEB, command=("echo", "$(HOME)")))["args"] == ["echo", "$$(HOME)"]


@pytest.mark.parametrize(
    ("path", "question"),
    [("/ready", {"httpGet": {"path": "/ready", "port": 8080}}), ("", {"tcpSocket": {"port": 8080}})],
)
def test_readiness_is_asked_by_http_or_by_a_connection(path: str, question: dict[str, Any]) -> None:
    readiness = Readiness("http", path, interval=timedelta(milliseconds=200), timeout=timedelta(seconds=3))

    probe = container_of(replace(WEB, readiness=readiness))["readinessProbe"]

    assert probe == question | {"periodSeconds": 1, "timeoutSeconds": 3}


def test_a_readiness_of_a_port_that_it_has_not_is_impossible() -> None:
    with pytest.raises(Conflict, match="admin"):
        deployment_of(replace(WEB, readiness=Readiness("admin")), 1, DEADLINE)


def test_a_workload_without_image_is_impossible() -> None:
    with pytest.raises(Conflict, match="image"):
        deployment_of(replace(WEB, image=""), 1, DEADLINE)


def test_limits_are_asked_for_and_kept_to() -> None:
    resources = container_of(replace(WEB, cpus=0.0015, memory_bytes=1000))["resources"]

    assert resources["limits"] == resources["requests"] == {"cpu": "2m", "memory": "1000"}


def test_a_version_that_no_label_can_say_is_told_word_for_word_in_an_annotation() -> None:
    metadata = deployment_of(replace(WEB, version="1.0.0+build/7"), 1, DEADLINE)["metadata"]

    assert metadata["annotations"][VERSION] == "1.0.0+build/7"
    assert metadata["labels"][VERSION] == "1.0.0-build-7"


@pytest.mark.parametrize(("text", "label"), [("a b", "a-b"), ("-x-", "x"), ("x" * 70, "x" * 63), ("", "")])
def test_a_label_is_as_much_of_a_text_as_it_can_hold(text: str, label: str) -> None:
    assert label_value(text) == label


def test_a_change_of_size_or_owner_makes_no_new_pods() -> None:
    small, large = deployment_of(WEB, 1, DEADLINE), deployment_of(replace(WEB, replicas=5), 2, DEADLINE)

    assert small["spec"]["template"] == large["spec"]["template"]


def test_a_change_of_anything_else_is_another_spec() -> None:
    changed = [
        replace(WEB, version="2.0.0"),
        replace(WEB, command=("other",)),
        replace(WEB, image="web:2"),
        replace(WEB, env={"A": "1"}),
    ]

    marks = {pod["metadata"]["annotations"][SPEC] for pod in (template(spec) for spec in [WEB, *changed])}

    assert len(marks) == 5


def test_the_beginning_of_a_workload_holds_nothing_that_the_whole_does_not() -> None:
    def fields(value: Any, path: str = "") -> set[str]:
        if isinstance(value, dict):
            return {each for name, below in value.items() for each in fields(below, f"{path}/{name}")}
        if isinstance(value, list):
            return {each for below in value for each in fields(below, path)}
        return {path}

    assert fields(beginning_of(WEB, 1)) <= fields(deployment_of(WEB, 1, DEADLINE))
    assert beginning_of(WEB, 1)["spec"]["replicas"] == 0


def template(spec: WorkloadSpec) -> dict[str, Any]:
    found: dict[str, Any] = deployment_of(spec, 1, DEADLINE)["spec"]["template"]
    return found
