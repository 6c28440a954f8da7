"""Hosts of workloads that are reached over SSH: host prepare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from opsuite_cli import screen
from opsuite_cli.calls import REFUSED, run
from opsuite_cli.explaining import explained
from opsuite_kernel.errors import OpsuiteError, Unavailable

HOW_TO_GET_SSH: Final = "pip install 'opsuite[deployer]'"
app = typer.Typer(no_args_is_help=True, help="Hosts on which workloads run, reached over SSH.")


@app.callback()
def hosts() -> None:
    """Hosts on which workloads run, reached over SSH."""


@app.command()
def prepare(
    file: Annotated[Path, typer.Argument(help="The file that DEPLOYER_HOSTS_FILE names.")],
) -> None:
    """Start supervisord on every host where it does not run: once, and after a host has started again."""
    try:
        names = run(_prepared(file))
    except OpsuiteError as error:
        screen.complain(explained(error))
        raise typer.Exit(REFUSED) from error
    if not screen.wants_table():
        screen.write({"hosts": names})
        return
    for name in names:
        screen.say(f"host {name}: is ready")


async def _prepared(file: Path) -> list[str]:
    """Names of the hosts, all of which are ready. Raises InvalidInput, Unavailable."""
    try:
        from opsuite_platforms.hosts import HostsPlatform
        from opsuite_platforms.hosts_file import read_hosts
    except ModuleNotFoundError as error:
        raise Unavailable(f"this needs {error.name}: {HOW_TO_GET_SSH}", reason="NOT_INSTALLED") from error

    found = read_hosts(file)
    platform = HostsPlatform(found)
    try:
        await platform.prepare()
    finally:
        await platform.close()
    return [host.name for host in found]
