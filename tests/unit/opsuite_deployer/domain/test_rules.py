from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.deployments import a_gate, a_pipeline, a_stage, a_step

from opsuite_deployer.domain.pipeline import (
    Check,
    Command,
    ConcurrencyPolicy,
    Docker,
    HttpTarget,
    Pipeline,
    Port,
    Retry,
    Workload,
    WorkloadTarget,
)
from opsuite_deployer.domain.rules import violations
from opsuite_kernel.errors import Violation
from opsuite_notify.port import EnvSecret


class AllowAll:
    """A policy without objections."""

    def command(self, command: Any, args: Any, declared: Any) -> list[Violation]:
        return []

    def workload(self, command: Any, declared: Any) -> list[Violation]:
        return []

    def environment(self, names: Any) -> list[Violation]:
        return []


class RefuseRm(AllowAll):
    """A policy that knows three bad things."""

    def command(self, command: Any, args: Any, declared: Any) -> list[Violation]:
        return [Violation("command", "rm is not allowed", "COMMAND_NOT_ALLOWED")] if command == "rm" else []

    def workload(self, command: Any, declared: Any) -> list[Violation]:
        return [Violation("command[0]", "rm is not allowed", "COMMAND_NOT_ALLOWED")] if command[0] == "rm" else []

    def environment(self, names: Any) -> list[Violation]:
        return [Violation('env["LD_PRELOAD"]', "is refused", "ENV_REFUSED") for name in names if name == "LD_PRELOAD"]


def fields(pipeline: Any, policy: Any = None) -> list[tuple[str, str]]:
    return [(one.field, one.reason) for one in violations(pipeline, policy or AllowAll())]


def with_step(kind: Any, **changes: Any) -> Pipeline:
    return a_pipeline(a_stage("s", a_step(kind=kind, **changes)))


def test_a_sound_pipeline_has_no_violations() -> None:
    assert fields(a_pipeline(a_stage("s", a_step(), gates=(a_gate(),)))) == []


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        (a_pipeline(a_stage("a", needs=("ghost",))), ("stages[0].needs.stages[0]", "UNKNOWN")),
        (a_pipeline(a_stage("a", needs=("b",)), a_stage("b", needs=("a",))), ("stages", "CIRCULAR")),
        (a_pipeline(a_stage("a", needs=("a",))), ("stages", "CIRCULAR")),
        (a_pipeline(variables={"version": "1"}), ('variables["version"]', "RESERVED")),
        (a_pipeline(variables={"port_http": "1"}), ('variables["port_http"]', "RESERVED")),
        (
            a_pipeline(environment_concurrency={"moon": ConcurrencyPolicy.REJECT}),
            ('environment_concurrency["moon"]', "UNKNOWN"),
        ),
        (a_pipeline(timeout=timedelta(days=9), max_duration=timedelta(days=1)), ("timeout", "CONTRADICTORY")),
        (
            with_step(Command("make"), retry=Retry(2, timedelta(seconds=9), timedelta(seconds=1))),
            ("stages[0].steps[0].retry.backoff", "CONTRADICTORY"),
        ),
        (
            with_step(Command("make", env={"A": "1"}, secret_env={"A": EnvSecret("A")})),
            ('stages[0].steps[0].command.secret_env["A"]', "CONTRADICTORY"),
        ),
        (
            with_step(Command("make", env={"A": "${nobody}"})),
            ('stages[0].steps[0].command.env["A"]', "TEMPLATE_UNDECLARED"),
        ),
        (with_step(Docker("${nobody}")), ("stages[0].steps[0].docker.image", "TEMPLATE_UNDECLARED")),
        (
            with_step(Workload("web", ("run", "${port}"))),
            ("stages[0].steps[0].workload.command[1]", "TEMPLATE_UNDECLARED"),
        ),
        (
            with_step(Workload("web", ("run",), ports=(Port("http", 80),), replicas=2)),
            ("stages[0].steps[0].workload.ports[0].number", "CONTRADICTORY"),
        ),
        (
            with_step(Check("c", WorkloadTarget("ghost"))),
            ("stages[0].steps[0].health_check.workload.workload", "UNKNOWN"),
        ),
        (
            with_step(replace(Check("c", HttpTarget("http://x")), timeout=timedelta(minutes=9))),
            ("stages[0].steps[0].health_check.timeout", "CONTRADICTORY"),
        ),
        (
            a_pipeline(a_stage("s", gates=(a_gate(checks=(Check("c", HttpTarget("${nobody}")),)),))),
            ("stages[0].gates[0].checks[0].http.url", "TEMPLATE_UNDECLARED"),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told_by_its_path(pipeline: Any, expected: Any) -> None:
    assert fields(pipeline) == [expected]


def test_the_command_policy_is_asked_for_every_command() -> None:
    pipeline = a_pipeline(a_stage("a"), a_stage("b", a_step(), a_step("bad", kind=Command("rm"))))

    assert fields(pipeline, RefuseRm()) == [("stages[1].steps[1].command.command", "COMMAND_NOT_ALLOWED")]


def test_all_violations_are_told_at_once() -> None:
    pipeline = a_pipeline(a_stage("a", a_step(kind=Command("rm")), needs=("ghost",)), variables={"version": "1"})

    assert len(fields(pipeline, RefuseRm())) == 3


def test_a_workload_may_use_its_own_ports_and_every_declared_name() -> None:
    workload = Workload(
        "web", ("run", "${port}", "${port_admin_ui}", "${size}"), ports=(Port("http"), Port("admin-ui"))
    )

    assert fields(a_pipeline(a_stage("s", a_step(kind=workload)), variables={"size": "1"})) == []


def test_the_policy_is_asked_for_workloads_and_for_every_variable() -> None:
    step = a_step("c", kind=Command("make", env={"LD_PRELOAD": "x"}, secret_env={"LD_PRELOAD": EnvSecret("A")}))
    workload = a_step("w", kind=Workload("web", ("rm",), env={"LD_PRELOAD": "x"}))

    assert fields(a_pipeline(a_stage("s", step, workload)), RefuseRm()) == [
        ('stages[0].steps[0].command.env["LD_PRELOAD"]', "ENV_REFUSED"),
        ('stages[0].steps[0].command.secret_env["LD_PRELOAD"]', "ENV_REFUSED"),
        ('stages[0].steps[0].command.secret_env["LD_PRELOAD"]', "CONTRADICTORY"),
        ("stages[0].steps[1].workload.command[0]", "COMMAND_NOT_ALLOWED"),
        ('stages[0].steps[1].workload.env["LD_PRELOAD"]', "ENV_REFUSED"),
    ]
