"""Pipelines that are wrong, one way each, with the paths of what is wrong."""

from __future__ import annotations

from typing import Any, Final

from fakes.pipelines import (
    a_command,
    a_docker,
    a_gate,
    a_pipeline,
    a_stage,
    a_wait,
    an_http_check,
    true,
)

from opsuite.deployer.v1 import (
    pipeline_pb2,
)

LONG: Final = "x" * 5000


def a_pipeline_with(**fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline that is fine but for these fields."""
    return a_pipeline("bad", **fields)


def with_step(step: dict[str, Any], **fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline with this one step."""
    return a_pipeline("bad", a_stage("work", step), **fields)


def _broken(pipeline: pipeline_pb2.Pipeline) -> pipeline_pb2.Pipeline:
    """With numbers that no enum of the contract has, and a duration that is none."""
    pipeline.concurrency = pipeline.stages[0].on_sibling_failure = 99  # type: ignore[assignment]  # that is the point
    pipeline.environment_concurrency["staging"] = 99  # type: ignore[assignment]  # here as well
    pipeline.stages[0].steps[0].timeout.nanos = -1
    return pipeline


def with_hook(*hooks: dict[str, Any], **fields: Any) -> pipeline_pb2.Pipeline:
    """A pipeline with these hooks, by default of a moment and a kind that are fine, around one stage `work`."""
    usual = {"name": "hook"}
    moment, kinds = {"before": "HOOK_PHASE_STAGE"}, {"command", "docker", "healthCheck", "webhook"}
    return a_pipeline(
        "bad",
        a_stage("work"),
        hooks=[
            usual
            | ({} if {"before", "after"} & hook.keys() else moment)
            | ({} if kinds & hook.keys() else {"webhook": {"url": "http://127.0.0.1/"}})
            | hook
            for hook in hooks
        ],
        **fields,
    )


STEP: Final = "pipeline.stages[0].steps[0]"
CHECK: Final = an_http_check("home", "http://127.0.0.1/")
HOOK: Final = {"name": "hook", "webhook": {"url": "http://127.0.0.1/"}}
SHAPES: Final[list[tuple[str, pipeline_pb2.Pipeline, tuple[str, ...]]]] = [
    ("empty", pipeline_pb2.Pipeline(), ("pipeline.name", "pipeline.environments", "pipeline.stages")),
    ("no label", a_pipeline_with(name="pipelines/A"), ("pipeline.name",)),
    (
        "long texts",
        a_pipeline_with(displayName="x" * 129, description=LONG),
        ("pipeline.display_name", "pipeline.description"),
    ),
    ("twice the same", a_pipeline_with(environments=["a", "a"]), ("pipeline.environments[1]",)),
    ("no label", a_pipeline_with(environments=["a", "B"]), ("pipeline.environments[1]",)),
    ("same stages", a_pipeline("bad", a_stage("a"), a_stage("a")), ("pipeline.stages[1].name",)),
    ("same steps", a_pipeline("bad", a_stage("a", true("x"), true("x"))), ("pipeline.stages[0].steps[1].name",)),
    ("no steps", a_pipeline("bad", {"name": "a"}), ("pipeline.stages[0].steps",)),
    ("no kind", with_step({"name": "a"}), (f"{STEP}.kind",)),
    ("no time", a_pipeline_with(timeout="0s", maxDuration="3000000s"), ("pipeline.timeout", "pipeline.max_duration")),
    ("never", with_step(true(timeout="0s", retry={"attempts": 0})), (f"{STEP}.timeout", f"{STEP}.retry.attempts")),
    (
        "too often",
        with_step(true(retry={"attempts": 21, "backoff": "3601s"})),
        (f"{STEP}.retry.attempts", f"{STEP}.retry.backoff"),
    ),
    (
        "no policy",
        a_pipeline_with(environmentConcurrency={"staging": 0}),
        ('pipeline.environment_concurrency["staging"]',),
    ),
    ("a bad variable", a_pipeline_with(variables={"A": "1"}), ('pipeline.variables["A"]',)),
    ("no command", with_step({"name": "a", "command": {}}), (f"{STEP}.command.command",)),
    (
        "a bad name",
        with_step({"name": "a", "command": {"command": "git", "env": {"1A": ""}}}),
        (f'{STEP}.command.env["1A"]',),
    ),
    (
        "a small limit",
        with_step({"name": "a", "command": {"command": "git", "limits": {"memoryBytes": 1, "cpuSeconds": 0}}}),
        (f"{STEP}.command.limits.memory_bytes", f"{STEP}.command.limits.cpu_seconds"),
    ),
    (
        "no secret",
        with_step({"name": "a", "command": {"command": "git", "secretEnv": {"A": {}}}}),
        (f'{STEP}.command.secret_env["A"].source',),
    ),
    ("no image", with_step(a_docker("a", "")), (f"{STEP}.docker.image",)),
    (
        "a bad mount",
        with_step(a_docker("a", "b", docker={"mounts": [{"target": "x"}]})),
        (f"{STEP}.docker.mounts[0].source", f"{STEP}.docker.mounts[0].target"),
    ),
    (
        "small limits",
        with_step(a_docker("a", "b", docker={"limits": {"cpus": 0, "memoryBytes": 1, "pids": 0}})),
        (f"{STEP}.docker.limits.cpus", f"{STEP}.docker.limits.memory_bytes", f"{STEP}.docker.limits.pids"),
    ),
    ("no duration", with_step({"name": "a", "wait": {}}), (f"{STEP}.wait.duration",)),
    ("too long", with_step(a_wait(seconds=604801)), (f"{STEP}.wait.duration",)),
    ("no probe", with_step({"name": "a", "healthCheck": {"name": "a"}}), (f"{STEP}.health_check.probe",)),
    (
        "a bad status",
        with_step({"name": "a", "healthCheck": {"name": "a", "http": {"url": "http://a", "expectedStatus": 99}}}),
        (f"{STEP}.health_check.http.expected_status",),
    ),
    (
        "no workload",
        with_step({"name": "a", "workload": {}}),
        (f"{STEP}.workload.workload", f"{STEP}.workload.command"),
    ),
    (
        "a bad port",
        with_step(
            {
                "name": "a",
                "workload": {"workload": "a", "command": ["make"], "replicas": 1001, "ports": [{"number": 0}]},
            }
        ),
        (f"{STEP}.workload.ports[0].name", f"{STEP}.workload.ports[0].number", f"{STEP}.workload.replicas"),
    ),
    ("no checks", a_pipeline("bad", a_stage(gates=[a_gate("g")])), ("pipeline.stages[0].gates[0].checks",)),
    (
        "same gates",
        a_pipeline("bad", a_stage(gates=[a_gate("g", CHECK), a_gate("g", CHECK)])),
        ("pipeline.stages[0].gates[1].name",),
    ),
    (
        "no threshold",
        a_pipeline("bad", a_stage(gates=[a_gate("g", CHECK | {"successThreshold": 0, "interval": "0s"})])),
        ("pipeline.stages[0].gates[0].checks[0].success_threshold", "pipeline.stages[0].gates[0].checks[0].interval"),
    ),
    ("no channel", a_pipeline_with(notifications=[{"name": "a"}]), ("pipeline.notifications[0].channel",)),
    (
        "no URL",
        a_pipeline_with(notifications=[{"name": "a", "webhook": {"url": "ftp://a"}}]),
        ("pipeline.notifications[0].webhook.url",),
    ),
    (
        "no address",
        a_pipeline_with(notifications=[{"name": "a", "email": {"to": ["nobody"]}}]),
        ("pipeline.notifications[0].email.to[0]",),
    ),
    ("same channels", a_pipeline_with(notifications=[HOOK, HOOK]), ("pipeline.notifications[1].name",)),
    ("hooks without a name", with_hook({"name": ""}), ("pipeline.hooks[0].name",)),
    ("same hooks", with_hook({}, {}), ("pipeline.hooks[1].name",)),
    (
        "hooks without a moment",
        a_pipeline_with(hooks=[{"name": "hook", "webhook": {"url": "http://127.0.0.1/"}}]),
        ("pipeline.hooks[0].moment",),
    ),
    ("moments that are none", with_hook({"before": "HOOK_PHASE_UNSPECIFIED"}), ("pipeline.hooks[0].before",)),
    (
        "hooks without a kind",
        a_pipeline_with(hooks=[{"name": "hook", "after": "HOOK_PHASE_STAGE"}]),
        ("pipeline.hooks[0].kind",),
    ),
    (
        "hooks out of bounds",
        with_hook({"stage": "A", "timeout": "0s", "retry": {"attempts": 21}, "webhook": {"url": "ftp://a"}}),
        (
            "pipeline.hooks[0].stage",
            "pipeline.hooks[0].timeout",
            "pipeline.hooks[0].retry.attempts",
            "pipeline.hooks[0].webhook.url",
        ),
    ),
]
"""Pipelines whose fields are wrong one by one."""

RULES: Final[list[tuple[str, pipeline_pb2.Pipeline, tuple[str, ...]]]] = [
    ("a shell", with_step(a_command("a", "rm", "-rf", "/")), (f"{STEP}.command.command", f"{STEP}.command.args[1]")),
    ("a path", with_step(a_command("a", "/tmp/make")), (f"{STEP}.command.command",)),
    ("undeclared", with_step(a_command("a", "git", "${colour}")), (f"{STEP}.command.args[0]",)),
    (
        "undeclared",
        with_step({"name": "a", "command": {"command": "git", "workingDir": "${a}", "env": {"A": "${b}"}}}),
        (f"{STEP}.command.working_dir", f'{STEP}.command.env["A"]'),
    ),
    (
        "undeclared",
        with_step(
            a_docker(
                "a",
                "${a}",
                "${b}",
                docker={"environmentVars": {"A": "${c}"}, "mounts": [{"source": "${d}", "target": "/d"}]},
            )
        ),
        (
            f"{STEP}.docker.image",
            f"{STEP}.docker.command[0]",
            f'{STEP}.docker.environment_vars["A"]',
            f"{STEP}.docker.mounts[0].source",
        ),
    ),
    (
        "reserved",
        a_pipeline_with(variables={"version": "1", "port_a": "2"}),
        ('pipeline.variables["version"]', 'pipeline.variables["port_a"]'),
    ),
    (
        "no such environment",
        a_pipeline_with(environmentConcurrency={"moon": "CONCURRENCY_POLICY_REJECT"}),
        ('pipeline.environment_concurrency["moon"]',),
    ),
    ("contradictory", a_pipeline_with(timeout="10s", maxDuration="5s"), ("pipeline.timeout",)),
    ("contradictory", with_step(true(retry={"backoff": "10s", "maxBackoff": "5s"})), (f"{STEP}.retry.backoff",)),
    (
        "contradictory",
        a_pipeline("bad", a_stage(gates=[a_gate("g", CHECK | {"timeout": "10s", "deadline": "5s"})])),
        ("pipeline.stages[0].gates[0].checks[0].timeout",),
    ),
    (
        "contradictory",
        with_step({"name": "a", "command": {"command": "git", "env": {"A": "1"}, "secretEnv": {"A": {"env": "A"}}}}),
        (f'{STEP}.command.secret_env["A"]',),
    ),
    (
        "contradictory",
        with_step(
            {
                "name": "a",
                "workload": {
                    "workload": "a",
                    "command": ["python3", "a.py"],
                    "replicas": 2,
                    "ports": [{"name": "http", "number": 80}],
                },
            }
        ),
        (f"{STEP}.workload.ports[0].number",),
    ),
    (
        "no such stage",
        a_pipeline("bad", a_stage("a", needs={"stages": ["b"]})),
        ("pipeline.stages[0].needs.stages[0]",),
    ),
    (
        "a circle",
        a_pipeline("bad", a_stage("a", needs={"stages": ["b"]}), a_stage("b", needs={"stages": ["a"]})),
        ("pipeline.stages",),
    ),
    (
        "no such workload",
        a_pipeline("bad", a_stage(gates=[a_gate("g", {"name": "c", "workload": {"workload": "x"}})])),
        ("pipeline.stages[0].gates[0].checks[0].workload.workload",),
    ),
    (
        "all at once",
        a_pipeline(
            "bad",
            a_stage("a", a_command("x", "rm"), a_command("y", "git", "${no}"), needs={"stages": ["z"]}),
            variables={"port": "1"},
        ),
        (
            'pipeline.variables["port"]',
            "pipeline.stages[0].needs.stages[0]",
            f"{STEP}.command.command",
            "pipeline.stages[0].steps[1].command.args[0]",
        ),
    ),
    (
        "moments that there are not",
        with_hook(
            {"name": "a", "before": "HOOK_PHASE_FAILURE"},
            {"name": "b", "after": "HOOK_PHASE_TRAFFIC"},
            {"name": "c", "after": "HOOK_PHASE_INCREASE"},
        ),
        ("pipeline.hooks[0].before", "pipeline.hooks[1].after", "pipeline.hooks[2].after"),
    ),
    (
        "hooks of rollouts where nothing is rolled out",
        with_hook(
            {"name": "a", "before": "HOOK_PHASE_PROMOTION"},
            {"name": "b", "before": "HOOK_PHASE_TRAFFIC", "stage": "work"},
        ),
        ("pipeline.hooks[0].before", "pipeline.hooks[1].stage"),
    ),
    (
        "hooks of stages that there are not",
        with_hook({"name": "a", "stage": "moon"}, {"name": "b", "before": "HOOK_PHASE_DEPLOYMENT", "stage": "work"}),
        ("pipeline.hooks[0].stage", "pipeline.hooks[1].stage"),
    ),
    (
        "hooks in the way of a way back",
        with_hook(
            {"name": "a", "before": "HOOK_PHASE_ROLLBACK", "onFailure": "HOOK_FAILURE_FAIL"},
            {"name": "b", "after": "HOOK_PHASE_FAILURE", "onFailure": "HOOK_FAILURE_PAUSE"},
            {"name": "c", "after": "HOOK_PHASE_ROLLBACK", "onRollback": "ON_ROLLBACK_SKIP"},
        ),
        ("pipeline.hooks[0].on_failure", "pipeline.hooks[1].on_failure", "pipeline.hooks[2].on_rollback"),
    ),
    (
        "hooks that do what steps may not",
        with_hook(
            {"name": "a", "command": {"command": "rm"}},
            {"name": "b", "webhook": {"url": "http://a/", "metadata": {"x": "${no}"}}},
            {"name": "c", "retry": {"backoff": "9s", "maxBackoff": "1s"}},
        ),
        (
            "pipeline.hooks[0].command.command",
            'pipeline.hooks[1].webhook.metadata["x"]',
            "pipeline.hooks[2].retry.backoff",
        ),
    ),
]
"""Pipelines whose fields are right one by one."""

BOTH: Final[list[tuple[str, pipeline_pb2.Pipeline, tuple[str, ...]]]] = [
    (
        "shape and rules",
        a_pipeline(
            "bad",
            a_stage("a", a_command("x", "rm"), {"name": "y"}, a_command("z", "git", "${no}", timeout="0s")),
            a_stage("B", needs={"stages": ["moon"]}, gates=[a_gate("g", {"name": "c"})]),
            variables={"port": "1"},
            notifications=[{"name": "n", "email": {"to": ["nobody"]}}],
        ),
        (
            f"{STEP}.command.command",
            "pipeline.stages[0].steps[1].kind",
            "pipeline.stages[0].steps[2].timeout",
            "pipeline.stages[0].steps[2].command.args[0]",
            "pipeline.stages[1].name",
            "pipeline.stages[1].needs.stages[0]",
            "pipeline.stages[1].gates[0].checks[0].probe",
            'pipeline.variables["port"]',
            "pipeline.notifications[0].email.to[0]",
        ),
    ),
    (
        "enums and times that nobody knows",
        _broken(a_pipeline("bad", a_stage("a", a_command("x", "rm", timeout="1s")))),
        (
            "pipeline.concurrency",
            'pipeline.environment_concurrency["staging"]',
            "pipeline.stages[0].on_sibling_failure",
            f"{STEP}.timeout",
            f"{STEP}.command.command",
        ),
    ),
    (
        "too many are not looked into",
        a_pipeline("bad", a_stage("a", a_command("x", "rm")), environments=[f"e{number}" for number in range(1000)]),
        ("pipeline.environments",),
    ),
    (
        "hooks of wrong shape are understood as far as may be",
        with_hook(
            {"name": "a", "before": 99, "command": {"command": "rm"}},
            {"name": "a", "after": "HOOK_PHASE_UNSPECIFIED", "stage": "moon"},
        ),
        (
            "pipeline.hooks[0].before",
            "pipeline.hooks[1].name",
            "pipeline.hooks[1].after",
            "pipeline.hooks[0].command.command",
            "pipeline.hooks[1].stage",
        ),
    ),
]
"""Pipelines with wrong fields, of which the rest is judged all the same."""
