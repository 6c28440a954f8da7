"""docs/repository.md keeps its word: its commands and its Python run as they stand there, elsewhere on the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from readme import ROOT
from repo_command import a_repository
from restic import PASSWORD

from opsuite_cli import repo

PAGE = (ROOT / "docs" / "repository.md").read_text()
SECONDS = 300


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What stands for /etc and /home."""
    for name in ("etc", "home"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "home" / "left-out.tmp").touch()
    return tmp_path


def run(command: list[str], place: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("RESTIC_", "OPSUITE_"))}
    ended = subprocess.run(
        command, cwd=place, env=environment | {"HOME": str(place), "PATH": path}, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_commands_that_begin_work_in_this_order(tree: Path) -> None:
    (tree / ".backup-password").write_text("a password\n")
    install, *commands = blocks("bash")[0].splitlines(keepends=True)
    text = "".join(commands).replace("/tmp/etc", f"{tree}/out").replace("/srv", str(tree))
    text = re.sub(r"(?<=[ :])/(etc|home)", rf"{tree}/\1", text)

    said = run(["bash", "-euo", "pipefail", "-c", text], tree)

    assert install == "pip install 'opsuite[repository]'\n"
    assert (tree / "out" / "file").read_text() == "etc"
    assert re.search(r"files +2 new", said)
    assert "nothing is wrong" in said


def test_the_library_works_as_written(tree: Path) -> None:
    a_repository(tree / "backups")
    (text,) = blocks("python")
    text = text.replace('"/srv', f'"{tree}').replace('"/etc"', f'"{tree}/etc"')

    said = run([sys.executable, "-c", f"password = {PASSWORD!r}\n{text}"], tree)

    assert re.fullmatch(r"[0-9a-f]{64} False\n", said)


def test_every_command_and_status_is_on_the_page() -> None:
    groups = {"": repo.app, **{f"{group.name} ": group.typer_instance for group in repo.app.registered_groups}}
    names = [
        prefix + (command.name or command.callback.__name__)
        for prefix, owner in groups.items()
        if owner is not None and prefix != "key "  # restic's name of `keys`
        for command in owner.registered_commands
        if command.callback is not None and not command.hidden
    ]

    assert len(names) > 20
    assert [name for name in names if not re.search(rf"`(opsuite repo )?{name}\b", PAGE)] == []
