"""How soon a deployer serves after exec, how soon it has drained, and what the command line costs."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.deployers import a_bench_deployer
from bench.table import Row, ms, p50

TYPER = "import typer\napp = typer.Typer()\n@app.command()\ndef main(): ...\napp()"
"""The floor of a command line: its framework and one empty command."""


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


async def main(rounds: int) -> list[Row]:
    ready, drained, imports = [], [], []
    with a_bench_deployer() as deployer:
        for _ in range(rounds):
            began = time.perf_counter()
            deployer.terminate()
            drained.append(time.perf_counter() - began)
            began = time.perf_counter()
            deployer.start()
            ready.append(time.perf_counter() - began)
            imports.append(seconds([sys.executable, "-c", "import opsuite_deployer.composition"]))
    floor, ours = [], []
    for _ in range(rounds):
        floor.append(seconds([sys.executable, "-c", TYPER, "--help"]))
        ours.append(seconds([str(Path(sys.executable).with_name("opsuite")), "--help"]))
    return [
        Row(
            "ready after exec", f"{p50(ready):.2f} s", f"imports alone {p50(imports):.2f} s", p50(ready), 1.0, unit="s"
        ),
        Row("drain when idle", f"{p50(drained):.2f} s", "", p50(drained), 0.3, unit="s"),
        Row(
            "opsuite --help",
            ms(p50(ours) * 1000),
            f"empty typer {ms(p50(floor) * 1000)}",
            p50(ours) / p50(floor),
            1.4,
        ),
    ]
