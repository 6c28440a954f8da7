"""What supervisord has to be told about a replica: the text of its file. Pure.

The file format loses or cuts values in many ways (`%` expands, ` #` and ` ;` begin comments, `environment` cannot hold
both kinds of quotes), so everything goes through `command`, quoted for all of its readers, with `env -i` in front,
which also gives the program exactly the environment asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import PurePath

from opsuite_kernel.errors import Conflict
from opsuite_platforms.port import WorkloadSpec

COMMENT_BEGIN = re.compile(r"(\s)([#;])")
UNSTORABLE = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs in front of the command of each replica."""

    env: str
    setpriv: str | None
    """Ends replicas with supervisord, whose next life would start a second set; None: this machine has none."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How supervisord keeps a program."""

    start_retries: int = 10
    """Starts in a row that end within a second before it gives up; it waits one second longer each time."""
    log_bytes: int = 10_485_760
    log_backups: int = 2


def program_file(
    name: str, process: str, spec: WorkloadSpec, ports: Mapping[str, int], log: PurePath, tools: Tools, keeping: Keeping
) -> str:
    """The file of one replica. Raises: Conflict (supervisord could not read it)."""
    settings = {
        "command": command_line(spec, ports, tools),
        "process_name": process,
        "directory": one_line(spec.directory),
        "autostart": "true",
        "autorestart": "true",
        "startsecs": "1",
        "startretries": str(keeping.start_retries),
        "stopsignal": "TERM",
        "stopwaitsecs": str(max(1, ceil(spec.grace.total_seconds()))),
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": one_line(str(log)),
        "stdout_logfile_maxbytes": str(keeping.log_bytes),
        "stdout_logfile_backups": str(keeping.log_backups),
    }
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in settings.items()]
    return "\n".join([f"[program:{name}]", *lines, ""])


def command_line(spec: WorkloadSpec, ports: Mapping[str, int], tools: Tools) -> str:
    """The command of a replica with everything that stands in front of it."""
    if not spec.command or "=" in spec.command[0]:
        raise Conflict(f"{spec.name}: a command needs a program, without = in its name", reason="SPEC_IMPOSSIBLE")
    front = [tools.setpriv, "--pdeathsig", "KILL", "--"] if tools.setpriv else []
    environment = [f"{key}={substituted(value, ports)}" for key, value in sorted(spec.env.items())]
    command = [substituted(argument, ports) for argument in spec.command]
    return " ".join(quoted(part) for part in [*front, tools.env, "-i", *environment, *command])


def substituted(text: str, ports: Mapping[str, int]) -> str:
    """`text` with `${port}` and `${port_NAME}` replaced; other templates stay as they are."""
    for name, number in ports.items():
        text = text.replace(f"${{port_{name}}}", str(number))
    first = next(iter(ports.values()), None)
    return text if first is None else text.replace("${port}", str(first))


def quoted(argument: str) -> str:
    """One word for `shlex.split`, broken up where the file format sees a comment or `%(here)s` (escaped or not)."""
    return COMMENT_BEGIN.sub(r"\1''\2", shlex.quote(one_line(argument))).replace("%(", "%''(")


def one_line(text: str) -> str:
    """The text itself. Raises: Conflict when it does not fit on a line of the file."""
    if UNSTORABLE.search(text):
        raise Conflict("the process platform cannot pass on line breaks: use a file", reason="SPEC_IMPOSSIBLE")
    return text
