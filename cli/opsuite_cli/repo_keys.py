"""Who may open a repository: its keys, each with a password of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsuite_cli import repo_words, screen
from opsuite_cli.repo_access import LockMode, opened
from opsuite_cli.repo_passwords import new_password
from opsuite_kernel.errors import Conflict, NotFound

keys = typer.Typer(no_args_is_help=True, help="Passwords that open the repository.")
NewPasswordFile = Annotated[Path | None, typer.Option("--new-password-file", help="File with the new password.")]
NewPasswordCommand = Annotated[str, typer.Option("--new-password-command", help="Command that prints it.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(keys, name="keys")
    app.add_typer(keys, name="key", hidden=True)  # as restic has it


@keys.command("list")
def list_() -> None:
    """List the keys; `*` is the one that this password opens."""
    from opsuite_repository.format.times import format_instant
    from opsuite_repository.key_files import list_keys

    with opened(index=False, snapshots=False) as at:
        found = list(list_keys(at.repository))
    if screen.wants_table():
        rows = [
            [
                f"{'*' if key.is_current else ' '}{key.name[:8]}",
                key.username,
                key.hostname,
                repo_words.local(key.created) if key.created else "cannot be read",
            ]
            for key in found
        ]
        screen.table([" ID", "USER", "HOST", "CREATED"], rows)
        return
    screen.write(
        [
            {
                "current": key.is_current,
                "id": key.name,
                "userName": key.username,
                "hostName": key.hostname,
                "created": format_instant(key.created) if key.created else None,
            }
            for key in found
        ]
    )


@keys.command()
def add(file: NewPasswordFile = None, command: NewPasswordCommand = "") -> None:
    """Let another password open the repository too."""
    from opsuite_repository.repository import add_key

    with opened(LockMode.WRITE, index=False, snapshots=False) as at:
        secret = new_password(file, command)
        name = add_key(at.repository.storage, at.repository.key.master, secret)
    _say(name, "was added")


@keys.command()
def remove(key: Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, or how it begins.")]) -> None:
    """Let a password no longer open the repository. What it once read it may have kept."""
    from opsuite_repository.key_files import remove_key
    from opsuite_repository.storage.port import FileType

    with opened(LockMode.EXCLUSIVE, index=False, snapshots=False) as at:
        found = [file.name for file in at.repository.storage.list(FileType.KEY) if key and file.name.startswith(key)]
        if not found:
            raise NotFound("key", key)
        if len(found) > 1:
            raise Conflict(f"several keys begin with {key!r}", reason="AMBIGUOUS")
        remove_key(at.repository, found[0])
    _say(found[0], "was removed")


@keys.command("password")
def password_(file: NewPasswordFile = None, command: NewPasswordCommand = "") -> None:
    """Change the password that was given; the others stay."""
    from opsuite_repository.key_files import change_password

    with opened(LockMode.EXCLUSIVE, index=False, snapshots=False) as at:
        name = change_password(at.repository, new_password(file, command))
    _say(name, "has the new password")


keys.command("passwd", hidden=True)(password_)


def _say(name: str, what: str) -> None:
    if screen.wants_table():
        screen.say(f"key {name[:8]} {what}")
    else:
        screen.write({"id": name})
