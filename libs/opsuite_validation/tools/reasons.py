"""Words for building the tables of tools, and the reasons that many rows share."""

from __future__ import annotations

from typing import Final

from opsuite_validation.arguments import FREE, Rules

PROGRAM: Final = "names a program to run"
CODE: Final = "holds code to run"
CONFIG: Final = "reads a configuration that can name programs"
EDITOR: Final = "opens an editor"
DEBUGGER: Final = "opens a debugger that runs what it is sent"
HOST: Final = "gives a container a way to the machine"
ELSEWHERE: Final = "talks to another machine or engine than the configured one"
JVM: Final = "passes options to a Java machine, and those can run programs"
REMOTE: Final = "runs a program straight from the network"


def each(words: str, rules: Rules = FREE) -> dict[str, Rules]:
    """The same rules for each of some words, written in one string."""
    return dict.fromkeys(words.split(), rules)


def options(names: str) -> frozenset[str]:
    """A set of options, written in one string."""
    return frozenset(names.split())


def because(why: str, names: str) -> dict[str, str]:
    """The same reason for each of some names, written in one string."""
    return dict.fromkeys(names.split(), why)
