"""Programs and paths as they are on a real disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_validation.commands import DEFAULT, CommandPolicy, judge_links, resolve_program
from opsuite_validation.paths import lexically_below, resolve_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "root" / "escape").symlink_to(tmp_path / "outside")
    (tmp_path / "root" / "stay").symlink_to("sub")
    return tmp_path / "root"


def a_program(directory: Path, name: str = "make") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / name
    program.write_text("")
    program.chmod(0o755)
    return program


def policy(root: Path, *trusted: Path) -> CommandPolicy:
    return replace(DEFAULT, roots=(root,), trusted_directories=trusted)


@pytest.mark.parametrize(
    ("path", "found"), [("", ""), (".", ""), ("sub", "sub"), ("stay", "sub"), ("stay/new", "sub/new")]
)
def test_a_path_below_the_root_is_resolved(root: Path, path: str, found: str) -> None:
    assert resolve_below([root], path) == str(root / found)


@pytest.mark.parametrize(
    "path", ["..", "../outside", "escape", "escape/../root2", "escape/x", "/etc/shadow", "../../../etc/passwd", "a\0b"]
)
def test_a_path_that_leads_out_of_the_roots_is_refused(root: Path, path: str) -> None:
    with pytest.raises(InvalidInput):
        resolve_below([root], path)


def test_as_it_is_written_a_link_is_not_seen(root: Path) -> None:
    assert lexically_below([root], "escape/x") == root / "escape/x"
    assert lexically_below([root], "./target/release") == root / "target/release"
    assert lexically_below([root], "../x", relative_to=root / "sub") == root / "x"
    for path in ("../x", "/etc/shadow", "../../../etc/passwd", f"{root}-other"):
        with pytest.raises(InvalidInput):
            lexically_below([root], path)


def test_a_root_may_itself_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert resolve_below([tmp_path / "link"], "sub") == str(root / "sub")


def test_without_roots_every_path_is_refused() -> None:
    with pytest.raises(InvalidInput):
        resolve_below([], "x")


def test_a_bare_name_is_looked_up_only_in_the_trusted_directories(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path / "on-path")
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))
    with pytest.raises(InvalidInput) as caught:
        resolve_program(policy(root, root / "bin"), "make")
    assert caught.value.violations[0].reason == "COMMAND_NOT_FOUND"
    program = a_program(root / "bin")
    assert resolve_program(policy(root, root / "empty", root / "bin"), "make") == str(program)


def test_a_program_that_others_can_change_is_refused(root: Path, tmp_path: Path) -> None:
    program = a_program(tmp_path / "trusted")
    program.chmod(0o777)
    with pytest.raises(InvalidInput) as caught:
        resolve_program(policy(root, tmp_path / "trusted"), "make")
    assert caught.value.violations[0].reason == "COMMAND_NOT_ALLOWED"


def test_a_link_in_a_trusted_directory_is_judged_by_what_it_leads_to(root: Path, tmp_path: Path) -> None:
    a_program(tmp_path / "outside", "evil").chmod(0o777)
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "make").symlink_to(tmp_path / "outside" / "evil")
    with pytest.raises(InvalidInput):
        resolve_program(policy(root, tmp_path / "trusted"), "make")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of root")
def test_a_program_that_only_root_can_change_is_fine(root: Path, tmp_path: Path) -> None:
    program = a_program(tmp_path / "trusted")
    assert resolve_program(policy(root, tmp_path / "trusted"), "make") == str(program)
    assert resolve_program(policy(root, tmp_path / "trusted"), str(program)) == str(program)
    os.chown(program, 1000, 0)
    with pytest.raises(InvalidInput):
        resolve_program(policy(root, tmp_path / "trusted"), "make")


def test_what_cannot_be_executed_is_not_found(root: Path) -> None:
    a_program(root / "bin").chmod(0o644)
    (root / "bin" / "git").mkdir()
    for name in ("make", "git"):
        with pytest.raises(InvalidInput):
            resolve_program(policy(root, root / "bin"), name)


def test_the_name_is_judged_before_the_disk_is_asked(root: Path) -> None:
    a_program(root / "bin", "bash")
    with pytest.raises(InvalidInput) as caught:
        resolve_program(policy(root, root / "bin"), "bash")
    assert caught.value.violations[0].reason == "COMMAND_NOT_ALLOWED"


@pytest.mark.parametrize("arg", ["escape/x", "-fescape/x", "--file=escape/x", "A=b,escape", "escape"])
def test_an_argument_that_leads_out_through_a_link_is_refused(root: Path, arg: str) -> None:
    found = judge_links(policy(root), ["fine", arg], root)
    assert [(v.field, v.reason) for v in found] == [("args[1]", "OUTSIDE_ROOTS")]


def test_an_argument_that_stays_inside_is_fine(root: Path) -> None:
    args = ["-j4", "all", "stay/x", "--file=sub/x", "https://host.example/a", "/dev/null", "A=b"]
    assert judge_links(policy(root), args, root / "sub") == []
