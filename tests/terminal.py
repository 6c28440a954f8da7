"""The `opsuite` command in a terminal, and what the terminal got."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import termios
from typing import Any

import pexpect
from deployer import DeployerProcess
from opsuite_command import COMMAND
from pexpect import fdpexpect

ATTACH: Any = fdpexpect.fdspawn  # has no types
SECONDS = 120
"""Silence that ends a command that hangs."""
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def in_terminal(deployer: DeployerProcess, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status of a command, and all that the terminal got."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    # Not pexpect.spawn: it forks, and threads of gRPC in this process do not survive that.
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=deployer.environment | {"TERM": "xterm-256color"} | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        terminal = ATTACH(ours, encoding="utf-8", timeout=SECONDS)
        terminal.expect(pexpect.EOF)
        seen: str = terminal.before
        terminal.close()
    return running.returncode, seen
