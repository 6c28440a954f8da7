from __future__ import annotations

import shlex
from collections.abc import Callable
from configparser import RawConfigParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from supervisor import options

from opsuite_kernel.errors import Conflict
from opsuite_platforms.port import WorkloadSpec
from opsuite_platforms.programs import Tools, command_line, quoted, substituted

Parser: Callable[[], RawConfigParser] = options.UnhosedConfigParser
TOOLS = Tools("/usr/bin/env", "/usr/bin/setpriv")
one_line_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


@given(one_line_texts)
def test_supervisord_reads_back_every_argument_as_it_was(argument: str) -> None:
    line = f"/bin/echo {quoted(argument)}".replace("%", "%%")
    parser = Parser()
    parser.read_string(f"[program:web]\ncommand = {line}\n".replace("%(here)s", "HERE"))

    command = parser.get("program:web", "command") % {}

    assert shlex.split(command) == ["/bin/echo", argument]


def test_only_declared_ports_are_substituted() -> None:
    ports = {"http": 1, "admin": 2}

    assert substituted("${port} ${port_http} ${port_admin} ${port_x} $port", ports) == "1 1 2 ${port_x} $port"


def test_the_command_stands_behind_what_ties_it_to_supervisord_and_cleans_its_environment() -> None:
    spec = WorkloadSpec("web", "1.0.0", ("./serve", "--port=${port}"), "/srv", {"B": "2", "A": "${port}"})

    line = command_line(spec, {"http": 80}, TOOLS)

    assert line == "/usr/bin/setpriv --pdeathsig KILL -- /usr/bin/env -i A=80 B=2 ./serve --port=80"


@pytest.mark.parametrize("command", [(), ("A=1",), ("/bin/echo", "two\nlines")])
def test_what_cannot_be_written_down_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(Conflict):
        command_line(WorkloadSpec("web", "1.0.0", command, "/"), {}, TOOLS)
