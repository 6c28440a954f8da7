"""Measure everything, or what is named, and print one table: `python -m bench [--quick] [name …]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bench import (
    alerts,
    containers,
    growth,
    health,
    history,
    looks,
    remediation,
    repository,
    rollbacks,
    rollouts,
    rpcs,
    scaling,
    scaling_table,
    starting,
    traffic,
    watchers,
)
from bench import pipelines as pipelines_
from bench import steps as steps_
from bench.table import Row, render

Measure = Callable[[int], Coroutine[Any, Any, list[Row]]]
MEASURES: dict[str, Measure] = {
    "pipelines": pipelines_.main,
    "rpcs": rpcs.main,
    "rollbacks": rollbacks.main,
    "starting": starting.main,
    "steps": steps_.main,
    "watchers": watchers.main,
    "containers": containers.main,
    "rollouts": rollouts.main,
    "scaling": scaling.main,
    "rehearsals": scaling_table.main,
    "looks": looks.main,
    "health": health.main,
    "alerts": alerts.main,
    "remediation": remediation.main,
    "traffic": traffic.main,
    "history": history.main,
    "growth": growth.main,
    "repository": repository.main,
}


async def measured(name: str, rounds: int) -> list[Row]:
    """The rows of one measurement; a fault is a row too, and spoils no other."""
    began = time.monotonic()
    try:
        rows = await MEASURES[name](rounds)
    except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - the others are to come
        rows = [Row(name, "", why_not=f"{type(error).__name__}: {error}"[:160])]
    sys.stderr.write(f"{name}: {time.monotonic() - began:.0f} s\n")
    return rows


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(MEASURES)}; all by default")
    parser.add_argument("--rounds", type=int, default=6, help="rounds in turn with the floor (default 6)")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASURES):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    for name in options.names or MEASURES:
        rows += await measured(name, options.rounds)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load averages at the end {load}\n")
    print(render(rows))
    return 1 if any(row.reached is False or row.why_not for row in rows) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
