"""The deployer's use cases on a real database and in a made-up world: every step ends when and how the test says.

Crashes, restarts and hours take no time here. What the world is asked to do can be looked at and answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, Final, TypeVar

from fakes.clock import FakeClock

from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.database import SqlStore
from opsuite_deployer.adapters.platforms import ConfiguredPlatforms
from opsuite_deployer.adapters.revisions import RevisionCache
from opsuite_deployer.application.admission import Rules
from opsuite_deployer.application.checks import Checks
from opsuite_deployer.application.deployments import Deployments
from opsuite_deployer.application.fleet import Fleet
from opsuite_deployer.application.pipelines import Pipelines
from opsuite_deployer.application.ports import CommandDefaults
from opsuite_deployer.application.preflight import Preflight
from opsuite_deployer.application.steps import Steps
from opsuite_deployer.domain.turn import Limits
from opsuite_kernel.errors import Violation
from opsuite_kernel.ids import new_id
from opsuite_platforms.port import CommandSpec, ContainerSpec, Exit, ExitKind, OnOutput
from opsuite_probes.port import Outcome, Probe, ProbeResult
from opsuite_runs.keeper import LeaseKeeper
from opsuite_runs.lease import Leases, new_owner
from opsuite_runs.watch import Hub
from opsuite_storage.store import Store

T = TypeVar("T")
FOR_EVER: Final = timedelta(days=36500)
CALM_TURNS: Final = 25
"""Turns of the loop without any work in the database after which nothing more will happen by itself."""


class World:
    """Everything outside: programs and containers that run until told to end, and the answers of health checks."""

    def __init__(self) -> None:
        self.healthy = True
        self.ready = True
        self.programs: dict[tuple[str, str], asyncio.Future[Exit]] = {}
        """What runs on this machine, by deployment and step; it dies with the deployer."""
        self.containers: dict[str, asyncio.Future[Exit]] = {}
        """What runs elsewhere, by name; it outlives the deployer."""
        self.started: list[tuple[str, str]] = []
        """Every start of a program: deployment and step."""

    # programs

    async def run_program(self, spec: CommandSpec) -> Exit:
        key = (spec.env["DEPLOYMENT_ID"], spec.argv[1])
        assert key not in self.programs, f"{key} runs already"
        self.started.append(key)
        self.programs[key] = asyncio.get_running_loop().create_future()
        try:
            return await self.programs[key]
        finally:
            del self.programs[key]

    # containers

    async def run_container(self, spec: ContainerSpec) -> Exit:
        if spec.name not in self.containers:
            self.containers[spec.name] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self.containers[spec.name])

    def running(self) -> list[asyncio.Future[Exit]]:
        """What has not ended yet, oldest first."""
        return [one for one in (*self.programs.values(), *self.containers.values()) if not one.done()]


class FakeCommands:
    """Fits `opsuite_platforms.port.CommandRunner`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, spec: CommandSpec, on_output: OnOutput) -> Exit:
        return await self._world.run_program(spec)


class FakeContainers:
    """Fits `opsuite_platforms.port.ContainerRunner`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def run(self, spec: ContainerSpec, on_output: OnOutput) -> Exit:
        return await self._world.run_container(spec)

    async def stop(self, name: str, *, grace: timedelta) -> None:
        if (container := self._world.containers.get(name)) and not container.done():
            container.set_result(Exit(ExitKind.CANCELLED))

    async def forget(self, name: str) -> None:
        self._world.containers.pop(name, None)

    async def list_names(self, label: str, value: str) -> Sequence[str]:
        return list(self._world.containers)

    async def check(self, image: str | None = None) -> None:
        return


class FakeProber:
    """Fits `opsuite_probes.port.Prober`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ask(self, probe: Probe, *, timeout: timedelta) -> ProbeResult:
        outcome = Outcome.HEALTHY if self._world.healthy else Outcome.UNHEALTHY
        return ProbeResult(outcome, outcome.value, timedelta())


class FakeMachine:
    """Fits `application.ports.Machine`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def judge(self, command: str, args: Sequence[str], directory: str | None = None) -> Sequence[str]:
        return []

    def workload(self, command: Sequence[str], directory: str) -> tuple[str, ...]:
        return tuple(command)

    def judge_workload(self, command: Sequence[str]) -> Sequence[str]:
        return []

    def program(self, command: str) -> str:
        return f"/bin/{command}"

    def directory(self, path: str) -> str:
        return f"/work/{path}"

    def free_bytes(self) -> int:
        return 1 << 40 if self._world.ready else 0

    def search_path(self) -> str:
        return "/bin"

    def secret(self, ref: Any) -> str:
        return "secret"


class AnythingGoes:
    """Fits `domain.rules.Policy`."""

    def command(self, command: str, args: Sequence[str], declared: Collection[str]) -> Sequence[Violation]:
        return []

    def workload(self, command: Sequence[str], declared: Collection[str]) -> Sequence[Violation]:
        return []

    def environment(self, names: Collection[str]) -> Sequence[Violation]:
        return []


class NoSecurityLog:
    """Fits `application.ports.SecurityLog`: nothing is refused here."""

    async def command_rejected(self, deployment: Any, step: str, problems: Sequence[str]) -> None:
        raise AssertionError(problems)


class CountingStore:
    """Passes every transaction on, and knows how many are under way."""

    def __init__(self, inner: SqlStore) -> None:
        self._inner = inner
        self.under_way = 0

    async def write(
        self,
        body: Callable[[Any], T],
        then: Callable[[T], None] | None = None,
        at_commit: Callable[[T], None] | None = None,
    ) -> T:
        self.under_way += 1
        try:
            return await self._inner.write(body, then, at_commit)
        finally:
            self.under_way -= 1

    async def read(self, body: Callable[[Any], T]) -> T:
        self.under_way += 1
        try:
            return await self._inner.read(body)
        finally:
            self.under_way -= 1


class SmallDeployer:
    """One life of a deployer over a database that outlives it."""

    def __init__(self, database: Store, clock: FakeClock, world: World, *, max_concurrent: int) -> None:
        leases = Leases(tables.deployments, lease=FOR_EVER)
        hub = Hub(_read_nothing, clock)
        self.store = CountingStore(SqlStore(database, leases, hub, new_owner(), RevisionCache(), clock))
        processes: Any = None  # no step here is a workload
        machine = FakeMachine(world)
        containers = FakeContainers(world)
        platforms = ConfiguredPlatforms(processes=processes, docker=processes, containers=containers, cluster=processes)
        rules = Rules(Limits(), max_concurrent, new_id)
        routers: Any = None  # and none is a rollout
        preflight = Preflight(
            machine=machine,
            platforms=platforms,
            routers=routers,
            min_free_bytes=1,
            security=NoSecurityLog(),
        )
        rollouts: Any = None
        webhooks: Any = None  # nor a webhook
        steps = Steps(
            commands=FakeCommands(world),
            platforms=platforms,
            checks=Checks(FakeProber(world), clock),
            rollouts=rollouts,
            webhooks=webhooks,
            machine=machine,
            clock=clock,
            defaults=CommandDefaults(),
            security=NoSecurityLog(),
        )
        self.fleet = Fleet(
            store=self.store,
            steps=steps,
            preflight=preflight,
            clock=clock,
            rules=rules,
            leases=LeaseKeeper(database, leases, clock, lease=FOR_EVER),
            poll_every=timedelta(hours=1),  # so that a lost wake-up shows
            alone=True,
        )
        self.deployments = Deployments(
            store=self.store, fleet=self.fleet, preflight=preflight, clock=clock, rules=rules
        )
        self.pipelines = Pipelines(store=self.store, clock=clock, policy=AnythingGoes())
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Recover what an earlier life left behind, and go on."""
        await self.fleet.recover()
        self._watching = asyncio.create_task(self.fleet.watch_over())

    async def crash(self) -> None:
        """Stop where it stands. What is being committed may or may not be, as with a process that is killed."""
        assert self._watching is not None
        tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("deployment ")]
        for task in (self._watching, *tasks):
            task.cancel()
        await asyncio.gather(self._watching, *tasks, return_exceptions=True)

    async def quiet(self) -> None:
        """Return when nothing more happens by itself."""
        calm = 0
        while calm < CALM_TURNS:
            await asyncio.sleep(0.0002 if self.store.under_way else 0)
            calm = 0 if self.store.under_way else calm + 1


async def _read_nothing(topic: str, after: int, limit: int) -> Sequence[Any]:
    return []
