"""The command line in a terminal: the picture that is redrawn, colours, and their absence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deployer import DeployerProcess
from opsuite_command import opsuite, write_pipeline
from terminal import ESCAPE, in_terminal


@pytest.fixture(scope="module")
def pipeline(deployer: DeployerProcess, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A pipeline whose gate asks the port that the version names."""
    steps = [
        {"name": "breathe", "wait": {"duration": "0.3s"}},
        {"name": "tell", "command": {"command": "git", "args": ["--version"]}},
    ]
    check = {"name": "port", "tcp": {"address": "127.0.0.1:${version}"}, "failure_threshold": 1}
    stage = {"name": "work", "steps": steps, "gates": [{"name": "open", "checks": [check]}]}
    document = write_pipeline(tmp_path_factory.mktemp("pipelines"), "ports", stage)
    assert opsuite(deployer, "apply", "-f", str(document)).status == 0
    return "ports"


def deploy(deployer: DeployerProcess, pipeline: str, version: int, **environment: str) -> tuple[int, str]:
    return in_terminal(deployer, "deploy", pipeline, str(version), "--env", "staging", "--follow", **environment)


def test_a_deployment_is_shown_as_a_picture_that_is_redrawn(deployer: DeployerProcess, pipeline: str) -> None:
    status, seen = deploy(deployer, pipeline, deployer.port)

    plain = ESCAPE.sub("", seen)
    last = plain[plain.rindex(f"ports {deployer.port} → staging  SUCCEEDED") :]
    assert status == 0, plain
    assert "\x1b[1A" in seen  # the cursor goes up to draw again
    assert plain.count("breathe") > 1
    for line in (r"✓ work", r"✓ +breathe +0\.\d\d s", r"✓ +tell +\d\.\d\d s", r"✓ +open +\d\.\d\d s"):
        assert re.search(line, last), last


def test_what_the_steps_write_stands_above_the_picture(deployer: DeployerProcess, pipeline: str) -> None:
    _, seen = deploy(deployer, pipeline, deployer.port)

    plain = ESCAPE.sub("", seen)
    assert plain.count("work/tell | git version") == 1
    assert plain.index("work/tell | git version") < plain.rindex("✓ work")


def test_a_rollback_is_shown_below_the_deployment_that_it_takes_back(deployer: DeployerProcess, pipeline: str) -> None:
    deploy(deployer, pipeline, deployer.port)

    status, seen = deploy(deployer, pipeline, 1)

    plain = ESCAPE.sub("", seen)
    assert status == 3, plain
    assert plain.rindex(f"rollback ports {deployer.port} → staging  SUCCEEDED") > plain.rindex("✗   open")
    lines = [line.strip() for line in plain.strip().splitlines()[-3:]]
    assert [line.split(":")[0] for line in lines] == ["failed", "done", "next"]


def test_statuses_have_colours_in_a_terminal_unless_nobody_wants_them(deployer: DeployerProcess, pipeline: str) -> None:
    deploy(deployer, pipeline, deployer.port)

    _, coloured = in_terminal(deployer, "history")
    _, plain = in_terminal(deployer, "history", NO_COLOR="1")

    assert "\x1b[32mSUCCEEDED" in coloured
    assert "\x1b[32m" not in plain
    assert "SUCCEEDED" in plain


def test_a_terminal_that_cannot_redraw_gets_lines(deployer: DeployerProcess, pipeline: str) -> None:
    status, seen = deploy(deployer, pipeline, deployer.port, TERM="dumb")

    assert status == 0
    assert "\x1b" not in seen
    assert re.search(r"step +work/tell SUCCEEDED", seen)


def test_completion_knows_the_commands(deployer: DeployerProcess, tmp_path: Path) -> None:
    status, seen = in_terminal(
        deployer, COMP_WORDS="opsuite dep", COMP_CWORD="1", _OPSUITE_COMPLETE="complete_bash", HOME=str(tmp_path)
    )

    assert status == 0, seen
    assert seen.split() == ["deploy"]
