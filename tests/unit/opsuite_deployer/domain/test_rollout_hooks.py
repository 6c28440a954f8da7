"""Hooks of rollouts, played through the whole core: a deployment, its rollout, and a small world around it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fakes.deployments import Play, a_pipeline, a_stage, a_step
from fakes.rollout_world import GOOD, SECOND, Behaviour, RolloutWorld

from opsuite_deployer.domain.deployment import PartKey, PartKind, PauseReason, Status, StepStatus
from opsuite_deployer.domain.hook_points import (
    AFTER_PROMOTION,
    BEFORE_INCREASE,
    BEFORE_PROMOTION,
    BEFORE_TRAFFIC,
    OF_ROLLOUTS,
    HookPoint,
)
from opsuite_deployer.domain.hooks import usual_failure, woven
from opsuite_deployer.domain.pipeline import Hook, OnFailure, Port, Retry, Rollout, Workload
from opsuite_deployer.domain.rollout_parts import plan_of, rollout_at
from opsuite_deployer.domain.rollout_run import RolloutStart
from opsuite_deployer.domain.rollout_state import Phase
from opsuite_deployer.domain.routing import EdgeRouter, TrafficRouting
from opsuite_deployer.domain.strategy import BlueGreen, Canary, Pause, Rolling, SetWeight, Strategy
from opsuite_deployer.domain.turn import Outcome, Realise, RolloutSeen, RunPart, StopPart, Verb, Wish

GRADUAL = Canary((SetWeight(10), SetWeight(50)), scale_down_delay=30 * SECOND)
COLOURS, ROLLING = BlueGreen(), Rolling()
HOUR = timedelta(hours=1)


class RolloutPlay(Play):
    """A deployment of one rollout, and the world that it changes. Hooks run for five seconds."""

    def __init__(
        self,
        *points: HookPoint,
        strategy: Strategy = GRADUAL,
        routed: bool = True,
        stable: str | None = "web-old",
        outcome: Outcome = Outcome.SUCCEEDED,
        new: Behaviour = GOOD,
        hook: dict[str, Any] | None = None,
        step: dict[str, Any] | None = None,
        **deployment: Any,
    ) -> None:
        workload = Workload("web", ("serve",), ports=(Port("http"),), replicas=4)
        traffic = TrafficRouting(EdgeRouter(8080)) if routed else None
        kind = Rollout(workload, strategy, traffic=traffic)
        hooks = tuple(
            Hook(point, a_step(f"hook-{index}", **{"on_failure": usual_failure(point), **(hook or {})}))
            for index, point in enumerate(points)
        )
        stage = a_stage("shop", a_step("roll", kind=kind, **(step or {})))
        super().__init__(woven(a_pipeline(stage, hooks=hooks)), **deployment)
        self.key = PartKey([one.name for one in self.pipeline.stages].index("shop"), PartKind.STEP, 0)
        self.start_ = RolloutStart(stable)
        rollout = rollout_at(self.pipeline, self.deployment, self.key)
        assert rollout is not None
        self.world = RolloutWorld(plan_of(rollout, self.deployment, self.start_), new=new)
        self.outcome = outcome
        self.told: list[str] = []
        self.running: dict[PartKey, timedelta] = {}
        self.pace = SECOND

    @property
    def phase(self) -> Phase:
        """Where the rollout stands."""
        run = self.deployment.part(self.key).rollout
        assert run is not None
        return run.state.phase

    def live(self, until: Callable[[], bool] = lambda: False) -> None:
        """Look again and again until it has ended, or `until` says so."""
        self.start()
        self.go_on(until)

    def go_on(self, until: Callable[[], bool] = lambda: False) -> None:
        """The same for one that has started."""
        while not self.turn.concluded and not until():
            assert self.world.time < HOUR, self.deployment
            self._note()
            self.world.pass_time(self.pace)
            self.now = self.world.now
            self._end_hooks()
            if self.deployment.part(self.key).is_executing:
                self._look()
            else:
                self.take()

    def _look(self) -> None:
        attempt = self.deployment.part(self.key).attempt
        self.take(RolloutSeen(self.key, attempt, self.start_, self.world.seen()))
        realise = next(action for action in self.turn.actions if isinstance(action, Realise))
        run = self.deployment.part(self.key).rollout
        assert run is not None
        self.world.state = run.state
        self.world.act(realise.want)
        self._note()
        if realise.ended is not None:
            self.take(realise.ended)

    def _note(self) -> None:
        for action in self.turn.actions:
            stage = self.pipeline.stages[action.key.stage] if isinstance(action, RunPart) else None
            if isinstance(action, RunPart) and stage is not None and stage.hooks:
                if action.key not in self.running:
                    self.running[action.key] = self.world.time + 5 * SECOND
                    self.told.append(f"{stage.name} at {self.world.sent(self.world.plan.target)} %")
            elif isinstance(action, StopPart) and action.key in self.running:
                del self.running[action.key]
                self.end(action.key, Outcome.CANCELLED)

    def _end_hooks(self) -> None:
        for key in [key for key, due in self.running.items() if due <= self.world.time]:
            del self.running[key]
            self.end(key, self.outcome, message="because")
            self._note()


# --- when ------------------------------------------------------------------------------------------------------------


def test_hooks_run_before_the_first_requests_and_before_every_greater_share() -> None:
    play = RolloutPlay(BEFORE_TRAFFIC, BEFORE_INCREASE)
    play.live()

    assert play.told == [
        "before:TRAFFIC:shop:roll at 0 %",
        *(f"before:INCREASE:shop:roll at {share} %" for share in (0, 10, 50)),
    ]
    assert play.deployment.ending is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("strategy", "share"),
    [(GRADUAL, 50), (BlueGreen(), 0), (Rolling(), 100), (Canary(), 100)],
    ids=["canary", "blue-green", "rolling", "canary without steps"],
)
def test_hooks_around_a_promotion_run_once(strategy: Strategy, share: int) -> None:
    play = RolloutPlay(BEFORE_PROMOTION, AFTER_PROMOTION, strategy=strategy)
    play.live()

    assert play.told == [f"before:PROMOTION:shop:roll at {share} %", "after:PROMOTION:shop:roll at 100 %"]
    assert play.deployment.ending is Status.SUCCEEDED


def test_a_first_version_is_looked_at_before_anybody_is_sent_there() -> None:
    play = RolloutPlay(BEFORE_PROMOTION, stable=None)
    play.live(until=lambda: bool(play.running))

    assert play.told == ["before:PROMOTION:shop:roll at 0 %"]
    new = play.world.revisions[play.world.plan.target]
    assert [play.world.is_healthy(new, replica) for replica in new.replicas] == [True] * 4
    play.go_on()
    assert play.deployment.ending is Status.SUCCEEDED


@pytest.mark.parametrize("strategy", [Rolling(), Canary((SetWeight(50),))])
def test_without_a_router_a_promotion_has_hooks_too(strategy: Strategy) -> None:
    play = RolloutPlay(BEFORE_PROMOTION, AFTER_PROMOTION, strategy=strategy, routed=False)
    play.live()

    assert [one.split(" ")[0] for one in play.told] == ["before:PROMOTION:shop:roll", "after:PROMOTION:shop:roll"]
    assert play.deployment.ending is Status.SUCCEEDED


def test_a_rollback_asks_no_hook_of_a_rollout() -> None:
    play = RolloutPlay(*OF_ROLLOUTS, rollback_of="another")
    play.live()

    assert (play.told, play.deployment.ending) == ([], Status.SUCCEEDED)


def test_the_old_version_stays_until_the_hooks_after_the_promotion_have_ended() -> None:
    play = RolloutPlay(AFTER_PROMOTION, strategy=BlueGreen(scale_down_delay=timedelta(0)))
    play.live(until=lambda: bool(play.running))

    assert play.phase is Phase.COMPLETING
    play.running = dict.fromkeys(play.running, play.world.time + 3 * play.world.plan.safety.drain)
    play.pace = 5 * SECOND
    while play.running:
        assert play.world.revisions["web-old"].desired == 4
        due = play.world.time + SECOND
        play.go_on(until=lambda: play.world.time >= due)  # noqa: B023 - called before it changes
    play.go_on()
    assert play.world.revisions["web-old"].desired == 0


def test_a_hook_that_takes_longer_than_the_progress_deadline_is_no_standstill() -> None:
    play = RolloutPlay(BEFORE_PROMOTION)
    play.live(until=lambda: bool(play.running))
    play.running = dict.fromkeys(play.running, play.world.time + timedelta(minutes=30))
    play.pace = 60 * SECOND
    play.go_on()

    assert play.deployment.ending is Status.SUCCEEDED


# --- what a failure means --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "strategy"),
    [
        (BEFORE_TRAFFIC, GRADUAL),
        (BEFORE_INCREASE, GRADUAL),
        *(
            (point, strategy)
            for point in (BEFORE_PROMOTION, AFTER_PROMOTION)
            for strategy in (GRADUAL, COLOURS, ROLLING)
        ),
    ],
)
def test_a_failed_hook_sends_the_requests_back_before_the_deployment_fails(
    point: HookPoint, strategy: Strategy
) -> None:
    play = RolloutPlay(point, strategy=strategy, outcome=Outcome.FAILED, hook={"on_failure": OnFailure.FAIL})
    play.live()

    assert play.deployment.ending is Status.FAILED
    assert play.world.sent(play.world.plan.target) == 0
    failure = play.deployment.failure
    assert failure is not None
    assert (failure.stage, failure.step) == ("shop", "roll")
    assert "hook hook-0" in failure.message
    assert "failed: because" in failure.message


def test_a_hook_that_may_fail_leaves_a_warning_and_the_rollout_goes_on() -> None:
    play = RolloutPlay(AFTER_PROMOTION, outcome=Outcome.FAILED)
    play.live()

    assert play.deployment.ending is Status.SUCCEEDED
    assert play.deployment.warnings == ("hook hook-0 (after:PROMOTION:shop:roll) failed: because",)


def test_a_hook_that_asks_holds_the_rollout_where_it_is() -> None:
    play = RolloutPlay(BEFORE_INCREASE, outcome=Outcome.FAILED, hook={"on_failure": OnFailure.PAUSE})
    play.live(until=lambda: play.deployment.status is Status.PAUSED)
    due, play.pace = play.world.time + timedelta(minutes=20), 60 * SECOND
    play.go_on(until=lambda: play.world.time >= due)

    assert play.deployment.pause_reason is PauseReason.HOOK
    assert (play.told, play.world.sent(play.world.plan.target)) == (["before:INCREASE:shop:roll at 0 %"], 0)
    play.outcome = Outcome.SUCCEEDED
    play.take(Wish(Verb.RESUME, "ann"))
    play.go_on()
    assert play.deployment.ending is Status.SUCCEEDED


def test_a_version_that_dies_while_a_hook_runs_goes_back_and_stops_it() -> None:
    play = RolloutPlay(BEFORE_PROMOTION)
    play.live(until=lambda: bool(play.running))
    play.running = dict.fromkeys(play.running, HOUR)
    play.world.kill(play.world.plan.target)
    play.go_on()

    assert play.deployment.ending is Status.FAILED
    hook = next(key for key in play.deployment.parts if key.stage != play.key.stage)
    assert play.deployment.part(hook).status is StepStatus.CANCELLED
    assert play.world.sent(play.world.plan.target) == 0


def test_a_rollout_that_is_tried_again_calls_for_its_hooks_again() -> None:
    later = Retry(attempts=2, backoff=60 * SECOND, max_backoff=60 * SECOND)
    play = RolloutPlay(BEFORE_PROMOTION, outcome=Outcome.FAILED, step={"retry": later})
    play.live(until=lambda: play.deployment.part(play.key).retry_at is not None)
    play.outcome = Outcome.SUCCEEDED
    play.go_on()

    assert play.told == ["before:PROMOTION:shop:roll at 50 %"] * 2
    assert play.deployment.ending is Status.SUCCEEDED


def test_a_full_promotion_passes_pauses_but_no_hooks() -> None:
    strategy = Canary((SetWeight(10), Pause()))
    play = RolloutPlay(BEFORE_PROMOTION, strategy=strategy)
    play.live(until=lambda: play.deployment.status is Status.PAUSED)
    play.take(Wish(Verb.PROMOTE_FULL, "ann"))
    play.go_on()

    assert play.told == ["before:PROMOTION:shop:roll at 10 %"]
    assert play.deployment.ending is Status.SUCCEEDED
