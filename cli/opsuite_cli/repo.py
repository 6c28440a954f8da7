"""Repositories of backups, in the format of restic: the command line of opsuite_repository.

Commands, options and exit statuses are named as restic names them, so that whoever knows one knows the other.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from opsuite_cli import (
    repo_backup,
    repo_care,
    repo_forgetting,
    repo_keys,
    repo_reading,
    repo_repair,
    repo_restore,
    repo_serving,
    repo_snapshots,
    screen,
)
from opsuite_cli.deployments import duration
from opsuite_cli.repo_access import ADDRESSES, Access, AccessAnywhere, choose, current, storage_at
from opsuite_cli.repo_ending import refuse_unless, reported
from opsuite_cli.repo_passwords import PASSWORD_COMMANDS, PASSWORD_FILES, password

app = typer.Typer(
    cls=AccessAnywhere,
    no_args_is_help=True,
    help="Repositories of backups, which restic reads and writes as well. These options may stand behind COMMAND too.",
)


@app.callback()
def access(
    repo: Annotated[
        str,
        typer.Option(
            "--repo", "-r", envvar=list(ADDRESSES), help="/folder, s3:…, gs:…, azure:…, rest:…", show_default=False
        ),
    ] = "",
    password_file: Annotated[
        Path | None,
        typer.Option("--password-file", "-p", envvar=list(PASSWORD_FILES), help="File with the password."),
    ] = None,
    password_command: Annotated[
        str,
        typer.Option(
            envvar=list(PASSWORD_COMMANDS), help="Command that prints the password; not run by a shell.",
            show_default=False,
        ),
    ] = "",
    key_hint: Annotated[str | None, typer.Option(envvar="RESTIC_KEY_HINT", help="Key to try first.")] = None,
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Read without a lock, such as from a place that is read-only.")
    ] = False,
    retry_lock: Annotated[
        timedelta | None, typer.Option(parser=duration, help="Wait so long for a lock that somebody holds (5m).")
    ] = None,
) -> None:  # fmt: skip
    """Which repository, and how to get at it. The password may also stand in OPSUITE_REPOSITORY_PASSWORD."""
    choose(Access(repo, password_file, password_command, key_hint, no_lock, retry_lock or timedelta(0)))


@app.command()
def init() -> None:
    """Make a new repository."""
    from opsuite_repository.repository import Repository

    with reported(), storage_at(current().address) as storage:
        secret = password(current(), twice=True)
        refuse_unless(secret != "", "password", "is empty")
        made = Repository.init(storage, secret)
        if screen.wants_table():
            screen.say(f"repository {made.config.id[:10]} was made")
            screen.say("Without the password nobody can read it, not even you: keep it somewhere else too.")
        else:
            screen.write({"message_type": "initialized", "id": made.config.id, "repository": current().address})


for module in (
    repo_backup,
    repo_restore,
    repo_snapshots,
    repo_reading,
    repo_forgetting,
    repo_care,
    repo_repair,
    repo_keys,
    repo_serving,
):
    module.add_to(app)
