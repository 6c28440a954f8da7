"""A healer that is killed in every step of a runbook, one life after the other, does each thing once."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import uuid
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fakes.healer_runbook_process import RunbookProcess, done_in
from fakes.healer_runbooks import stand, step, undo
from google.protobuf import json_format

from opsuite.healer.v1 import runbook_pb2
from opsuite.healer.v1 import runbook_service_pb2 as pb
from opsuite_healer.composition import runbooks
from opsuite_kernel.errors import TimedOut, Unavailable
from opsuite_runs import faults

PATIENCE_SECONDS = 180.0
"""Only a healer that is stuck needs so long."""
AGAIN_SECONDS = 0.05
FAULTS = ["healer.runbook_intended:2", "healer.runbook_acted:2"]
"""Each life passes the place once, for the step in which the one before it died, and dies at the next."""
LONG = ["healer.runbook_advanced:2", "healer.runbook_recorded:1", "healer.written:3", "healer.committed:3"]
EXECUTIONS = "runbooks/fix/executions/"
STEPS = [step("one", compensate=undo("one")), step("two", compensate=undo("two")), step("fail three")]
STEPS[2]["name"] = "three"
DONE = ["one", "two", "fail three", "undo two", "undo one"]


def test_every_fault_point_of_the_executor_is_among_these() -> None:
    assert callable(runbooks.runbooks)  # what it imports has declared its points
    declared = {name for name in faults.declared() if name.startswith("healer.runbook_")}
    assert declared - {"healer.runbook_begun"} <= {fault.partition(":")[0] for fault in [*FAULTS, *LONG]}


@pytest.mark.parametrize("fault", [*FAULTS, *(pytest.param(fault, marks=pytest.mark.long) for fault in LONG)])
async def test_each_life_dies_in_the_step_after_the_one_before_it_and_everything_is_done_once(fault: str) -> None:
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place:
        world = Path(place) / "world"
        healer = RunbookProcess(Path(place) / "healer", world)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                lives, ended = await _live_until_it_is_over(healer, fault)
        finally:
            await healer.kill()
        revisions, done = _revisions(healer.directory / "healer.db"), done_in(world)

    assert done == DONE
    assert (stand(ended), ended.message) == ("FAILED", "three: as it was told to")
    assert [one.step for one in ended.steps] == ["one", "two", "three", "two", "one"]
    assert lives >= (len(DONE) - 1 if fault in FAULTS else 1)
    assert revisions == list(range(1, len(revisions) + 1))


async def _live_until_it_is_over(healer: RunbookProcess, fault: str) -> tuple[int, runbook_pb2.Execution]:
    """Lives that died, and how the execution ended."""
    form = {"name": "runbooks/fix", "steps": STEPS}
    ids = [str(uuid.uuid4()) for _ in range(2)]
    create = json_format.ParseDict({"requestId": ids[0], "runbook": form}, pb.CreateRunbookRequest())
    execute = pb.ExecuteRunbookRequest(request_id=ids[1], name="runbooks/fix")
    lives = 0
    while True:
        await healer.start(OPSUITE_FAULT=fault)
        await _insist(healer, lambda stub: stub.CreateRunbook(create))
        begun = await _insist(healer, lambda stub: stub.ExecuteRunbook(execute))
        ended = None if begun is None else await _over(healer, begun.execution.name)
        if ended is not None:
            return lives, ended
        await healer.wait_until_killed()
        lives += 1


async def _insist(healer: RunbookProcess, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """The answer to a call; None if nobody is left to give one."""
    while not healer.is_gone:
        try:
            async with healer.client() as stub:
                return await call(stub)
        except (Unavailable, TimedOut, FileNotFoundError):
            await asyncio.sleep(AGAIN_SECONDS)
    return None


async def _over(healer: RunbookProcess, name: str) -> runbook_pb2.Execution | None:
    """The execution once it is over; None if the healer dies before."""
    while True:
        found = await _insist(healer, lambda stub: stub.GetExecution(pb.GetExecutionRequest(name=name)))
        if found is None or found.execution.HasField("end_time"):
            return None if found is None else found.execution
        await asyncio.sleep(AGAIN_SECONDS)


def _revisions(database: Path) -> list[int]:
    """Numbers of the events of the execution, as they were told."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT revision FROM events WHERE resource LIKE ? ORDER BY position", (f"{EXECUTIONS}%",)
        )
        return [revision for (revision,) in rows]
