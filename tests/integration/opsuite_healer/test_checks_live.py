"""Checks that ask real sockets, programs and processes, by the real service over a real database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from deployer import own_ports
from fakes.healer_checks import HEALTHY, UNHEALTHY, UNKNOWN, CheckStage, a_check, a_closed_port, check_stage
from fakes.web_workload import SERVER, pids_of
from scaler import a_place
from server_processes import listens

from opsuite.healer.v1 import check_pb2, target_pb2
from opsuite.healer.v1 import health_check_service_pb2 as pb
from opsuite_healer.domain.targets import TargetRef
from opsuite_platforms.port import PortSpec, WorkloadSpec
from opsuite_platforms.process import ProcessPlatform
from opsuite_probes.port import Outcome

PATIENCE_SECONDS = 120.0
"""Only what will never come takes so long."""
SHOP = TargetRef("process", "shop")


@pytest.fixture
def place() -> Iterator[Path]:
    with a_place() as found:
        yield found


@asynccontextmanager
async def a_shop(place: Path, replicas: int = 2, command: tuple[str, ...] = ()) -> AsyncIterator[CheckStage]:
    """Checks of a machine on which a small web server runs."""
    ports = own_ports()
    first, _, last = ports.partition("-")
    script = place / "serve"
    script.write_text(SERVER)
    script.chmod(0o755)
    platform = ProcessPlatform(place / "suite", ports=range(int(first), int(last) + 1))
    spec = WorkloadSpec(
        "shop",
        "1",
        command or (str(script), "${port}"),
        "/",
        env={"PATH": os.environ["PATH"], "DEPLOYMENT_VERSION": "1"},
        ports=(PortSpec("http"),),
        replicas=replicas,
    )
    try:
        await asyncio.to_thread(platform.supervisord.start)
        await platform.apply(spec, epoch=1)
        if not command:
            await _until_served(platform)
        stage = check_stage(place / "healer", platform_dir=place / "suite", workload_ports=ports)
        async with asyncio.timeout(PATIENCE_SECONDS), stage as checks:
            yield checks
    finally:
        platform.close()


WEB = a_check(
    "web",
    target={"platform": "process", "workload": "shop"},
    http={"url": "http://127.0.0.1:${port}/alive"},
    startupGrace="0s",
    timeout="2s",
    interval="5s",
)
STATE = a_check(
    "state",
    target={"platform": "process", "workload": "shop"},
    state={},
    startupGrace="0s",
    timeout="2s",
    interval="5s",
)


def often(form: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return form | {"interval": "0.2s", "timeout": "0.2s"} | fields


async def test_a_check_finds_trouble_and_tells_when_it_is_over(tmp_path: Path) -> None:
    port = a_closed_port()
    async with asyncio.timeout(PATIENCE_SECONDS), check_stage(tmp_path) as checks:
        await checks.create(a_check("shop", tcp={"address": f"127.0.0.1:{port}"}, issue="SHOP_DOWN"))

        down = await checks.until("healthChecks/shop", UNHEALTHY)

        assert down.last.message == "connection refused"
        assert checks.troubles.open_issues == ["SHOP_DOWN -/shop"]
        trouble = checks.troubles.found_ones[0]
        assert trouble.labels == {"workload": "shop", "issue": "SHOP_DOWN", "severity": "error", "check": "shop"}
        assert (trouble.source, trouble.summary) == ("healthChecks/shop", "-/shop is SHOP_DOWN: connection refused")
        assert trouble.traceparent.startswith("00-")

        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", port)
        async with server:
            await checks.until("healthChecks/shop", HEALTHY)

        assert checks.troubles.open_issues == []


async def test_each_replica_is_asked_where_its_platform_put_it(place: Path) -> None:
    async with a_shop(place) as checks:
        await checks.create(often(WEB))
        for replica in ("shop-0", "shop-1"):
            await checks.until("healthChecks/web", HEALTHY, replica)

        await checks.create(often(STATE))
        pid = await _pid(checks, "shop-1")
        os.kill(pid, signal.SIGSTOP)
        try:
            await checks.until("healthChecks/web", UNHEALTHY, "shop-1")
            assert checks.troubles.open_issues == ["UNHEALTHY process/shop#shop-1"]
            # It hangs, which nobody sees who only looks whether it runs.
            await checks.until("healthChecks/state", HEALTHY, "shop-1")
            health = await checks.health.of_replicas(SHOP)
            assert (health.healthy, health.unhealthy) == (1, 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        await checks.until("healthChecks/web", HEALTHY, "shop-1")
        assert checks.troubles.open_issues == []


async def test_a_crash_is_told_of_the_replica_that_crashes(place: Path) -> None:
    async with a_shop(place, 1, ("/bin/false",)) as checks:
        await checks.create(often(STATE))

        crashed = await checks.until("healthChecks/state", UNHEALTHY, "shop-0")

        assert crashed.last.issue == "CRASHED"
        assert checks.troubles.open_issues == ["CRASHED process/shop#shop-0"]


async def test_a_replica_that_is_not_there_any_more_is_in_no_trouble(place: Path) -> None:
    async with a_shop(place, 2, ("/bin/false",)) as checks:
        await checks.create(often(STATE))
        for replica in ("shop-0", "shop-1"):
            await checks.until("healthChecks/state", UNHEALTHY, replica)

        await checks.stage.house.platforms["process"].scale("shop", 1)
        await checks.next_events("healthChecks/state", check_pb2.CHECK_EVENT_KIND_SUBJECT_GONE)

        assert checks.troubles.open_issues == ["CRASHED process/shop#shop-0"]
        assert "shop-1" not in [one.replica for one in (await checks.get("healthChecks/state")).health.subjects]


async def test_a_workload_that_is_not_there_is_missing(place: Path) -> None:
    async with a_shop(place) as checks:
        await checks.create(
            often(STATE, name="healthChecks/other", target={"platform": "process", "workload": "other"})
        )

        await checks.until("healthChecks/other", UNHEALTHY)

        assert checks.troubles.open_issues == ["MISSING process/other"]


async def test_a_platform_that_is_away_is_no_trouble_of_what_runs_on_it(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with check_stage(tmp_path, kubeconfig=nobodys_cluster(tmp_path)) as checks:
            await checks.create(a_check("box", target={"platform": "kubernetes", "workload": "box"}, state={}))

            seen = await checks.until_said("healthChecks/box", "cannot be asked")

            assert seen.outcome == UNKNOWN
            assert checks.troubles.open_issues == []


async def test_a_program_says_whether_all_is_well(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with check_stage(tmp_path, command_names="true,false") as checks:
            slow = {"timeout": "5s", "interval": "5s"}
            await checks.create(a_check("yes", command={"command": "true"}, **slow))
            await checks.create(a_check("no", command={"command": "false"}, **slow))

            await checks.until("healthChecks/yes", HEALTHY)
            said = await checks.until("healthChecks/no", UNHEALTHY)

            assert said.last.message == "exit status 1"


async def test_a_disk_that_is_fuller_than_allowed_is_told_by_its_name(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS), check_stage(tmp_path) as checks:
        await checks.create(a_check("disk", disk={"path": "/", "raisePercent": 1, "clearPercent": 0}, timeout="0.1s"))

        said = await checks.until("healthChecks/disk", UNHEALTHY)

        assert 1 <= said.last.value <= 100
        assert checks.troubles.open_issues == ["DISK_FULL -/disk"]


async def test_after_an_action_the_checks_count_from_nothing(place: Path) -> None:
    async with a_shop(place, 1, ("/bin/false",)) as checks:
        await checks.create(often(STATE))
        await checks.until("healthChecks/state", UNHEALTHY, "shop-0")

        await checks.health.acted_on(replace(SHOP, replica="shop-0"), grace=timedelta(hours=1))

        health = await checks.health.of(SHOP)
        assert (health.outcome, health.since) == (Outcome.UNKNOWN, None)
        assert checks.troubles.open_issues == ["CRASHED process/shop#shop-0"]  # nobody knows better yet
        await checks.health.look_now(SHOP)
        seen = await checks.until_said("healthChecks/state", "does not count yet", "shop-0")
        assert seen.outcome == UNKNOWN


async def test_one_look_more_is_made_at_once_when_somebody_wants_it(place: Path) -> None:
    async with a_shop(place) as checks:
        await checks.create(WEB | {"interval": "3600s"})
        await checks.until("healthChecks/web", HEALTHY, "shop-0")
        pid = await _pid(checks, "shop-0")
        os.kill(pid, signal.SIGSTOP)
        try:
            await checks.health.look_now(SHOP)

            await checks.until("healthChecks/web", UNHEALTHY, "shop-0")
        finally:
            os.kill(pid, signal.SIGCONT)
        answer: pb.CheckAllResponse = await checks.stub.CheckAll(pb.CheckAllRequest())
        assert (answer.checks, answer.healthy, answer.unhealthy, answer.unknown) == (1, 0, 1, 0)
        await checks.until("healthChecks/web", HEALTHY, "shop-0")


async def test_a_target_is_asked_by_hand_and_that_counts_for_nothing(place: Path) -> None:
    async with a_shop(place) as checks:
        await checks.create(WEB | {"interval": "3600s", "successThreshold": 3})
        await checks.create(STATE | {"interval": "3600s", "successThreshold": 3})
        target = target_pb2.TargetRef(platform="process", workload="shop", replica="shop-1")

        for _ in range(5):
            answer: pb.CheckTargetResponse = await checks.stub.CheckTarget(pb.CheckTargetRequest(target=target))

        said = [(one.check, one.replica, one.answer.outcome) for one in answer.answers]
        assert said == [("healthChecks/state", "shop-1", HEALTHY), ("healthChecks/web", "shop-1", HEALTHY)]
        assert answer.outcome == UNKNOWN


async def test_a_group_counts_each_of_its_targets_once(tmp_path: Path) -> None:
    down, open_ = a_closed_port(), await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    up = open_.sockets[0].getsockname()[1]
    async with open_, asyncio.timeout(PATIENCE_SECONDS), check_stage(tmp_path) as checks:
        for name, workload, port in (("a", "one", up), ("b", "one", down), ("c", "two", up)):
            form = a_check(name, target={"workload": workload}, tcp={"address": f"127.0.0.1:{port}"}, group="fleet")
            await checks.create(form)
            await checks.until(f"healthChecks/{name}", UNHEALTHY if port == down else HEALTHY)

        fleet = await checks.health.of_group("fleet")

        assert (fleet.healthy, fleet.unhealthy, fleet.unknown) == (1, 1, 0)
        assert (await checks.health.of_group("nobody")).total == 0


def nobodys_cluster(folder: Path) -> Path:
    """The way to an API server that is not there."""
    cluster = {"server": f"http://127.0.0.1:{a_closed_port()}"}
    config = {
        "clusters": [{"name": "it", "cluster": cluster}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "users": [{"name": "it", "user": {}}],
        "current-context": "it",
    }
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


async def _until_served(platform: ProcessPlatform) -> None:
    """Wait until every replica takes connections."""
    for replica in (await platform.observe("shop")).replicas:
        while not listens(replica.ports["http"]):  # noqa: ASYNC110 - a process of somebody else has no event of ours
            await asyncio.sleep(0.02)


async def _pid(checks: CheckStage, replica: str) -> int:
    """Process of a replica of the shop."""
    return (await pids_of(checks.stage.house.platforms["process"], "shop"))[replica]
