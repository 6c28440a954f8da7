"""Random lives of a deployer, with crashes and jumps of time, against what must always hold."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa
import structlog
from fakes.clock import FakeClock
from fakes.oracle import Oracle, names
from fakes.pipelines import Form, a_docker, a_gate, a_pipeline, a_stage, an_http_check
from fakes.pipelines import a_command as a_step
from fakes.small_deployer import SmallDeployer, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from opsuite.deployer.v1 import deployment_pb2, pipeline_pb2
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.pipeline_messages import document_of, pipeline_of
from opsuite_deployer.application.deployments import Call, Reference
from opsuite_deployer.application.entry import DeployWish
from opsuite_deployer.application.pipelines import Registration
from opsuite_deployer.composition import MIGRATIONS
from opsuite_deployer.domain.deployment import TERMINAL
from opsuite_deployer.domain.errors import IllegalTransition
from opsuite_deployer.domain.turn import Verb
from opsuite_kernel.errors import Conflict, InvalidInput, NotFound, Stale
from opsuite_platforms.port import Exit, ExitKind
from opsuite_runs.port import Replay
from opsuite_storage.migrations import migrate
from opsuite_storage.store import open_store

MAX_CONCURRENT: Final = 2
PATIENCE: Final = 60
"""Rounds of help, without anything happening, after which a deployment counts as stuck."""

GATE: Final = a_gate("answers", an_http_check("home", "http://127.0.0.1/", failureThreshold=1))
PAUSING_GATE: Final = GATE | {"onFailure": "GATE_FAILURE_PAUSE"}
RETRIED: Final = {"attempts": 2, "backoff": "60s", "maxBackoff": "60s"}
FORMS: Final[list[tuple[str, list[Form], Form]]] = [
    ("plain", [a_stage("build", a_step("make", "make", "a"), a_step("test", "make", "b", idempotent=True))], {}),
    (
        "wide",
        [
            a_stage(
                "both",
                a_step("left", "make", "a"),
                a_step("right", "make", "b", retry=RETRIED),
                parallel=True,
                onSiblingFailure="SIBLING_POLICY_WAIT_ALL",
            ),
            a_stage("aside", a_step("c", "make", "c"), needs={"stages": []}, gates=[PAUSING_GATE]),
            a_stage("last", a_step("d", "make", "d", onRollback="ON_ROLLBACK_SKIP"), gates=[GATE]),
        ],
        {"concurrency": "CONCURRENCY_POLICY_REPLACE"},
    ),
    (
        "boxed",
        [
            a_stage("box", a_docker("box", "busybox"), gates=[PAUSING_GATE]),
            a_stage("more", a_step("a", "make", "a"), continueOnFailure=True),
        ],
        {"concurrency": "CONCURRENCY_POLICY_CANCEL_RUNNING", "timeout": "600s", "maxDuration": "7200s"},
    ),
    (
        "hooked",
        [a_stage("build", a_step("make", "make", "a"), gates=[GATE]), a_stage("last", a_docker("box", "busybox"))],
        {
            "hooks": [
                a_step("first", "make", "b", before="HOOK_PHASE_DEPLOYMENT", idempotent=True),
                a_step("ask", "make", "c", before="HOOK_PHASE_STAGE", onFailure="HOOK_FAILURE_PAUSE", retry=RETRIED),
                a_docker("well", "busybox", after="HOOK_PHASE_DEPLOYMENT"),
                a_step("badly", "make", "d", after="HOOK_PHASE_FAILURE", retry=RETRIED),
                a_docker("boxed", "busybox", after="HOOK_PHASE_FAILURE"),
                a_step("back", "make", "e", after="HOOK_PHASE_ROLLBACK", idempotent=True),
            ]
        },
    ),
    ("plain", [a_stage("build", a_step("make", "make", "z"))], {"concurrency": "CONCURRENCY_POLICY_REJECT"}),
    ("wide", [a_stage("build", a_step("make", "make", "z"))], {"rollbackEnabled": False}),
]
PIPELINES: Final = tuple(
    a_pipeline(name, *stages, environments=["staging", "production"], **fields) for name, stages, fields in FORMS
)
LATE: Final = st.integers(0, 4)
"""Which of some things, counted from the newest: what happened lately is what matters."""
IN_CI: Final = os.environ.get("CI") == "true"
"""There the sample is always the same, as in tests/conftest.py; elsewhere every run explores."""
REFUSALS: Final = (Conflict, InvalidInput, NotFound, Stale)
ENDS: Final = {
    "well": Exit(ExitKind.EXITED, 0),
    "badly": Exit(ExitKind.EXITED, 1),
    "late": Exit(ExitKind.TIMED_OUT),
}


@functools.cache
def migrated() -> bytes:
    """A database file with the deployer's tables and nothing in them."""

    async def make(directory: Path) -> None:
        store = open_store("sqlite", data_dir=directory, name="deployer")
        await migrate(store, MIGRATIONS)
        await store.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(make(Path(directory)))
        return Path(directory, "deployer.db").read_bytes()


class Lives(RuleBasedStateMachine):
    """A deployer, whatever happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="opsuite-"))
        (self.directory / "deployer.db").write_bytes(migrated())
        self.loop = asyncio.Runner()
        self.clock = FakeClock()
        self.world = World()
        self.log = structlog.testing.LogCapture()
        structlog.configure(processors=[self.log])
        self.settled = True
        self.oracle = Oracle(MAX_CONCURRENT)
        self.repeatable: Callable[[], Coroutine[Any, Any, Any]] | None = None
        self.database = self.loop.run(self._open())
        self.deployer = self._new_life()
        self.loop.run(self.deployer.start())

    async def _open(self) -> Any:
        return open_store("sqlite", data_dir=self.directory, name="deployer", clock=self.clock)

    def _new_life(self) -> SmallDeployer:
        return SmallDeployer(self.database, self.clock, self.world, max_concurrent=MAX_CONCURRENT)

    # ---- what people do ---------------------------------------------------------------------------------------------

    @initialize()
    def register_all(self) -> None:
        for pipeline in PIPELINES[:3]:
            self._do(self.deployer.pipelines.register(_registration(pipeline)))
            name = pipeline.name.removeprefix("pipelines/")
            self._do(self.deployer.deployments.deploy(DeployWish(name, "1", "staging"), _call("Deploy", name)))
        self._let_go_well(rounds=6)  # so that there is something to go back to

    @rule(pipeline=st.sampled_from(PIPELINES))
    def register(self, pipeline: pipeline_pb2.Pipeline) -> None:
        self._do(self.deployer.pipelines.register(_registration(pipeline)))

    @rule(name=st.sampled_from(["plain", "wide", "boxed"]))
    def delete(self, name: str) -> None:
        self._do(self.deployer.pipelines.delete(name, "", None))

    @rule(
        pipeline=st.sampled_from(["plain", "wide", "boxed"]),
        environment=st.sampled_from(["staging", "production"]),
        version=st.sampled_from(["1", "2", "3"]),
        settle=st.booleans(),
    )
    def deploy(self, pipeline: str, environment: str, version: str, settle: bool) -> None:
        wish, call = DeployWish(pipeline, version, environment), _call("Deploy", version)
        if self._do(self.deployer.deployments.deploy(wish, call), settle=settle):
            self.repeatable = lambda: self.deployer.deployments.deploy(wish, call)

    @rule(pipeline=st.sampled_from(["plain", "plain", "wide", "boxed"]), number=st.integers(2, 4))
    def deploy_some(self, pipeline: str, number: int) -> None:
        for version in range(number):
            wish = DeployWish(pipeline, str(version), "staging")
            self._do(self.deployer.deployments.deploy(wish, _call("Deploy", str(version))), settle=False)
        self._settle()

    @rule(which=LATE, settle=st.booleans())
    def cancel(self, which: int, settle: bool) -> None:
        self._steer(which, lambda it: self.deployer.deployments.cancel(it, "", "", _call("Cancel", it.uid)), settle)

    @rule(which=LATE, settle=st.booleans())
    def pause(self, which: int, settle: bool) -> None:
        self._steer(which, lambda it: self.deployer.deployments.pause(it, "", "", _call("Pause", it.uid)), settle)

    @rule(which=LATE, settle=st.booleans())
    def resume(self, which: int, settle: bool) -> None:
        self._steer(which, lambda it: self.deployer.deployments.resume(it, "", "", _call("Resume", it.uid)), settle)

    @rule(which=LATE)
    def retry(self, which: int) -> None:
        self._steer(which, lambda it: self.deployer.deployments.retry(it, "", _call("Retry", it.uid)))

    @rule(which=LATE, settle=st.booleans())
    def roll_back(self, which: int, settle: bool) -> None:
        self._steer(
            which, lambda it: self.deployer.deployments.rollback(it, None, "", _call("Rollback", it.uid)), settle
        )

    @rule(which=LATE, to=LATE)
    def roll_back_to(self, which: int, to: int) -> None:
        target = self._pick(to)
        if target is not None:
            self._steer(which, lambda it: self.deployer.deployments.rollback(it, target, "", _call("Rollback", it.uid)))

    @rule(verb=st.sampled_from([Verb.RETRY_STEP, Verb.SKIP_STEP]), which=LATE)
    def decide_step(self, verb: Verb, which: int) -> None:
        parts = self._query(sa.select(tables.parts).where(tables.parts.c.status == "INTERRUPTED"))
        rows = self._rows()
        if parts:
            part = parts[which % len(parts)]
            row = rows[part["deployment"]]
            step = self.loop.run(self._names_of(row, part))
            call = _call("Step", f"{row['id']}{step}")
            self._do(self.deployer.deployments.decide_step(verb, _reference(row), step, "", "", call))

    @rule()
    def repeat_a_call(self) -> None:
        if self.repeatable is not None:
            self._settle()  # what is still under way may make a deployment of its own: a rollback
            before = self._count()
            self._do(self.repeatable())
            assert self._count() == before, "a repeated call made something new"

    # ---- what the world does ----------------------------------------------------------------------------------------

    @rule(which=LATE, how=st.sampled_from(sorted(ENDS)), settle=st.booleans())
    def end_a_step(self, which: int, how: str, settle: bool) -> None:
        if running := self.world.running():
            running[which % len(running)].set_result(ENDS[how])
        self._settle(settle)

    @rule(rounds=st.integers(1, 4))
    def let_everything_go_well(self, rounds: int) -> None:
        self._let_go_well(rounds)

    @rule(healthy=st.booleans(), ready=st.sampled_from([True, True, True, False]))
    def change(self, healthy: bool, ready: bool) -> None:
        self.world.healthy, self.world.ready = healthy, ready

    @rule(by=st.sampled_from([1, 61, 3600, 8 * 86400]))
    def let_time_pass(self, by: int) -> None:
        self._settle()
        self.loop.run(self._later(timedelta(seconds=by)))

    @rule(by=st.sampled_from([-3600, -1]))
    def set_the_clock_back(self, by: int) -> None:
        self.clock.jump(timedelta(seconds=by))

    @rule()
    def crash(self) -> None:
        self.loop.run(self._crash())
        self._settle()

    # ---- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def everything_holds(self) -> None:
        if not self.settled:
            return  # what is under way is nobody's to judge
        self._check_log()
        executing = self._query(sa.select(tables.parts).where(tables.parts.c.status == "RUNNING"))
        self.oracle.check(self._rows(), self._new_events(), executing, {uid for uid, _ in self.world.programs})

    def teardown(self) -> None:
        try:
            self._settle()
            self._finish()
            self.everything_holds()
        finally:
            self.loop.run(self.deployer.crash())
            self.loop.run(self.database.close())
            self.loop.close()
            structlog.reset_defaults()
            shutil.rmtree(self.directory)

    def _finish(self) -> None:
        """Everything comes to an end once people and the world do their part."""
        self.world.healthy = self.world.ready = True
        without_news = events = 0
        while left := [row for row in self._rows().values() if row["status"] not in names(TERMINAL)]:
            self._help(left)
            now = sum(row["revision"] for row in self._rows().values())
            without_news = 0 if now > events else without_news + 1
            events = now
            stuck = [(row["id"], row["status"], row["reason"]) for row in left]
            assert without_news < PATIENCE, f"stuck: {stuck}"
            if without_news:  # a clock that was set back makes what is due wait longer
                self.loop.run(self._later(timedelta(seconds=61 if without_news < PATIENCE / 2 else 3600)))

    def _help(self, left: list[Mapping[str, Any]]) -> None:
        """End what runs, and let what waits for a person go on."""
        for step in self.world.running():
            step.set_result(ENDS["well"])
        self._settle()
        rows = self._rows().values()
        barred = {
            (row["pipeline"], row["environment"])
            for row in rows
            if row["status"] == "ROLLBACK_FAILED" and row["holds_slot"]
        }
        for row in left:
            if row["pause_reason"] == "INTERRUPTED":
                self._do(self.deployer.deployments.cancel(_reference(row), "", "", _call("Cancel", "")))
            elif row["status"] == "PAUSED":
                self._do(self.deployer.deployments.resume(_reference(row), "", "", _call("Resume", "")))
            elif row["status"] == "QUEUED" and (row["pipeline"], row["environment"]) in barred:
                self._do(self.deployer.deployments.cancel(_reference(row), "", "", _call("Cancel", "")))

    def _check_log(self) -> None:
        crashed = [entry for entry in self.log.entries if entry["event"] in {"runner_crashed", "step_crashed"}]
        assert not crashed, crashed

    # ---- small things -----------------------------------------------------------------------------------------------

    def _steer(self, which: int, call: Callable[[Reference], Coroutine[Any, Any, Any]], settle: bool = True) -> None:
        reference = self._pick(which)
        if reference is not None:
            self._do(call(reference), settle=settle)

    def _let_go_well(self, rounds: int) -> None:
        self.world.healthy = self.world.ready = True
        for _ in range(rounds):
            for step in self.world.running():
                step.set_result(ENDS["well"])
            self._settle()

    async def _names_of(self, row: Mapping[str, Any], part: Mapping[str, Any]) -> tuple[str, str]:
        """Stage and step of a part."""
        uid, number = row["pipeline"], row["pipeline_revision"]
        revision = await self.deployer.store.read(lambda tx: tx.revision_of(uid, number))
        stage = revision.pipeline.stages[part["stage"]]
        return stage.name, stage.steps[part["position"]].name

    def _pick(self, which: int) -> Reference | None:
        """A deployment, preferably a late one."""
        rows = sorted(self._rows().values(), key=lambda row: str(row["id"]), reverse=True)
        return _reference(rows[which % len(rows)]) if rows else None

    def _do(self, work: Coroutine[Any, Any, Any], *, settle: bool = True) -> bool:
        """Whether it was not refused."""
        done = self.loop.run(_refusable(work))
        self._settle(settle)
        return done

    def _settle(self, settle: bool = True) -> None:
        self.settled = settle
        if settle:
            self.loop.run(self.deployer.quiet())

    async def _later(self, by: timedelta) -> None:
        await self.deployer.quiet()
        self.clock.advance(by)
        for row in await self._read(sa.select(tables.deployments.c.id)):
            self.deployer.fleet.nudge(row["id"])
        await self.deployer.quiet()

    async def _crash(self) -> None:
        await self.deployer.crash()
        self.deployer = self._new_life()
        await self.deployer.start()
        await self.deployer.quiet()

    def _count(self) -> int:
        return len(self._rows())

    def _rows(self) -> dict[str, Mapping[str, Any]]:
        leave_out = {"owner", "epoch", "lease_expires_at"}
        rows = self._query(sa.select(tables.deployments))
        return {row["id"]: {key: value for key, value in row.items() if key not in leave_out} for row in rows}

    def _new_events(self) -> Iterator[tuple[int, deployment_pb2.DeploymentEvent]]:
        c = tables.events.events.c
        for row in self._query(
            sa.select(c.position, c.payload).where(c.position > self.oracle.seen_events).order_by(c.position)
        ):
            yield row["position"], deployment_pb2.DeploymentEvent.FromString(row["payload"])

    def _query(self, statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
        return self.loop.run(self._read(statement))

    async def _read(self, statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
        def read(connection: sa.Connection) -> list[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(statement).mappings()]

        found: list[Mapping[str, Any]] = await self.database.read(read)
        return found


async def _refusable(work: Coroutine[Any, Any, Any]) -> bool:
    try:
        await work
    except IllegalTransition as error:
        raise AssertionError(str(error)) from error
    except REFUSALS:
        return False
    return True


def _registration(pipeline: pipeline_pb2.Pipeline) -> Registration:
    return Registration(pipeline_of(pipeline), document_of(pipeline), "", "tester")


def _call(method: str, about: str) -> Call:
    return Call("tester", replay=Replay("tester", method, str(uuid.uuid4()), about.encode()))


def _reference(row: Mapping[str, Any]) -> Reference:
    return Reference(row["pipeline"], row["environment"], row["id"])


def live(examples: int, steps: int) -> None:
    """Run that many random lives."""
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=IN_CI,
            print_blob=True,
        ),
    )


def test_invariants_hold_whatever_people_the_world_and_time_do() -> None:
    live(examples=40, steps=30)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_invariants_hold_in_many_long_lives() -> None:
    live(examples=3000, steps=80)
