"""Steps of a real deployer that wait for the test: each says that it has started, and goes on when it is told to.

held = HeldSteps(deployer.work)
pipeline = a_pipeline("hello", a_stage("work", held.step("build")))
...
await held.started("build")
held.end("build", status=1)
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

from fakes.pipelines import Form, a_script

SCRIPT = "held.py"
PROGRAM = """
import os, sys, time
mine = f"{sys.argv[1]}.{os.environ['DEPLOYMENT_ID']}"
print("waiting as", sys.argv[1], flush=True)
with open(mine + ".started", "a") as file:
    file.write(os.environ["DEPLOYMENT_VERSION"] + "\\n")
places = [mine + ".end", sys.argv[1] + ".end"]
while not (found := [place for place in places if os.path.exists(place)]):
    time.sleep(0.005)
sys.exit(int(open(found[0]).read() or 0))
"""


class HeldSteps:
    """Makes held steps for one deployer and lets them go."""

    def __init__(self, work: Path) -> None:
        self._work = work
        (work / SCRIPT).write_text(PROGRAM)

    def step(self, name: str, **fields: Any) -> Form:
        """A step that runs until `end` is called for its name; one name stands for one step of any deployment."""
        return a_script(name, SCRIPT, name, **fields)

    async def started(self, name: str, *, times: int = 1) -> list[str]:
        """The versions whose step of that name has started, once there are that many."""
        for _ in itertools.count():
            versions = [line for file in self._work.glob(f"{name}.*.started") for line in file.read_text().split()]
            if len(versions) >= times:
                return versions
            await asyncio.sleep(0.01)
        raise AssertionError

    def end(self, name: str, *, status: int = 0, uid: str = "") -> None:
        """Let the step of that name end, in one deployment or in all."""
        place = self._work / (f"{name}.{uid}.end" if uid else f"{name}.end")
        temporary = place.with_suffix(".new")
        temporary.write_text(str(status))
        temporary.rename(place)

    def hold_again(self, name: str) -> None:
        """Hold the step of that name in deployments that come."""
        (self._work / f"{name}.end").unlink(missing_ok=True)
