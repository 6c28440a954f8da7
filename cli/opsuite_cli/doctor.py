"""Is everything here that is needed: connection, token, versions, tools."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import typer

from opsuite_cli import calls, screen
from opsuite_cli.health import status_of
from opsuite_kernel.errors import OpsuiteError

if TYPE_CHECKING:
    from opsuite.common.v1.server_service_pb2_grpc import ServerServiceAsyncStub

TOOLS = {
    "git": "for pipelines that check out a version",
    "setpriv": "ends workloads with their supervisor",
    "docker": "for Docker steps",
}
Finding = tuple[str, str, str]
"""What was looked at, OK, WARNING or FAILED, and what was found."""


def version() -> None:
    """Print the version."""
    screen.say(f"opsuite {_version('opsuite')} (Python {platform.python_version()})")


def doctor() -> None:
    """Look whether the command line can reach the deployer, and what this machine has; exit status 1 when not."""
    found = [*_versions(), *_tools(), _target(), *calls.run(_server())]
    if screen.wants_table():
        screen.table(["SUBJECT", "RESULT", "FOUND"], found)
    else:
        screen.write([{"subject": one, "result": two, "found": three} for one, two, three in found])
    if any(result == "FAILED" for _, result, _ in found):
        raise typer.Exit(1)


def _versions() -> list[Finding]:
    names = ("opsuite", "grpcio", "protobuf")
    return [("python", "OK", platform.python_version()), *((name, "OK", _version(name)) for name in names)]


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(name)
    except PackageNotFoundError:
        return "unknown: not installed as a package"


def _tools() -> list[Finding]:
    found = [(name, shutil.which(name) or "", why) for name, why in TOOLS.items()]
    return [(f"tool {name}", "OK" if path else "WARNING", path or f"missing; {why}") for name, path, why in found]


def _target() -> Finding:
    target = calls.target()
    if target.token:
        return ("token", "OK", "from OPSUITE_TOKEN")
    if target.token_file is None:
        return ("token", "WARNING", "none; set OPSUITE_TOKEN_FILE, or start the deployer here with: opsuite up")
    exists = target.token_file.exists()
    return ("token", "OK" if exists else "FAILED", str(target.token_file) + ("" if exists else " does not exist"))


async def _server() -> list[Finding]:
    """Ask the server, one question after the other, as far as it answers."""
    address = calls.target().address
    questions: list[tuple[str, Callable[[calls.Client], Awaitable[tuple[str, str]]]]] = [
        ("server", _health),
        ("permission", _permission),
        ("server's version", _same_version),
    ]
    found: list[Finding] = []
    for subject, ask in questions:
        try:
            found.append((subject, *await calls.connected(ask)))
        except OpsuiteError as error:
            found.append((subject, "FAILED", f"{address}: {error.message}"))
            break
    return found


async def _health(client: calls.Client) -> tuple[str, str]:
    return "OK", f"{calls.target().address}: {await status_of(client)}"


async def _permission(client: calls.Client) -> tuple[str, str]:
    from opsuite.deployer.v1.pipeline_service_pb2 import ListPipelinesRequest

    page = await client.pipelines.ListPipelines(ListPipelinesRequest(page_size=1))
    return "OK", f"may read pipelines; there are {'some' if page.pipelines else 'none yet'}"


async def _same_version(client: calls.Client) -> tuple[str, str]:
    from opsuite.common.v1.server_service_pb2 import GetServerRequest
    from opsuite.common.v1.server_service_pb2_grpc import ServerServiceStub

    stub: ServerServiceAsyncStub = ServerServiceStub(client.channel)
    try:
        theirs = (await stub.GetServer(GetServerRequest())).version
    except OpsuiteError as error:
        if "UNIMPLEMENTED" not in str(error.__cause__):
            raise
        theirs = ""  # one from before it could say
    return compared(_version("opsuite"), theirs)


def compared(ours: str, theirs: str) -> tuple[str, str]:
    """Whether command line and server fit together, and what to do if perhaps not."""
    if ours == theirs:
        return "OK", theirs
    install = f"install opsuite=={theirs} here" if theirs else "install the version of the server here"
    return "WARNING", f"{theirs or 'not known'}, and this command line is {ours}; {install}, or update the server"
