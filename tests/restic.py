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
    executable: Path | None = None
    """Another restic than the one that `tools/` builds."""

    def __call__(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command; unless told otherwise it has to succeed."""
        done = subprocess.run(
            [self._program, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or not check, f"restic {arguments}: {done.stdout}{done.stderr}"
        return done

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start one command and give it a pipe to read from."""
        return subprocess.Popen(
            [self._program, *arguments],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def as_source(self, folder: Path) -> tuple[str | Path, ...]:
        """The options that make this the repository to copy from; the folder gets a file with the password."""
        (folder / "password").write_text(PASSWORD)
        return "--from-repo", self.repository, "--from-password-file", folder / "password"

    @property
    def _program(self) -> Path:
        return self.executable or program("restic", "tools/restic/build.sh")

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": str(self.repository),
            "RESTIC_CACHE_DIR": str(self.repository.with_name(self.repository.name + ".cache")),
            "RESTIC_PROGRESS_FPS": "0",
        }
