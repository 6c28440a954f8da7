"""Where passwords of repositories come from; never from the command line, which everybody on the machine can read."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from opsuite_kernel.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from opsuite_cli.repo_access import Access

PASSWORDS: Final = ("OPSUITE_REPOSITORY_PASSWORD", "RESTIC_PASSWORD")
PASSWORD_FILES: Final = ("OPSUITE_REPOSITORY_PASSWORD_FILE", "RESTIC_PASSWORD_FILE")
PASSWORD_COMMANDS: Final = ("OPSUITE_REPOSITORY_PASSWORD_COMMAND", "RESTIC_PASSWORD_COMMAND")


def password(access: Access, *, twice: bool = False, what: str = "password") -> str:
    """The password by file, command, environment or terminal, in this order. Raises InvalidInput without any."""
    if access.password_file is not None:
        return _of_file(access.password_file)
    if access.password_command:
        return _of_command(access.password_command)
    for name in PASSWORDS:
        if value := os.environ.get(name):
            return value
    if not sys.stdin.isatty():
        ways = f"--password-file, --password-command or {PASSWORDS[0]}"
        raise InvalidInput([Violation(what, f"give it by {ways}", "REQUIRED")])
    return str(typer.prompt(f"{what} of the repository", hide_input=True, confirmation_prompt=twice, err=True))


def new_password(file: Path | None, command: str) -> str:
    """A password to be added. Raises InvalidInput when it is empty."""
    if file is not None or command:
        found = _of_file(file) if file is not None else _of_command(command)
    elif sys.stdin.isatty():
        found = str(typer.prompt("new password", hide_input=True, confirmation_prompt=True, err=True))
    else:
        raise InvalidInput([Violation("--new-password-file", "or --new-password-command has to be given", "REQUIRED")])
    if not found:
        raise InvalidInput([Violation("new password", "is empty", "REQUIRED")])
    return found


def _of_file(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation("--password-file", f"cannot be read: {error}", "FILE")]) from error


def _of_command(command: str) -> str:
    try:
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise InvalidInput([Violation("--password-command", f"failed: {error}", "COMMAND")]) from error
    return done.stdout.strip()
