"""Fuzz target for the command policy; pytest does not collect it.

    python tests/unit/opsuite_validation/fuzz_commands.py            # under atheris, if it is installed, until stopped
    python tests/unit/opsuite_validation/fuzz_commands.py 100000     # a plain loop of so many random inputs

Bytes become a command and arguments; whatever they are, the policy answers without an exception, the same way twice,
and what it accepts keeps `check_accepted`.
"""

from __future__ import annotations

import importlib
import posixpath
import random
import re
import sys
from dataclasses import replace
from pathlib import Path

from opsuite_validation.commands import DEFAULT, judge

POLICY = replace(DEFAULT, roots=(Path("/srv/app"),))
_OPTIONS = "-c -e -i -m -p -C -f -v -E --eval --print --config --privileged --volume --mount --exec - --"
_PATHS = "= / .. ../ /etc /srv/app : , @ data: file:// https://h/ ext::"
_WORDS = "run build install exec clone sh SHELL= CC= host root pip ping ${version} $( ;"
PIECES = (*sorted(DEFAULT.allowed_names), *_OPTIONS.split(), *_PATHS.split(), *_WORDS.split(), " ", "\n")
SHELL_CHARACTERS = set(";&|`$()<>\n\r*?[]{}!~'\"\\\0")


def check_accepted(command: str, args: list[str]) -> None:
    """A plain reading of what an accepted argument vector may be, without knowledge of any tool."""
    assert posixpath.basename(command) in DEFAULT.allowed_names
    assert "/" not in command or Path(command).parent in DEFAULT.trusted_directories
    for arg in args:
        assert not set(arg) & SHELL_CHARACTERS
        without_urls = re.sub(r"\b[a-z][a-z0-9+.-]*://[^/ ,][^ ,]*", "", arg) if "file:" not in arg else arg
        for part in re.split(r"[=,:@ +%]", without_urls):
            if part.startswith("/") and part != "/dev/null":
                assert posixpath.normpath("/" + part.lstrip("/")).startswith("/srv/app")
            assert ".." not in part.split("/")


def one_input(data: bytes) -> None:
    """Judge one input."""
    source = random.Random(data)  # the same bytes are always the same arguments
    command = source.choice(PIECES) if data[:1] > b"\x40" else data[1:20].decode("utf-8", "replace")
    args = ["".join(source.choices(PIECES, k=source.randint(1, 3))) for _ in range(source.randint(0, 6))]
    args.append(data.decode("utf-8", "replace"))
    args = args[: source.randint(0, len(args))]
    found = judge(POLICY, command, args)
    assert found == judge(POLICY, command, args)
    if not found:
        check_accepted(command, args)


def main() -> None:
    """Run under atheris, or so many times as the first argument says."""
    if len(sys.argv) > 1 and sys.argv[1].isdigit():
        source = random.Random(0)
        for _ in range(int(sys.argv[1])):
            one_input(source.randbytes(source.randint(0, 60)))
        return
    atheris = importlib.import_module("atheris")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
