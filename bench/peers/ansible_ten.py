"""ansible-playbook: ten command tasks on the local machine, a process for each pipeline, as it is made to be run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from protocol import serve

PLAYBOOK = Path(sys.argv[1]) / "ten.yml"
TASK = "    - ansible.builtin.command: /bin/true\n"


def ten(count: int) -> list[float]:
    program = Path(sys.executable).with_name("ansible-playbook")
    command = [str(program), "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"]
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        subprocess.run(
            [*command, str(PLAYBOOK)], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"}
        )
        taken.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    PLAYBOOK.write_text("- hosts: localhost\n  gather_facts: false\n  tasks:\n" + TASK * 10)
    serve(ten)
