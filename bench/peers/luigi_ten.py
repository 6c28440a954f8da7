"""Luigi: ten tasks in a chain, local scheduler, a file as the target of each."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path

import luigi  # type: ignore[import-not-found]  # installed beside this one, not with it
from protocol import serve

DIRECTORY = Path(sys.argv[1])
RUNS = itertools.count()


class Step(luigi.Task):  # type: ignore[misc]  # unknown here
    run_number = luigi.IntParameter()
    number = luigi.IntParameter()

    def requires(self) -> list[Step]:
        return [Step(self.run_number, self.number - 1)] if self.number else []

    def output(self) -> luigi.LocalTarget:
        return luigi.LocalTarget(str(DIRECTORY / f"luigi-{self.run_number}-{self.number}"))

    def run(self) -> None:
        subprocess.run(["/bin/true"], check=True)
        with self.output().open("w") as target:
            target.write("done")


def ten(count: int) -> list[float]:
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        assert luigi.build([Step(next(RUNS), 9)], local_scheduler=True, log_level="ERROR")
        taken.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    serve(ten)
