"""CI fails if fewer tests of a component have run than have to: seen from a whole run of a tiny suite."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

SUITE = {
    "pytest.ini": "[pytest]\ntestpaths = tests\nmarkers =\n  needs(component)\n  long\n",
    "tests/conftest.py": """
import component_counts, pytest

def pytest_configure(config):
    component_counts.install(config, {"docker": 2, "kubernetes": 1})

@pytest.fixture
def docker_url(): return ""

@pytest.fixture
def control_plane(): return ""

@pytest.fixture
def cluster(control_plane): return control_plane
""",
    "tests/test_marked.py": """
import pytest

@pytest.mark.needs("docker")
def test_by_mark(): pass

@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.needs("kubernetes"))])
def world(request): pass

def test_by_parameter(world): pass
""",
    "tests/test_fixtures.py": "def test_by_fixture(docker_url): pass\n\ndef test_by_another(cluster): pass\n",
}
ENOUGH, TOO_FEW = 0, 1

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Write the tiny suite, some files of it otherwise, and run it."""

    def run(*options: str, ci: str = "true", **files: str) -> subprocess.CompletedProcess[str]:
        for name, text in {**SUITE, **{f"tests/{name}.py": text for name, text in files.items()}}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        environment = {**os.environ, "CI": ci, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


WORKERS = ("-p", "xdist", "-n", "2", "--dist", "loadfile")
DOCKER_SKIPPED = "import pytest\n\n@pytest.mark.skip\ndef test_by_fixture(docker_url): pass\n"


@pytest.mark.parametrize("options", [(), WORKERS], ids=" ".join)
def test_a_whole_run_in_which_enough_have_passed_is_well(run: Run, options: tuple[str, ...]) -> None:
    done = run(*options)

    assert (done.returncode, "TOO FEW" in done.stdout) == (ENOUGH, False), done.stdout


@pytest.mark.parametrize("options", [("-m", "not long"), WORKERS], ids=" ".join)
def test_a_whole_run_in_which_too_few_have_passed_fails_and_names_them(run: Run, options: tuple[str, ...]) -> None:
    done = run(*options, test_fixtures=DOCKER_SKIPPED)

    assert done.returncode == TOO_FEW, done.stdout
    assert "TOO FEW TESTS: 1 of docker have passed, 2 have to" in done.stdout
    assert "of kubernetes have passed" not in done.stdout


@pytest.mark.parametrize(
    "options", [("tests/test_fixtures.py",), ("-k", "fixture"), ("--deselect", "tests/test_marked.py")], ids=" ".join
)
def test_part_of_the_suite_may_have_as_few_as_it_likes(run: Run, options: tuple[str, ...]) -> None:
    assert run(*options, test_fixtures=DOCKER_SKIPPED + "\ndef test_fixture(): pass\n").returncode == ENOUGH


def test_whose_machine_has_no_docker_is_not_blamed(run: Run) -> None:
    assert run(ci="", test_fixtures=DOCKER_SKIPPED).returncode == ENOUGH


def test_one_that_has_failed_does_not_count(run: Run) -> None:
    done = run(test_fixtures="def test_by_fixture(docker_url): assert False\n")

    assert "TOO FEW TESTS: 1 of docker have passed, 2 have to" in done.stdout
