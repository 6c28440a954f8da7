"""Runs the suite on this machine: `up` in the foreground, `down` to stop what outlives it."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from opsuite_cli import calls, options, screen
from opsuite_cli.calls import REFUSED
from opsuite_cli.explaining import explained
from opsuite_cli.health import status_of
from opsuite_cli.options import Options
from opsuite_cli.own_services import ALL, GATEWAY, HEALER, SCALER, OwnService
from opsuite_kernel.errors import OpsuiteError, Unavailable

ADDRESS: Final = "127.0.0.1:7401"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 90.0
LOOK_EVERY_SECONDS: Final = 0.05
DataDir = Annotated[
    Path | None, typer.Option(help="Where everything is kept; OPSUITE_DATA_DIR, else ~/.local/state/opsuite.")
]


def up(
    data_dir: DataDir = None,
    listen: Annotated[
        list[str] | None, typer.Option(help=f"Address besides the socket in the data directory; else {ADDRESS}.")
    ] = None,
    root: Annotated[
        list[Path] | None, typer.Option(help="Directory that steps may use besides `work` in the data directory.")
    ] = None,
    edge: Annotated[
        bool | None,
        typer.Option(
            "--edge/--no-edge", help="Keep an Envoy that takes its routes; otherwise if opsuite[edge] is there."
        ),
    ] = None,
    scaler: Annotated[
        bool | None,
        typer.Option("--scaler/--no-scaler", help="Run the scaler too; otherwise if opsuite[scaler] is there."),
    ] = None,
    healer: Annotated[
        bool | None,
        typer.Option("--healer/--no-healer", help="Run the healer too; otherwise if opsuite[healer] is there."),
    ] = None,
    gateway: Annotated[
        bool | None,
        typer.Option("--gateway/--no-gateway", help="Run the gateway too; otherwise if opsuite[gateway] is there."),
    ] = None,
) -> None:
    """Run the suite in the foreground; Ctrl-C lets running work end and stops it. Workloads and edge go on: see `down`.

    Every setting of the services (DEPLOYER_…, SCALER_…, …, see their READMEs) is read from the environment.
    """
    if importlib.util.find_spec("opsuite_deployer") is None or importlib.util.find_spec("supervisor") is None:
        screen.complain(["error: the server is not installed", "hint: pip install 'opsuite[all]'"])
        raise typer.Exit(REFUSED)
    directory = _data_dir(data_dir)
    environment = settings_of(directory, listen or [], root or [], os.environ)
    if scaler is not False and SCALER.is_installed():
        environment.setdefault("DEPLOYER_SCALER_ADDRESS", SCALER.first_address(directory, os.environ))
    # A process group of its own: Ctrl-C is for this process, which passes on one signal, not two.
    child = subprocess.Popen(
        [sys.executable, "-m", "opsuite_deployer"], env=environment, stdin=subprocess.DEVNULL, process_group=0
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: child.send_signal(signal.SIGTERM))
    addresses = environment["DEPLOYER_LISTEN"].split(",")
    options.choose(Options(addresses[0], directory / "token"))
    beside: list[subprocess.Popen[bytes]] = []
    if _serves(child):
        told = {"edge": edge_for(directory, edge)}
        for service, wanted in ((SCALER, scaler), (HEALER, healer), (GATEWAY, gateway)):
            started, told[service.name] = service_for(service, directory, wanted, addresses, os.environ)
            beside += [started] if started else []
        _greet(directory, addresses, told)
    status = child.wait()
    for one in beside:
        one.terminate()  # one that has ended already is left alone
    for one in beside:
        one.wait()
    if status == 0:
        screen.say("the deployer has stopped; workloads go on until: opsuite down")
    raise typer.Exit(status if status >= 0 else 128 - status)


def down(
    data_dir: DataDir = None,
    keep_workloads: Annotated[bool, typer.Option("--keep-workloads", help="Stop the services alone.")] = False,
) -> None:
    """Stop the services of a data directory, their workloads, the edge and the supervisord that keeps them."""
    directory = _data_dir(data_dir)
    try:
        stopped = _stop(directory, keep_workloads=keep_workloads)
    except ModuleNotFoundError as error:
        screen.complain(["error: the server is not installed, so nothing of it runs from here"])
        raise typer.Exit(REFUSED) from error
    except OpsuiteError as error:
        screen.complain(explained(error))
        raise typer.Exit(REFUSED) from error
    screen.say(f"{directory}: stopped {_listed(stopped)}" if stopped else f"{directory}: nothing was running")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])


def _data_dir(chosen: Path | None) -> Path:
    from opsuite_rpc.channel import data_directory

    return (chosen or Path(os.environ.get("DEPLOYER_DATA_DIR") or data_directory())).absolute()


def settings_of(
    directory: Path, listen: Sequence[str], roots: Sequence[Path], environ: Mapping[str, str]
) -> dict[str, str]:
    """The environment that the deployer is started with: that of the caller, and what was chosen here."""
    tcp = ",".join(listen) or environ.get("DEPLOYER_LISTEN") or ADDRESS
    socket = f"unix://{directory}/run/deployer.sock"
    chosen = {
        "DEPLOYER_DATA_DIR": str(directory),
        "DEPLOYER_LISTEN": tcp if socket in tcp else f"{socket},{tcp}",
    }
    if roots:
        chosen["DEPLOYER_ROOTS"] = ",".join([str(directory / "work"), *(str(root.absolute()) for root in roots)])
    return {**environ, **chosen}


def _serves(child: subprocess.Popen[bytes]) -> bool:
    """Wait until the deployer serves; False when it has ended instead."""
    give_up_at = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < give_up_at:
        try:
            calls.run(calls.connected(status_of))
            return True
        except OpsuiteError:
            time.sleep(LOOK_EVERY_SECONDS)
    return False


def edge_for(directory: Path, wanted: bool | None) -> str:
    """Keep an edge, or none; what is to be said of it. Without it everything else works, so it stops nothing."""
    from opsuite_cli import own_edge
    from opsuite_cli.edges import HOW_TO_GET_ENVOY

    try:
        if not (own_edge.comes_with_envoy() if wanted is None else wanted):
            own_edge.forget(directory)
            return "none" if wanted is False else f"none: Envoy is missing ({HOW_TO_GET_ENVOY})"
        if (program := own_edge.envoy_program()) is None:
            return f"none: Envoy is missing ({HOW_TO_GET_ENVOY})"
        own_edge.keep(directory, program)
    except (OpsuiteError, OSError) as error:
        return f"none: {error}"
    return f"{own_edge.ID}, sends requests to what rollouts route; log in {directory / 'edges' / own_edge.ID}"


def service_for(
    service: OwnService, directory: Path, wanted: bool | None, addresses: Sequence[str], environ: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes] | None, str]:
    """Start a service, or none; what is to be said of it."""
    if wanted is False:
        return None, "none"
    if not service.is_installed():
        return None, f"none: it is not installed ({service.how_to_get_it})"
    environment = service.settings_of(directory, addresses[0], usual=ADDRESS in addresses, environ=environ)
    listens = environment[f"{service.prefix}LISTEN"].replace(",", " ")
    if not listens:
        return None, f"none: {service.prefix}LISTEN says where it is to listen"
    return service.start(environment), listens


def _greet(directory: Path, addresses: Sequence[str], beside: Mapping[str, str]) -> None:
    from opsuite_rpc.channel import data_directory

    lines = [
        "the deployer serves",
        *(f"  address   {address}" for address in addresses),
        f"  token     {directory / 'token'}",
        f"  work      {directory / 'work'}",
        *(f"  {name:<9} {told}" for name, told in beside.items()),
    ]
    if directory != data_directory().absolute():
        lines += ["in other terminals first:", f"  export OPSUITE_DATA_DIR={shlex.quote(str(directory))}"]
    lines += ["next:", "  opsuite init", "  opsuite apply -f pipeline.yaml", "  opsuite doctor"]
    screen.say("\n".join(lines))


def _stop(directory: Path, *, keep_workloads: bool) -> list[str]:
    from opsuite_platforms.supervisord import Supervisord

    places = {"the deployer": directory} | {f"the {one.name}": one.data_of(directory) for one in ALL.values()}
    # Found before the first is told: `opsuite up` stops the others when the deployer has ended.
    running = {name: pid for name, place in places.items() if (pid := _holder(place)) is not None}
    for pid in running.values():
        _end(pid)
    stopped = list(running)
    supervisord = Supervisord(directory / "supervisor")
    if not keep_workloads and supervisord.answers():
        supervisord.stop()
        stopped.append("the workloads")
    return stopped


def _end(pid: int) -> None:
    """Let it drain; returns when it has ended. Raises Unavailable."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if not select.select([descriptor], [], [], STOP_SECONDS)[0]:
            raise Unavailable(f"process {pid} has not ended within {STOP_SECONDS:.0f} s")
    finally:
        os.close(descriptor)


def _holder(directory: Path) -> int | None:
    """The process that holds a data directory; None if nobody does."""
    try:
        with (directory / "lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None
