"""The wheel, installed plainly into an empty environment: the client and the command line, without any server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from components import missing
from deployer import DeployerProcess, a_deployer
from opsuite_command import opsuite, write_pipeline
from readme import ROOT, examples

LONGEST_SECONDS = 240


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False
    )


def assert_done(ended: subprocess.CompletedProcess[str]) -> None:
    """Skip where no package index can be reached; other faults are faults."""
    if any(words in ended.stderr for words in ("dns error", "error sending request", "Connection refused")):
        missing("a package index", "connect to the network")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel and what it needs."""
    own = ROOT / ".venv-uv" / "bin" / "uv"
    uv = shutil.which("uv") or (own if own.exists() else missing("uv", "make setup fetches it"))
    place = tmp_path_factory.mktemp("light")
    built = run(uv, "build", "--quiet", "--wheel", "--out-dir", place, "--python", sys.executable, ROOT, cwd=place)
    assert_done(built)
    (wheel,) = place.glob("*.whl")
    environment = place / "environment"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, environment],
        [uv, "pip", "install", "--quiet", "--python", environment / "bin" / "python", wheel],
    ):
        done = run(*command, cwd=place)
        assert_done(done)
    return environment / "bin" / "python"


@pytest.fixture
def deployer() -> Iterator[DeployerProcess]:
    """A deployer of the test's own, since it is killed."""
    with a_deployer() as running:
        yield running


def test_it_holds_no_server(python: Path, tmp_path: Path) -> None:
    program = (
        "import importlib.util\n"
        "names = ('sqlalchemy', 'alembic', 'aiohttp', 'pydantic_settings', 'opentelemetry', 'supervisor')\n"
        "print([name for name in names if importlib.util.find_spec(name)])\n"
    )

    assert run(python, "-c", program, cwd=tmp_path).stdout == "[]\n"

    up = run(python.with_name("opsuite"), "up", "--data-dir", tmp_path, cwd=tmp_path)
    assert (up.returncode, up.stderr.splitlines()[0]) == (1, "error: the server is not installed")


def test_fifteen_lines_deploy_and_watch_through_a_restart(
    python: Path, deployer: DeployerProcess, tmp_path: Path
) -> None:
    waits = [{"name": f"wait-{number}", "wait": {"duration": "1.5s"}} for number in range(3)]
    applied = opsuite(
        deployer, "apply", "-f", str(write_pipeline(tmp_path, "hello-web", {"name": "work", "steps": waits}))
    )
    assert applied.status == 0, applied
    (text,) = examples("python", "From Python")
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    (tmp_path / "example.py").write_text(text)

    with subprocess.Popen(
        [python, "example.py"], cwd=tmp_path, env=deployer.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        lines = [client.stdout.readline()]
        deployer.restart()
        lines.append(client.stdout.readline())
        deployer.kill()
        deployer.start()
        lines += client.stdout.readlines()

    revisions = [int(line.split()[0]) for line in lines]
    assert client.returncode == 0
    assert revisions == list(range(revisions[0], revisions[0] + len(revisions)))
    assert [sum(f"wait-{number} SUCCEEDED" in line for line in lines) for number in range(3)] == [1, 1, 1]


def test_the_command_line_works_from_it(python: Path, deployer: DeployerProcess, tmp_path: Path) -> None:
    environment = deployer.environment | {"PATH": os.environ["PATH"]}

    health = run(python.with_name("opsuite"), "health", cwd=tmp_path, env=environment)
    doctor = run(python.with_name("opsuite"), "doctor", cwd=tmp_path, env=environment)

    assert health.stdout == "SERVING\n", health.stderr
    assert doctor.returncode == 0, doctor.stdout
