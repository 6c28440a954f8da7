"""No accepted argument vector starts a shell or leaves its roots: the policy against plain readings."""

from __future__ import annotations

import getopt
import importlib.util
import posixpath
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opsuite_validation.commands import DEFAULT, judge

POLICY = replace(DEFAULT, roots=(Path("/srv/app"),))

# Loaded by its path: it is a program beside the tests, not a module of them.
_SPEC = importlib.util.spec_from_file_location("fuzz_commands", Path(__file__).with_name("fuzz_commands.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz)

WORDS = st.sampled_from(
    ["a", "x.py", "build", "-v", "-q", "--quiet", "-x", "a=b", "sub/dir", "-", "--", "install", "run"]
)
SHORT = st.text(alphabet="bBcdEhiImOPqsSuvVWxX", min_size=1, max_size=4).map("-{}".format)
MODULES = st.sampled_from(["pip", "pytest", "http", "pdb", "code", "venv", "-c", "-m", "-W"])


def cpython_runs_foreign_code(args: list[str]) -> bool:
    """CPython's own reading of its short options: the first of -c and -m, or a word, ends them."""
    index = 0
    while index < len(args) and args[index].startswith("-") and args[index] != "-" and args[index] != "--":
        cluster = args[index][1:]
        index += 1
        while cluster:
            letter, cluster = cluster[0], cluster[1:]
            if letter in "ci":
                return True
            if letter in "mWX":
                value = cluster or (args[index] if index < len(args) else "")
                index += 0 if cluster else 1
                if letter == "m":
                    return value not in {"pip", "unittest", "pytest", "build", "venv"}
                cluster = ""
    return args[index : index + 1] == ["-"]


@given(st.lists(st.one_of(SHORT, MODULES, WORDS), max_size=5))
@example(["-W", "ignore", "-c", "a"])
@example(["-X", "-m", "-c", "a"])
def test_python_never_runs_code_that_is_not_in_a_file(args: list[str]) -> None:
    if not judge(POLICY, "python", args):
        assert not cpython_runs_foreign_code(args)


@given(st.lists(st.one_of(WORDS, st.text(alphabet="uqcnvo", min_size=1, max_size=3).map("-{}".format)), max_size=4))
def test_git_clone_never_takes_a_configuration_or_a_program(args: list[str]) -> None:
    try:
        options, _ = getopt.gnu_getopt(args, "lvqnso:b:u:c:j:", ["quiet"])
    except getopt.GetoptError:
        return
    if any(option in {"-u", "-c"} for option, _ in options):
        assert judge(POLICY, "git", ["clone", *args])


REFUSED_OPTIONS = [
    (("docker", "run"), "privileged"),
    (("docker", "run"), "volume"),
    (("docker", "create"), "cap-add"),
    (("git", "fetch"), "upload-pack"),
    (("git", "push"), "receive-pack"),
    (("make",), "eval"),
    (("npm", "install"), "script-shell"),
    (("npm", "run", "build"), "script-shell"),
    (("cargo", "build"), "config"),
    (("kubectl", "get"), "kubeconfig"),
    (("terraform", "init"), "plugin-dir"),
    (("go", "test"), "exec"),
    (("ansible", "all", "-m", "ping"), "extra-vars"),
]


@given(
    st.sampled_from(REFUSED_OPTIONS),
    st.lists(WORDS, max_size=3),
    st.lists(WORDS, max_size=3),
    st.sampled_from(["=x", ""]),
)
def test_a_refused_option_is_refused_wherever_it_stands(
    row: tuple[tuple[str, ...], str], before: list[str], behind: list[str], value: str
) -> None:
    (command, *head), option = row
    assert judge(POLICY, command, [*head, *before, f"--{option}{value}", *behind])


@given(st.sampled_from([row for row in REFUSED_OPTIONS if row[0][0] in {"git", "make", "npm", "ansible"}]), st.data())
def test_a_refused_option_is_refused_when_it_is_abbreviated(
    row: tuple[tuple[str, ...], str], data: st.DataObject
) -> None:
    (command, *head), option = row
    beginning = option[: data.draw(st.integers(2, len(option)))]
    assert judge(POLICY, command, [*head, f"--{beginning}=x"])


SEGMENTS = st.lists(st.sampled_from(["srv", "app", "..", ".", "etc", "", "a"]), min_size=1, max_size=6)
PREFIXES = st.sampled_from(["", "-f", "--file=", "A=", "x:", "a,", "u@", "-Ia,"])


@given(PREFIXES, SEGMENTS, st.booleans())
def test_a_path_in_an_argument_never_leaves_the_roots(prefix: str, segments: list[str], absolute: bool) -> None:
    path = ("/" if absolute else "") + "/".join(segments)
    names_another_machine = (prefix + path).startswith("x://")
    if names_another_machine or judge(POLICY, "make", [prefix + path]):
        return
    assert ".." not in path.split("/")
    if path.startswith("/"):
        plain = posixpath.normpath("/" + path.lstrip("/"))
        assert plain == "/srv/app" or plain.startswith("/srv/app/")


@given(st.sampled_from(sorted(DEFAULT.allowed_names)), st.lists(st.text(max_size=12), max_size=4))
def test_an_accepted_vector_holds_nothing_that_a_shell_would_read(command: str, args: list[str]) -> None:
    if not judge(POLICY, command, args):
        fuzz.check_accepted(command, args)


@given(st.binary(max_size=40))
def test_whatever_comes_in_the_policy_answers_and_answers_the_same(data: bytes) -> None:
    fuzz.one_input(data)


@pytest.mark.long
@settings(max_examples=50_000, deadline=None)
@given(st.binary(max_size=80))
def test_the_same_for_very_many_inputs(data: bytes) -> None:
    fuzz.one_input(data)
