"""A place that other hosts back up to and cannot delete from: the append-only REST server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from opsuite_cli import screen
from opsuite_cli.repo_ending import refuse_unless, reported
from opsuite_cli.repo_passwords import new_password
from opsuite_kernel.errors import InvalidInput, Violation

if TYPE_CHECKING:
    import ssl

    from opsuite_repository.storage.rest_users import Users


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(serve)
    app.command("user")(user_line)


def serve(
    root: Annotated[Path, typer.Argument(help="Folder of the repositories, a folder in it for each user.")],
    users: Annotated[Path, typer.Option("--users", help="File of users; `opsuite repo user` writes its lines.")],
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, with those that vouch for it.")] = None,
    key: Annotated[Path | None, typer.Option("--tls-key", help="Its private key.")] = None,
    plaintext: Annotated[
        bool, typer.Option("--no-tls", help="Without TLS beyond this host too: behind a proxy that has it.")
    ] = False,
) -> None:
    """Serve repositories over REST to restic and opsuite. Clients can add and read; only locks can be deleted."""
    import asyncio

    with reported():
        refuse_unless((cert is None) == (key is None), "--tls-cert", "and --tls-key belong together")
        refuse_unless(
            cert is not None or plaintext or host in {"127.0.0.1", "::1", "localhost"},
            "--host", "is not of this machine alone: give --tls-cert and --tls-key, or --no-tls",
        )  # fmt: skip
        tls = _tls(cert, key) if cert is not None and key is not None else None
        asyncio.run(_serve(root, _users(users), host, port, tls))


async def _serve(root: Path, users: Users, host: str, port: int, tls: ssl.SSLContext | None) -> None:
    """Serve until SIGINT or SIGTERM."""
    import asyncio
    import signal

    from opsuite_repository.storage.rest_server import application
    from opsuite_repository.storage.rest_server import serve as serving

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with serving(application(root, users), host, port, tls=tls) as url:
            screen.say(f"serving {root} at {url}")
            await stop.wait()
    except OSError as error:
        raise InvalidInput([Violation("--port", f"cannot be listened at: {error}", "ADDRESS")]) from error


def _users(file: Path) -> Users:
    from opsuite_repository.storage.rest_users import Users

    try:
        return Users.parse(file.read_text().splitlines())
    except (OSError, ValueError) as error:
        raise InvalidInput([Violation("--users", str(error), "FILE")]) from error


def _tls(cert: Path, key: Path) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput([Violation("--tls-cert", f"cannot be used: {error}", "FILE")]) from error
    return context


def user_line(
    name: Annotated[str, typer.Argument(help="Name of the user, and of the folder of their repositories.")],
    password_file: Annotated[Path | None, typer.Option("--new-password-file", help="File with the password.")] = None,
    password_command: Annotated[str, typer.Option("--new-password-command", help="Command that prints it.")] = "",
) -> None:
    """Print a line for the file of users: a name and the hash of a password."""
    from opsuite_repository.storage.rest_users import is_user_name
    from opsuite_repository.storage.rest_users import user_line as line_of

    with reported():
        refuse_unless(is_user_name(name), "NAME", "consists of letters, digits, `_`, `.` and `-`")
        screen.say(line_of(name, new_password(password_file, password_command)))
