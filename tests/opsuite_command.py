"""The `opsuite` command as people run it, against a deployer of the tests."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from deployer import DeployerProcess
from typer.testing import CliRunner

from opsuite_cli.main import app

COMMAND = [sys.executable, "-m", "opsuite_cli"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def opsuite(deployer: DeployerProcess, *arguments: str) -> Ended:
    """Run a command to its end inside this process, which spares the start of Python; `started` is the real thing."""
    done = CliRunner().invoke(app, list(arguments), env=deployer.environment, catch_exceptions=False)
    return Ended(done.exit_code, done.stdout, done.stderr)


def started(deployer: DeployerProcess, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command; its output is one pipe. Use it as a context manager."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        env=deployer.environment | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def write_pipeline(directory: Path, name: str, *stages: dict[str, Any], **spec: Any) -> Path:
    """A document with a pipeline for the environment staging."""
    document = {
        "apiVersion": "opsuite.dev/v1",
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {"environments": ["staging"], "stages": list(stages)} | spec,
    }
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def a_script(deployer: DeployerProcess, name: str, text: str) -> dict[str, Any]:
    """A step that runs a Python program; the version is its first argument."""
    (deployer.work / f"{name}.py").write_text(text)
    return {
        "name": name,
        "command": {"command": "python3", "args": [f"{name}.py", "${version}"]},
        "idempotent": True,
    }
