"""A healer that is told to stop in the middle of an action gives the execution back, and the next one goes on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from fakes.healer_runbooks import runbook_stage, stand, step

from opsuite_healer.application.runbooks import executor


async def test_an_action_that_does_not_end_in_time_is_repeated_under_its_key_by_the_next_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor, "DRAIN_SECONDS", 0.05)
    with tempfile.TemporaryDirectory(prefix="opsuite-") as place:
        async with runbook_stage(Path(place)) as first:
            first.actions.held["one"] = asyncio.Event()
            await first.create(step("one"), step("two"))
            name = await first.execute()
            while not first.actions.taken:  # noqa: ASYNC110 - the action begins by itself
                await asyncio.sleep(0.005)
        async with runbook_stage(Path(place)) as second:
            ended = await second.ended(name)

    assert first.actions.cut_short == ["one"]
    assert (stand(ended), second.actions.taken) == ("SUCCEEDED", ["one", "two"])
    assert second.actions.calls[0].key == first.actions.calls[0].key
