"""Stock restic, the other reader and writer of our repositories."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from components import program

PASSWORD = "correct horse"


@dataclass(frozen=True)
class Restic:
    """Runs restic on one repository in a folder; its cache lies beside it."""

    repository: Path

    def __call__(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command; unless told otherwise it has to succeed."""
        restic = program("restic", "tools/restic/build.sh")
        environment = {
            **os.environ,
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(self.repository.with_name(self.repository.name + ".cache")),
            "RESTIC_PROGRESS_FPS": "0",
        }
        done = subprocess.run([restic, *arguments], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"restic {arguments}: {done.stdout}{done.stderr}"
        return done
