"""`opsuite rollout …` against a real deployer: a rollout as people see it, steer it and are refused."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from deployer import DeployerProcess, free_port
from envoy import envoy_program
from fakes.web_workload import SERVER, a_rollout
from opsuite_command import Ended, opsuite, started, write_pipeline
from terminal import ESCAPE, in_terminal

SOON: dict[str, Any] = {"scaleDownDelay": "0.2s", "abortScaleDownDelay": "0.2s"}
NUMBERS = count()
SLOW: dict[str, Any] = {"steps": [{"setWeight": 50}, {"pause": {"duration": "3600s"}}], **SOON}
WAITS: dict[str, Any] = {"steps": [{"setWeight": 50}, {"pause": {}}], **SOON}


@pytest.fixture(scope="module")
def shop(deployer: DeployerProcess, tmp_path_factory: pytest.TempPathFactory) -> DeployerProcess:
    """The deployer with pipelines whose first version runs: one waits for a person at half of the replicas."""
    program = deployer.work / "serve"
    program.write_text(SERVER)
    program.chmod(0o755)
    directory = tmp_path_factory.mktemp("pipelines")
    strategies: dict[str, dict[str, Any]] = {
        "canary": {"canary": WAITS},
        "slow": {"canary": SLOW},
        "rolling": {"rolling": {}},
        "edged": {"rolling": {}, "traffic": {"edge": {"listenPort": free_port()}, "drain": "0.1s"}},
    }
    for name, more in strategies.items():
        step = a_rollout(f"{name}-web", answer="${answer}", **more)
        stage = {"name": "run", "steps": [step]}
        document = write_pipeline(directory, name, stage, variables={"answer": "200"})
        assert opsuite(deployer, "apply", "-f", str(document)).status == 0
        assert deploy(deployer, name, "1.0").status == 0
    return deployer


def deploy(deployer: DeployerProcess, pipeline: str, version: str, *more: str) -> Ended:
    return opsuite(deployer, "deploy", pipeline, version, "--env", "staging", "--wait", *more)


def uid_of(ended: Ended) -> str:
    found = re.search(r"deployment (\w{26})", ended.out)
    assert found is not None, ended
    return found[1]


@pytest.fixture
def waiting(shop: DeployerProcess) -> Iterator[str]:
    """Id of a deployment of a new version that waits for a promotion at half of the replicas; aborted at the end."""
    ended = deploy(shop, "canary", f"2.{next(NUMBERS)}")
    assert ended.status == 5, ended
    yield uid_of(ended)
    opsuite(shop, "rollout", "abort", "canary")
    opsuite(shop, "watch", uid_of(ended))


def test_a_rollout_that_waits_is_shown_with_versions_and_replicas(shop: DeployerProcess, waiting: str) -> None:
    shown = opsuite(shop, "rollout", "status", "canary", "--env", "staging")

    assert shown.status == 0
    assert re.search(rf"^canary 2.\d+ → staging  PAUSED .* {waiting}$", shown.out, re.MULTILINE)
    assert "run/roll  canary  PAUSED  step 2 of 2" in shown.out
    assert re.search(r"├─ stable \S+ +\d.* replicas  canary-web-\w+\n", shown.out)
    assert re.search(r"└─ canary \S+ +1/1 replicas  canary-web-\w+\n +└─ ● \S+-0  healthy", shown.out)


def test_programs_get_the_rollout_as_a_document(shop: DeployerProcess, waiting: str) -> None:
    told = json.loads(opsuite(shop, "rollout", "status", waiting, "--json").out)

    assert told["status"] == "DEPLOYMENT_STATUS_PAUSED"
    (step,) = told["rollouts"]
    assert (step["stage"], step["step"]) == ("run", "roll")
    assert [track["name"] for track in step["rollout"]["tracks"]] == ["stable", "canary"]


def test_the_wait_ends_with_what_to_run_next(shop: DeployerProcess, waiting: str) -> None:
    explained = opsuite(shop, "explain", waiting).out

    assert "step 2 of 2" in explained
    assert explained.splitlines()[-3:] == [
        "why:    step 2 of 2 waits for a promotion",
        "done:   paused (STEP); nothing more starts until somebody decides",
        f"next:   opsuite rollout promote {waiting} (or: opsuite rollout abort {waiting})",
    ]


def test_a_promotion_lets_it_go_on_to_its_end(shop: DeployerProcess, waiting: str) -> None:
    promoted = opsuite(shop, "rollout", "promote", "canary", "--reason", "looks good")
    followed = opsuite(shop, "rollout", "status", waiting, "--watch", "--json")

    assert promoted.status == 0, promoted
    assert f"next:   opsuite rollout status --watch {waiting}" in promoted.out
    assert followed.status == 0, followed
    changes = [json.loads(line) for line in followed.out.splitlines()]
    assert changes[-1]["status"] == "DEPLOYMENT_STATUS_SUCCEEDED"
    assert changes[-1]["rollouts"][0]["rollout"]["phase"] == "ROLLOUT_PHASE_SUCCEEDED"


def test_an_abort_brings_the_old_version_back_with_a_status_of_its_own(shop: DeployerProcess, waiting: str) -> None:
    aborted = opsuite(shop, "rollout", "abort", "canary", "--reason", "looks odd")
    followed = opsuite(shop, "rollout", "status", waiting, "--watch")

    assert aborted.status == 0, aborted
    assert followed.status == 3, followed
    assert followed.err.splitlines()[-3:] == [
        "why:    aborted by local: looks odd",
        "done:   the rollout went back; what ran before it stays done",
        f"next:   opsuite rollout retry {waiting}",
    ]


def test_an_aborted_rollout_begins_anew_as_another_deployment(shop: DeployerProcess, waiting: str) -> None:
    opsuite(shop, "rollout", "abort", waiting)
    assert opsuite(shop, "watch", waiting).status == 3

    again = opsuite(shop, "rollout", "retry", waiting)

    assert again.status == 0, again
    assert uid_of(again) != waiting
    while opsuite(shop, "rollout", "abort", uid_of(again)).status != 0:
        pass  # its rollout has not begun yet
    assert opsuite(shop, "rollout", "status", uid_of(again), "--watch").status == 3


def test_a_rollout_that_somebody_paused_goes_on_when_somebody_says_so(shop: DeployerProcess) -> None:
    uid = uid_of(opsuite(shop, "deploy", "slow", "1.1", "--env", "staging"))
    while "begun" in opsuite(shop, "rollout", "status", uid).out:
        pass

    paused = opsuite(shop, "rollout", "pause", "slow", "--reason", "lunch")
    resumed = opsuite(shop, "rollout", "resume", "slow")
    opsuite(shop, "rollout", "abort", "slow")

    assert (paused.status, resumed.status) == (0, 0)
    assert "asked to pause" in paused.out
    assert "asked to resume" in resumed.out
    assert opsuite(shop, "watch", uid).status == 3


def test_a_version_that_is_not_healthy_is_not_promoted(shop: DeployerProcess) -> None:
    uid = uid_of(opsuite(shop, "deploy", "canary", "1.2", "--env", "staging", "--var", "answer=503"))
    while "not healthy yet" not in opsuite(shop, "rollout", "status", uid).out:
        pass

    refused = opsuite(shop, "rollout", "promote", "canary", "--full")
    opsuite(shop, "rollout", "abort", "canary")

    assert refused.status == 1
    assert "error: it cannot be promoted: 0/1 healthy" in refused.err
    assert f"opsuite rollout abort {uid}" in refused.err
    assert opsuite(shop, "watch", uid).status == 3


def test_nothing_is_promoted_where_nothing_is_rolled_out(shop: DeployerProcess) -> None:
    refused = opsuite(shop, "rollout", "promote", "rolling")

    assert refused.status == 1
    assert "opsuite explain" in refused.err


def test_a_pipeline_without_deployments_is_told(shop: DeployerProcess) -> None:
    assert (
        "deployment of nothing in staging does not exist"
        in opsuite(shop, "rollout", "status", "nothing", "--env", "staging").err
    )


def test_only_one_way_to_promote_may_be_chosen(shop: DeployerProcess) -> None:
    assert opsuite(shop, "rollout", "promote", "canary", "--skip", "--full").status == 2


def test_each_event_of_a_rollout_is_one_line(shop: DeployerProcess) -> None:
    ended = deploy(shop, "rolling", "1.1")

    assert ended.status == 0, ended
    lines = [line for line in ended.out.splitlines() if "  roll   run/roll  " in line]
    assert lines[-1].endswith("is the stable version  [1.0 0/0, 1.1 2/2]")


def test_a_terminal_shows_the_versions_below_the_step(shop: DeployerProcess) -> None:
    version = "1.3"

    status, seen = in_terminal(shop, "deploy", "rolling", version, "--env", "staging", "--wait")

    last = ESCAPE.sub("", seen)
    last = last[last.rindex("→ staging  SUCCEEDED") :]
    assert status == 0
    assert re.search(r"✓ +roll +\d", last)
    assert re.search(rf"└─ new +{version}  2/2 replicas  ●●", last), last


def test_a_watch_in_a_terminal_is_redrawn_until_the_end(shop: DeployerProcess, waiting: str) -> None:
    opsuite(shop, "rollout", "abort", waiting)

    status, seen = in_terminal(shop, "rollout", "status", waiting, "--watch")

    assert status == 3
    assert "ABORTED" in ESCAPE.sub("", seen)


def test_an_edge_in_the_foreground_takes_routes_over_tcp_with_a_token(shop: DeployerProcess) -> None:
    envoy_program()
    token_file = str(shop.data_dir / "token")
    command = ["edge", "run", "--id", "e1", "--server", shop.address, "--token-file", token_file]
    with started(shop, *command) as running:
        try:
            until_there(shop.data_dir / "edges" / "e1" / "admin.sock", running)
            versions = (f"1.{number}" for number in count(1))
            while "✓ e1  applied" not in opsuite(shop, "rollout", "status", "edged").out:
                assert deploy(shop, "edged", next(versions)).status == 0
        finally:
            running.terminate()
        said, _ = running.communicate(timeout=60)

    assert f"edge e1: takes its routes from {shop.address}" in said


def until_there(path: Path, running: subprocess.Popen[str]) -> None:
    """Return when the file is there; fails when the process has ended instead."""
    while not path.exists():
        assert running.poll() is None, running.communicate()
