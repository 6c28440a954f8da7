"""Going back: by itself, on demand, to a named version, and when that fails as well."""

from collections.abc import Callable

import pytest
from deployer import Client, DeployerProcess, deploy, ended, register
from fakes.calls import cancel, get, lines_of, plan, retry, roll_back, status_of, steps_of, until
from fakes.event_log import log_of
from fakes.held_steps import HeldSteps
from fakes.pipelines import Form, a_pipeline, a_script, a_stage, false, true

from opsuite.deployer.v1 import deployment_pb2
from opsuite_kernel.errors import Conflict

BY_VERSION = """
import os, sys
version = os.environ["DEPLOYMENT_VERSION"]
print("runs", version)
sys.exit(1 if version in open("bad-versions").read().split() else 0)
"""
KIND = deployment_pb2.DeploymentEventKind
Worsen = Callable[[str], object]


@pytest.fixture
def bad_versions(deployer: DeployerProcess) -> Worsen:
    """A function that says which versions fail from now on."""
    (deployer.work / "by_version.py").write_text(BY_VERSION)
    path = deployer.work / "bad-versions"
    path.write_text("bad worse")
    return path.write_text


def by_version(name: str = "run", **fields: str) -> Form:
    """A step that fails for bad versions."""
    return a_script(name, "by_version.py", **fields)


async def deployed(client: Client, pipeline: str, version: str) -> deployment_pb2.Deployment:
    return await ended(client, (await deploy(client, pipeline, version)).name)


async def test_a_failure_puts_the_last_stable_version_back(deployer: DeployerProcess, bad_versions: Worsen) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("back", a_stage("work", by_version())))
        stable = await deployed(client, "back", "good")
        await register(client, a_pipeline("back", a_stage("work", by_version("changed"))))
        failed = await deployed(client, "back", "bad")
        back = await get(client, failed.rolled_back_by)

        assert (status_of(failed), failed.reason, failed.stable) == ("ROLLED_BACK", "STEP_FAILED", False)
        assert (status_of(back), back.rollback_of, back.version) == ("SUCCEEDED", failed.name, "good")
        assert back.pipeline_revision == stable.pipeline_revision, "the recorded revision is what goes back"
        assert await lines_of(client, back.name) == ["runs good"]
        kinds = [KIND.Name(event.kind)[22:] for event in log_of(deployer.data_dir, failed.name)]
        assert kinds[-2:] == ["ROLLBACK_STARTED", "ENDED"]
        assert log_of(deployer.data_dir, failed.name)[-1].related_deployment == back.name
        with pytest.raises(Conflict, match="ROLLED_BACK") as refused:
            await cancel(client, failed.name)
        assert refused.value.reason == "WRONG_STATE"


async def test_it_goes_back_to_what_was_stable_and_not_to_what_failed(
    deployer: DeployerProcess, bad_versions: Worsen
) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("skip-bad", a_stage("work", by_version())))
        for version in ("good", "bad"):
            await deployed(client, "skip-bad", version)
        failed = await deployed(client, "skip-bad", "worse")
        assert (await get(client, failed.rolled_back_by)).version == "good"


async def test_nothing_is_put_back_where_that_is_off_or_impossible(
    deployer: DeployerProcess, bad_versions: Worsen
) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("first-time", a_stage("work", by_version())))
        first = await deployed(client, "first-time", "bad")
        assert (status_of(first), first.rolled_back_by) == ("FAILED", "")
        assert "not rolled back" in first.warnings[0]

        await register(client, a_pipeline("turned-off", a_stage("work", by_version()), rollbackEnabled=False))
        await deployed(client, "turned-off", "good")
        off = await deployed(client, "turned-off", "bad")
        assert (status_of(off), off.rolled_back_by, list(off.warnings)) == ("FAILED", "", [])


async def test_the_same_version_is_not_put_back_over_itself(deployer: DeployerProcess, bad_versions: Worsen) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("no-op", a_stage("work", by_version())))
        await deployed(client, "no-op", "fine")
        bad_versions("fine")
        again = await deployed(client, "no-op", "fine")
        assert (status_of(again), again.rolled_back_by) == ("FAILED", "")
        bad_versions("bad worse")


async def test_a_person_goes_back_to_the_version_before(deployer: DeployerProcess, bad_versions: Worsen) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("manual", a_stage("work", by_version())))
        first, second = [await deployed(client, "manual", version) for version in ("1", "2")]
        with pytest.raises(Conflict) as refused:
            await roll_back(client, first.name)
        assert refused.value.reason == "NO_PREVIOUS_DEPLOYMENT"

        asked = await roll_back(client, second.name)
        back = await ended(client, asked.name)
        assert (status_of(back), back.version, back.rollback_of) == ("SUCCEEDED", "1", second.name)
        second = await get(client, second.name)
        assert (status_of(second), second.rolled_back_by) == ("SUCCEEDED", back.name)


async def test_a_person_goes_back_to_a_named_version(deployer: DeployerProcess, bad_versions: Worsen) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("named", a_stage("work", by_version())))
        done = [await deployed(client, "named", version) for version in ("1", "2", "3")]
        asked = await roll_back(client, done[2].name, to=done[0].name)
        assert (await ended(client, asked.name)).version == "1"


async def test_a_person_takes_back_a_deployment_that_is_under_way(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("under-way", a_stage()))
        stable = await deployed(client, "under-way", "1")
        await register(client, a_pipeline("under-way", a_stage("work", held.step("under-way"))))
        name = (await deploy(client, "under-way", "2")).name
        await held.started("under-way")
        await roll_back(client, name)
        done = await ended(client, name)
        assert (status_of(done), done.reason) == ("ROLLED_BACK", "ROLLBACK_REQUESTED")
        assert steps_of(done) == {"under-way": "CANCELLED"}
        assert (await get(client, done.rolled_back_by)).version == stable.version


async def test_one_that_is_on_its_way_back_is_left_in_peace(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("peace", a_stage("work", held.step("peace"))))
        held.end("peace")
        await deployed(client, "peace", "1")
        held.hold_again("peace")
        await register(client, a_pipeline("peace", a_stage("work", false())))
        failed = await deploy(client, "peace", "2")
        await until(client, failed.name, "ROLLING_BACK")
        back = (await get(client, failed.name)).rolled_back_by
        await until(client, back, "RUNNING")
        queued = await deploy(client, "peace", "3")
        assert status_of(queued) == "QUEUED"
        for name in (failed.name, back):
            with pytest.raises(Conflict) as refused:
                await roll_back(client, name)
            assert refused.value.reason == "ROLLBACK_UNDER_WAY"
        held.end("peace")
        assert status_of(await ended(client, failed.name)) == "ROLLED_BACK"
        assert status_of(await ended(client, queued.name)) == "ROLLED_BACK"


async def test_a_rollback_that_fails_bars_the_environment_until_a_person_deploys(
    deployer: DeployerProcess, bad_versions: Worsen
) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("barred", a_stage("work", by_version())))
        await deployed(client, "barred", "good")
        await register(client, a_pipeline("barred", a_stage("work", held.step("barred"), by_version())))
        failing = await deploy(client, "barred", "bad")
        await held.started("barred")
        queued = await deploy(client, "barred", "later")
        bad_versions("bad worse good")
        held.end("barred")
        failed = await ended(client, failing.name)
        back = await get(client, failed.rolled_back_by)
        assert (status_of(failed), status_of(back)) == ("ROLLBACK_FAILED", "FAILED")
        assert back.rolled_back_by == ""
        assert (status_of(await get(client, queued.name))) == "QUEUED", "nothing may start until a person says what"

        foreseen = await plan(client, "barred")
        assert (foreseen.lifts_bar_of, foreseen.queue_position) == (failed.name, 2)
        bad_versions("bad worse")
        person = await deploy(client, "barred", "cure")
        assert status_of(await ended(client, queued.name)) == "SUCCEEDED"
        assert status_of(await ended(client, person.name)) == "SUCCEEDED"


async def test_a_rollback_that_is_cancelled_leaves_the_original_failed(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("cut-short", a_stage("work", held.step("cut-short"))))
        held.end("cut-short")
        await deployed(client, "cut-short", "1")
        held.hold_again("cut-short")
        await register(client, a_pipeline("cut-short", a_stage("work", false())))
        failed = await deploy(client, "cut-short", "2")
        await until(client, failed.name, "ROLLING_BACK")
        back = (await get(client, failed.name)).rolled_back_by
        await held.started("cut-short", times=2)
        await cancel(client, back)
        assert status_of(await ended(client, failed.name)) == "ROLLBACK_FAILED"
        assert status_of(await get(client, back)) == "CANCELLED"


async def test_steps_that_must_not_be_repeated_are_left_out_of_a_rollback(
    deployer: DeployerProcess, bad_versions: Worsen
) -> None:
    async with deployer.client() as client:
        stage = a_stage("work", true("migrate", onRollback="ON_ROLLBACK_SKIP"), by_version())
        await register(client, a_pipeline("skipping", stage))
        await deployed(client, "skipping", "good")
        failed = await deployed(client, "skipping", "bad")
        assert steps_of(failed) == {"migrate": "SUCCEEDED", "run": "FAILED"}
        assert steps_of(await get(client, failed.rolled_back_by)) == {"migrate": "SKIPPED", "run": "SUCCEEDED"}


async def test_a_deployment_that_runs_out_of_time_goes_back(deployer: DeployerProcess) -> None:
    held = HeldSteps(deployer.work)
    async with deployer.client() as client:
        await register(client, a_pipeline("out-of-time", a_stage()))
        await deployed(client, "out-of-time", "1")
        await register(client, a_pipeline("out-of-time", a_stage("work", held.step("endless")), timeout="0.2s"))
        done = await deployed(client, "out-of-time", "2")
        assert (status_of(done), done.reason) == ("ROLLED_BACK", "DEPLOYMENT_TIMED_OUT")


async def test_a_rollback_that_is_tried_again_leaves_out_the_same_steps(
    deployer: DeployerProcess, bad_versions: Worsen
) -> None:
    async with deployer.client() as client:
        stage = a_stage("work", true("migrate", onRollback="ON_ROLLBACK_SKIP"), by_version())
        await register(client, a_pipeline("once-more", stage))
        await deployed(client, "once-more", "good")
        bad_versions("bad good")
        failed = await deployed(client, "once-more", "bad")
        assert status_of(failed) == "ROLLBACK_FAILED"
        bad_versions("bad")
        again = await ended(client, (await retry(client, failed.rolled_back_by)).name)
        assert (status_of(again), again.rollback_of, again.version) == ("SUCCEEDED", failed.name, "good")
        assert steps_of(again) == {"migrate": "SKIPPED", "run": "SUCCEEDED"}
