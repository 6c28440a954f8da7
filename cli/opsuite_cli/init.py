"""Writes a pipeline for a repository, by what is found in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED


@dataclass(frozen=True, slots=True)
class Toolchain:
    """How projects of one kind are tested and run."""

    name: str
    marks: tuple[str, ...]
    """Files that tell that a repository is of this kind."""
    test: tuple[str, ...]
    run: tuple[str, ...]
    """Argument vector of the workload; to be looked at by whoever uses it."""


TOOLCHAINS = (
    Toolchain(
        "Python",
        ("pyproject.toml", "setup.py", "requirements.txt", "setup.cfg"),
        ("python3", "-m", "unittest"),
        ("python3", "app.py", "--port", "${port}"),
    ),
    Toolchain("Node", ("package.json",), ("npm", "test"), ("node", "server.js")),
    Toolchain("Go", ("go.mod",), ("go", "test", "./..."), ("./app",)),
    Toolchain("Make", ("Makefile", "makefile", "GNUmakefile"), ("make", "test"), ("./app",)),
)
UNKNOWN = Toolchain("no known tools", (), ("make", "test"), ("./app",))


def init(
    directory: Annotated[Path, typer.Argument(help="The repository.")] = Path(),
    file: Annotated[Path, typer.Option("--file", "-f", help="Where to write; below the repository.")] = Path(
        "pipeline.yaml"
    ),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a commented pipeline for a repository: check out a version, test it, run it, see that it answers."""
    target = directory / file
    if not directory.is_dir():
        _refuse(f"{directory} is no directory")
    if target.exists() and not force:
        _refuse(f"{target} exists; replace it with --force")
    found = toolchain_of([path.name for path in directory.iterdir()])
    name = label(directory.resolve().name)
    target.write_text(document(name, found, repository_of(directory), _test(found, directory)))
    screen.say(f"{target}: written for {found.name}; read it, then:")
    screen.say(f"  opsuite pipeline validate {target}")
    screen.say(f"  opsuite apply -f {target}")
    screen.say(f"  opsuite deploy {name} VERSION --env staging --wait")


def toolchain_of(names: Sequence[str]) -> Toolchain:
    """The kind of a repository with these files; the first that fits."""
    return next((one for one in TOOLCHAINS if set(one.marks) & set(names)), UNKNOWN)


def label(text: str) -> str:
    """A DNS label as near to a text as possible: `My App` is `my-app`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].rstrip("-") or "app"


def repository_of(directory: Path) -> str:
    """Where the repository is fetched from: its remote `origin`, else the directory itself."""
    git = shutil.which("git")
    if git:
        asked = subprocess.run(
            [git, "-C", str(directory), "remote", "get-url", "origin"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0 and asked.stdout.strip():
            return asked.stdout.strip()
    return str(directory.resolve())


def _test(toolchain: Toolchain, directory: Path) -> Sequence[str]:
    """How it is tested: with pytest where the project asks for it."""
    settings = directory / "pyproject.toml"
    if toolchain.name == "Python" and settings.exists() and "pytest" in settings.read_text(errors="replace"):
        return ("python3", "-m", "pytest")
    return toolchain.test


def document(name: str, toolchain: Toolchain, repository: str, test: Sequence[str]) -> str:
    """The text of the pipeline."""
    return TEMPLATE.format(
        name=name,
        kind=toolchain.name,
        repository=json.dumps(repository),
        test_command=test[0],
        test_args=json.dumps(list(test[1:])),
        run=json.dumps(list(toolchain.run)),
    )


def _refuse(why: str) -> None:
    screen.complain([f"error: {why}"])
    raise typer.Exit(REFUSED)


TEMPLATE = """\
# How a version of {name} gets into an environment; written by `opsuite init`, which found {kind}.
# Every field is described in protos/opsuite/deployer/v1/pipeline.proto; this file is checked with
#   opsuite pipeline validate pipeline.yaml
apiVersion: opsuite.dev/v1
kind: Pipeline
metadata:
  name: {name}
spec:
  environments: [staging, production]
  # ${{name}} in the texts below stands for these, and for version, environment and deployment_id.
  # `opsuite deploy --var name=value` gives other values. A path on this machine has to be below a directory that the
  # deployer may use: opsuite up --root DIRECTORY
  variables:
    repository: {repository}
  # A failed step or gate puts the last version back that was stable.
  rollback_enabled: true
  # One deployment for each environment; others wait.
  concurrency: queue
  stages:
    - name: checkout
      # Every version in a directory of its own, below the directory `work` of the deployer. The three steps may be
      # repeated, so that a deployment that was interrupted goes on by itself (`idempotent`); a rollback finds the
      # directory of the old version as it was left (`on_rollback: skip`).
      steps:
        - name: prepare
          idempotent: true
          on_rollback: skip
          command: {{command: git, args: [init, --quiet, "{name}/${{version}}"]}}
        - name: fetch
          idempotent: true
          on_rollback: skip
          retry: {{attempts: 3, backoff: "1s"}}
          timeout: "300s"
          command:
            command: git
            args: [fetch, --quiet, --depth, "1", "${{repository}}", "refs/tags/${{version}}"]
            working_dir: "{name}/${{version}}"
        - name: checkout
          idempotent: true
          on_rollback: skip
          command:
            command: git
            args: [checkout, --quiet, --force, --detach, FETCH_HEAD]
            working_dir: "{name}/${{version}}"
    - name: test
      steps:
        - name: unit-tests
          idempotent: true
          on_rollback: skip
          timeout: "600s"
          # A program of the deployer's allow-list, started without a shell.
          command:
            command: {test_command}
            args: {test_args}
            working_dir: "{name}/${{version}}"
    - name: run
      steps:
        - name: start
          idempotent: true
          # Kept running by supervisord; ${{port}} is a free port. Put the command that starts your program here.
          workload:
            workload: {name}
            directory: "{name}/${{version}}"
            command: {run}
            ports: [{{name: http}}]
      gates:
        - name: answers
          # Twice in a row within 30 seconds, or the old version comes back.
          checks:
            - name: health
              workload: {{workload: {name}, path: /health}}
              interval: "1s"
              timeout: "2s"
              success_threshold: 2
              failure_threshold: 10
              deadline: "30s"
"""
