"""docs/hooks.md keeps its word: its commands are run as they stand there, against a real deployer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from deployer import DeployerProcess
from readme import ROOT

PAGE = ROOT / "docs" / "hooks.md"


SCRIPT = "\necho ----\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL))
"""The commands of the page, as one types them into one shell."""


def test_its_commands_show_a_deployment_with_hooks_around_it(deployer: DeployerProcess) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ended = subprocess.run(
        ["timeout", "240", "bash", "-euo", "pipefail", "-c", SCRIPT],
        cwd=ROOT,
        env=deployer.environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr

    first, _, last = (block.splitlines() for block in ended.stdout.split("----\n"))
    assert first[-4:] == ["announce 1.0.0", "ask 1.0.0", "release 1.0.0", "thanks 1.0.0"]
    asked = ["ask 1.1.0"] * 3
    assert last[last.index("announce 1.1.0") :] == ["announce 1.1.0", *asked, "release 1.1.0", "thanks 1.1.0"]
