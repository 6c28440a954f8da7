"""What validation costs per request and per step, beside reading the same request off the wire.

    python -m bench.validation [--rounds N]

One request of about 1 KB with eight sub-messages, and three steps. Rounds rotate over the variants; the fastest of each
is shown, since whatever else the machine does can only add. Ratios hold on any machine, times on this one.
"""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from opsuite.deployer.v1.pipeline_service_pb2 import RegisterPipelineRequest
from opsuite_rpc.shapes import check_for
from opsuite_validation.commands import DEFAULT, judge

CALLS = 300
SHAPE_GOAL_US, STEP_GOAL_US = 20.0, 10.0
POLICY = replace(DEFAULT, roots=(Path("/srv/app"),))
STEPS = {
    "make": ["-j4", "all"],
    "python": ["-m", "pytest", "tests", "-q"],
    "git": ["clone", "--depth", "1", "https://host.example/team/app.git", "src/v${version}"],
    "docker": ["run", "--rm", "-e", "MODE=test", "-p", "8080:80", "registry.example:5000/app:1.0", "serve"],
}


def a_request() -> RegisterPipelineRequest:
    """About 1 KB: a pipeline (1), a stage (2), two steps (4), their timeouts (6) and commands (8)."""
    request = RegisterPipelineRequest(request_id="2f0c1a52-6c1e-4f0e-9d0b-0a1f6a5a7b11")
    pipeline = request.pipeline
    pipeline.name, pipeline.display_name, pipeline.description = "pipelines/shop", "The shop", "d" * 560
    pipeline.environments.append("staging")
    stage = pipeline.stages.add(name="build", description="x" * 100)
    for name in ("compile", "test"):
        step = stage.steps.add(name=name)
        step.timeout.seconds = 600
        step.command.command, step.command.working_dir = "make", "src/${version}"
        step.command.args.extend(["-j4", name])
        step.command.env["MODE"] = "release"
    return request


def variants() -> Mapping[str, Callable[[], object]]:
    """What is measured, by name; the first is the floor."""
    request = a_request()
    wire, check = request.SerializeToString(), check_for(RegisterPipelineRequest)
    assert check(request) == []
    steps = {f"step: {name}": _judging(name, args) for name, args in STEPS.items()}
    return {
        "parse the request": lambda: RegisterPipelineRequest.FromString(wire),
        "shape": lambda: check(request),
        **steps,
    }


def _judging(command: str, args: list[str]) -> Callable[[], object]:
    assert judge(POLICY, command, args, declared={"version"}) == []
    return lambda: judge(POLICY, command, args, declared={"version"})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    measured = variants()
    best = dict.fromkeys(measured, float("inf"))
    for _ in range(rounds):
        for name, run in measured.items():
            best[name] = min(best[name], timeit.timeit(run, number=CALLS) / CALLS * 1e6)
    floor = best["parse the request"]
    print(f"request of {a_request().ByteSize()} bytes with eight sub-messages, {rounds} rounds\n")
    for name, microseconds in best.items():
        goal = SHAPE_GOAL_US if name == "shape" else STEP_GOAL_US if name.startswith("step") else None
        told = "" if goal is None else f"  goal < {goal:g} us: {'reached' if microseconds < goal else 'MISSED'}"
        print(f"{name:20} {microseconds:8.2f} us  x{microseconds / floor:5.2f} of parsing{told}")


if __name__ == "__main__":
    main()
