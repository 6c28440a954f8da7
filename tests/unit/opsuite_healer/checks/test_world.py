"""What is asked of whom: templates, replicas, secrets, and platforms that do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from fakes.clock import NOON, FakeClock
from fakes.platform import FakePlatform
from fakes.probes import FakeProber

from opsuite_healer.adapters.checks.commands import Commands, answer_of
from opsuite_healer.adapters.checks.world import AskingWorld, places, shown
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.domain.checks.check import CheckSpec, CommandText, PostgresqlText, RedisText, StateProbe
from opsuite_healer.domain.targets import TargetRef
from opsuite_notify.port import EnvSecret
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.port import (
    CommandSpec,
    Exit,
    ExitKind,
    OnOutput,
    OutputLine,
    PortSpec,
    Replica,
    ReplicaPhase,
    Stream,
    WorkloadSpec,
)
from opsuite_probes.port import CommandProbe, HttpProbe, Outcome, PostgresqlProbe, PrometheusProbe, TcpProbe
from opsuite_validation.commands import CommandPolicy

GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN
SHOP = TargetRef("process", "shop")


class NoCommands:
    """Fits `CommandRunner`; nothing is ever started."""

    async def run(self, spec: CommandSpec, on_output: OnOutput) -> Exit:
        raise AssertionError("nobody asked for a command")


class Scene:
    """A world around a platform on which two replicas of a shop run."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.prober, self.platform = FakeProber(), FakePlatform()
        clock = FakeClock()
        self.world = AskingWorld(
            prober=self.prober,
            workloads=Workloads({"process": self.platform}, lambda _: FakePlatform()),
            commands=Commands(NoCommands(), CommandPolicy()),
            secrets=SecretSource(env=env or {}, allowed_env=["REDIS_PASSWORD"]),
            prometheus_url="http://prometheus:9090",
            clock=clock,
        )

    async def fill(self, name: str = "shop", part_of: str = "", replicas: int = 2) -> None:
        ports = (PortSpec("metrics"), PortSpec("http"))
        spec = WorkloadSpec(name, "1", ("serve",), "/", ports=ports, replicas=replicas, part_of=part_of)
        await self.platform.apply(spec, epoch=1)

    async def outcomes(self, question: Any, target: TargetRef = SHOP) -> dict[str, Outcome]:
        sight = await self.world.look(CheckSpec("home", target, question))
        return {name: one.outcome for name, one in sight.answers.items()}


async def test_each_replica_is_asked_at_its_own_port() -> None:
    scene = Scene()
    await scene.fill()

    await scene.outcomes(HttpProbe("http://${host}:${port}/${replica}"))

    assert scene.prober.asked == [
        HttpProbe("http://127.0.0.1:20001/shop-0"),
        HttpProbe("http://127.0.0.1:20003/shop-1"),
    ]


async def test_a_check_without_templates_asks_once_and_no_platform() -> None:
    scene = Scene()
    probe = TcpProbe("shop.example:80")
    scene.prober.answer(probe, GOOD)

    assert await scene.outcomes(probe, replace(SHOP, replica="shop-1")) == {"shop-1": GOOD}


async def test_a_replica_that_does_not_run_is_not_asked() -> None:
    scene = Scene()
    await scene.fill()
    scene.platform.set_phase("shop", "shop-1", ReplicaPhase.BACKOFF)
    probe = TcpProbe("127.0.0.1:${port}")

    sight = await scene.world.look(CheckSpec("home", SHOP, probe))

    assert scene.prober.asked == [TcpProbe("127.0.0.1:20001")]
    crashed = sight.answers["shop-1"]
    assert (crashed.outcome, crashed.issue, crashed.is_crash) == (BAD, "CRASHED", True)
    assert sight.answers["shop-0"].started_at == NOON


async def test_only_the_replica_that_is_meant_is_asked() -> None:
    scene = Scene()
    await scene.fill()

    assert list(await scene.outcomes(TcpProbe("127.0.0.1:${port}"), replace(SHOP, replica="shop-1"))) == ["shop-1"]
    assert scene.prober.asked == [TcpProbe("127.0.0.1:20003")]
    assert await scene.outcomes(TcpProbe("a:${port}"), replace(SHOP, replica="shop-9")) == {"shop-9": BAD}


async def test_a_workload_that_is_rolled_out_is_all_of_its_revisions() -> None:
    scene = Scene()
    await scene.fill("shop-r1", part_of="shop", replicas=1)
    await scene.fill("shop-r2", part_of="shop", replicas=2)

    assert await scene.outcomes(StateProbe()) == {"": GOOD, "shop-r1-0": GOOD, "shop-r2-0": GOOD, "shop-r2-1": GOOD}


async def test_a_platform_that_cannot_be_asked_leaves_everything_as_it_is() -> None:
    scene = Scene()
    scene.platform.is_reachable = False

    sight = await scene.world.look(CheckSpec("home", SHOP, StateProbe()))

    assert (sight.answers, sight.is_complete) == ({}, False)
    assert sight.why_not == "cannot be asked: the platform does not answer"


async def test_what_no_platform_runs_is_missing() -> None:
    scene = Scene()

    assert await scene.outcomes(StateProbe()) == {"": BAD}
    assert await scene.outcomes(StateProbe(), TargetRef("docker", "shop")) == {"": BAD}


async def test_a_port_that_there_is_not_says_nothing_about_the_replica() -> None:
    scene = Scene()
    await scene.fill(replicas=1)

    sight = await scene.world.look(CheckSpec("home", SHOP, TcpProbe("127.0.0.1:${port_admin}")))

    assert sight.answers["shop-0"].outcome is NOTHING
    assert "admin" in sight.answers["shop-0"].message


async def test_passwords_are_found_when_they_are_needed() -> None:
    scene = Scene({"REDIS_PASSWORD": "hunter2"})

    await scene.outcomes(PostgresqlText("postgresql://h/d", EnvSecret("REDIS_PASSWORD")))

    assert scene.prober.asked == [PostgresqlProbe("postgresql://h/d", "hunter2")]


@pytest.mark.parametrize("name", ["REDIS_PASSWORD", "HOME"])
async def test_a_password_that_is_nowhere_says_nothing_about_the_target(name: str) -> None:
    scene = Scene()

    sight = await scene.world.look(CheckSpec("home", SHOP, RedisText("redis://h", EnvSecret(name))))

    assert sight.answers[""].outcome is NOTHING
    assert name in sight.answers[""].message


async def test_a_check_that_names_no_prometheus_asks_the_one_of_the_settings() -> None:
    scene = Scene()

    await scene.outcomes(PrometheusProbe("", "up"))
    await scene.outcomes(PrometheusProbe("http://other", "up"))

    assert scene.prober.asked == [
        PrometheusProbe("http://prometheus:9090", "up"),
        PrometheusProbe("http://other", "up"),
    ]


async def test_a_command_that_is_not_allowed_any_more_is_not_started() -> None:
    scene = Scene()

    sight = await scene.world.look(CheckSpec("home", SHOP, CommandText("rm")))

    assert sight.answers[""].outcome is NOTHING
    assert "is not allowed" in sight.answers[""].message


@pytest.mark.parametrize(
    ("ended", "outcome", "message"),
    [
        (Exit(ExitKind.EXITED, 0), GOOD, "exit status 0: all is well"),
        (Exit(ExitKind.EXITED, 2), BAD, "exit status 2: all is well"),
        (Exit(ExitKind.SIGNALLED, 9), BAD, "ended by signal 9"),
        (Exit(ExitKind.TIMED_OUT), BAD, "did not end in time"),
        (Exit(ExitKind.NOT_STARTED, message="no such file"), NOTHING, "cannot be asked: no such file"),
        (Exit(ExitKind.LOST), NOTHING, "cannot be asked: lost"),
    ],
)
def test_the_end_of_a_program_means(ended: Exit, outcome: Outcome, message: str) -> None:
    lines = [OutputLine(NOON, Stream.STDOUT, text) for text in ("begin", " all is well ", "")]

    answer = answer_of(ended, lines)

    assert (answer.outcome, answer.message) == (outcome, message)


def test_a_program_is_started_with_nothing_of_our_environment(tmp_path: Any) -> None:
    policy = CommandPolicy(allowed_names=frozenset({"true"}), roots=(tmp_path,))

    probe = Commands(NoCommands(), policy).probe(CommandText("true", ("a",)))

    assert isinstance(probe, CommandProbe)
    assert (probe.argv[1:], probe.directory, set(probe.env)) == (("a",), str(tmp_path), {"PATH", "LANG"})


def test_places_are_those_of_the_replica() -> None:
    replica = Replica("shop-0", "1", ReplicaPhase.RUNNING, {"admin-http": 1, "grpc": 2}, host="fd00::1")

    assert places(replica) == {
        "port_admin_http": "1",
        "port_grpc": "2",
        "port": "1",
        "host": "[fd00::1]",
        "replica": "shop-0",
    }


def test_what_people_are_shown_holds_nothing_that_a_terminal_obeys() -> None:
    assert (
        shown("exit status 1: \x1b[2J\0\ud800")
        == "exit status 1: \N{REPLACEMENT CHARACTER}[2J" + "\N{REPLACEMENT CHARACTER}" * 2
    )
    assert shown("x" * 600) == "x" * 500
    assert shown("größer") == "größer"
