"""Our contestant for `bench.repository`: does what stdin tells it, a JSON object a line, and says when it is done.

One that gets a single line is what a command is: it starts, opens the repository, does its work and ends. One that is
kept is what a service is: it has opened the repository before, knows the index, and has helpers waiting.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from opsuite_repository.locking import locked
from opsuite_repository.pipeline.backup import BackupRequest, Resident, back_up
from opsuite_repository.pipeline.processes import HelperPool
from opsuite_repository.pipeline.restore import RestoreRequest, restore
from opsuite_repository.repository import Repository
from opsuite_repository.storage.local import LocalStorage


class Runner:
    """One process with one repository open."""

    def __init__(self, place: str) -> None:
        self._repository = Repository.open(LocalStorage(Path(place)), os.environ["RESTIC_PASSWORD"])
        self._pool = HelperPool()
        self._resident = Resident(self._pool)

    def backup(self, path: str, *, is_resident: bool) -> None:
        with locked(self._repository) as lock:
            self._repository.refresh_index()
            resident = self._resident if is_resident else None
            result = back_up(self._repository, BackupRequest(paths=(Path(path),)), guard=lock.ensure, resident=resident)
        assert not result.findings, result.findings

    def restore(self, target: str, *, is_resident: bool) -> None:
        with locked(self._repository) as lock:
            self._repository.refresh_index()
            newest = max((each for _, each in self._repository.snapshots()), key=lambda each: each.time.ns)
            pool = self._pool if is_resident else None
            result = restore(
                self._repository, newest, RestoreRequest(target=Path(target)), guard=lock.ensure, helpers=pool
            )
        assert not result.findings, result.findings

    def warm(self) -> None:
        """Be as a service is that has run for a while."""
        self._repository.refresh_index()
        for helper in self._pool.lend():
            self._pool.take_back(helper, is_sound=True)

    def close(self) -> None:
        self._pool.close()


def main() -> None:
    runner: Runner | None = None
    for line in sys.stdin:
        order = json.loads(line)
        runner = runner or Runner(order["repository"])
        match order["do"]:
            case "warm":
                runner.warm()
            case "backup":
                runner.backup(order["path"], is_resident=order["resident"])
            case "restore":
                shutil.rmtree(order["path"], ignore_errors=True)
                runner.restore(order["path"], is_resident=order["resident"])
        print(json.dumps("done"), flush=True)
    if runner:
        runner.close()


if __name__ == "__main__":
    main()
