"""Environments, their locks, routes, workloads and differences on the command line, against a real deployer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from deployer import DeployerProcess, free_port
from fakes.web_workload import SERVER, a_rollout
from opsuite_command import Ended, a_script, opsuite, write_pipeline


@pytest.fixture(scope="module")
def shop(deployer: DeployerProcess, tmp_path_factory: pytest.TempPathFactory) -> DeployerProcess:
    """Pipelines whose 1.0 is there: `shop` goes through its environments in order, `web` rolls out behind edges."""
    program = deployer.work / "serve"
    program.write_text(SERVER)
    program.chmod(0o755)
    directory = tmp_path_factory.mktemp("pipelines")
    wait = {"name": "wait", "wait": {"duration": "0.01s"}}
    tag = a_script(deployer, "tag", "")
    apply(deployer, directory, "shop", tag, wait, environments=["staging", "production"], promoteInOrder=True)
    traffic = {"edge": {"listenPort": free_port()}, "drain": "0.1s"}
    apply(deployer, directory, "web", a_rollout("web", rolling={}, traffic=traffic), variables={"answer": "200"})
    for pipeline in ("shop", "web"):
        assert run(deployer, "deploy", pipeline, "1.0", "--env", "staging", "--wait").status == 0
    return deployer


def apply(deployer: DeployerProcess, directory: Path, name: str, *steps: dict[str, Any], **spec: Any) -> None:
    document = write_pipeline(directory, name, {"name": "work", "steps": list(steps)}, **spec)
    ended = opsuite(deployer, "apply", "-f", str(document))
    assert ended.status == 0, ended


def run(deployer: DeployerProcess, *words: str) -> Ended:
    return opsuite(deployer, *words)


def told(deployer: DeployerProcess, *words: str) -> Any:
    """What programs get."""
    ended = opsuite(deployer, *words, "--json")
    assert ended.status == 0, ended
    return json.loads(ended.out)


def test_environments_are_listed_in_their_order_with_what_is_stable_there(shop: DeployerProcess) -> None:
    rows = [line.split() for line in run(shop, "env", "list", "shop").out.splitlines()]

    assert [row[0] for row in rows] == ["ENVIRONMENT", "staging", "production"]
    assert [rows[1][1], rows[1][-1]] == ["1.0", "yes"]
    listed = told(shop, "env", "list", "shop")
    assert [one["name"].rpartition("/")[2] for one in listed] == ["staging", "production"]
    assert listed[0]["stable"]["version"] == "1.0"


@pytest.mark.parametrize("place", ["shop/production", "pipelines/shop/environments/production"])
def test_an_environment_says_what_has_to_come_first(shop: DeployerProcess, place: str) -> None:
    shown = run(shop, "env", "show", place).out

    assert "stable in staging first" in shown
    assert "you may deploy to it" in shown


def test_a_lock_is_taken_shown_renewed_and_ended(shop: DeployerProcess) -> None:
    locked = run(shop, "lock", "shop", "staging", "-m", "moving the database", "--ttl", "1h")
    assert re.search(r"locked by local until .* unless renewed: moving the database", locked.out), locked
    shown = run(shop, "env", "show", "shop/staging").out
    assert "locked by local" in shown
    first = told(shop, "env", "show", "shop/staging")["lock"]
    renewed = told(shop, "lock", "shop", "staging", "--renew")["lock"]
    assert (renewed["create_time"], renewed["ttl"]) == (first["create_time"], "3600s")
    assert renewed["expire_time"] > first["expire_time"]

    assert run(shop, "unlock", "shop", "staging").out == "staging of shop is open\n"
    again = run(shop, "unlock", "shop", "staging", "--force")
    assert (again.status, "staging is not locked" in again.err) == (1, True)


def test_a_lock_without_a_message_is_no_command(shop: DeployerProcess) -> None:
    assert run(shop, "lock", "shop", "staging").status == 2
    assert run(shop, "env", "show", "shop").status == 2
    assert run(shop, "deploy", "shop", "--env", "staging").status == 2


def test_what_is_out_of_order_is_told_where_it_has_to_go_first(shop: DeployerProcess) -> None:
    refused = run(shop, "deploy", "shop", "7.0", "--env", "production")
    assert refused.status == 1
    assert "7.0 (revision 1) has to be stable in staging" in refused.err
    assert "--env production --from staging" in refused.err
    foreseen = run(shop, "plan", "shop", "7.0", "--env", "production")
    assert (foreseen.status, "has to be stable in staging" in foreseen.err) == (1, True)

    carried = told(shop, "deploy", "shop", "--env", "production", "--from", "staging", "--priority", "3", "--wait")
    assert (carried["version"], carried["priority"]) == ("1.0", 3)
    no_reason = run(shop, "deploy", "shop", "7.0", "--env", "production", "--skip-order")
    assert (no_reason.status, "reason" in no_reason.err) == (1, True)
    words: Sequence[str] = ("7.0", "--env", "production", "--skip-order", "--reason", "the shop is down", "--wait")
    hotfix = told(shop, "deploy", "shop", *words)
    assert hotfix["order_skipped"] is True
    assert "was let past the order" in run(shop, "explain", hotfix["uid"]).out
    assert "past the order" in run(shop, "history", "--pipeline", "shop").out


def test_a_difference_shows_what_would_be_done_otherwise(shop: DeployerProcess) -> None:
    shown = run(shop, "diff", "shop", "staging", "2.0").out.splitlines()

    assert shown[0] == "1.0 (revision 1) → 2.0 (revision 1)"
    assert "- work/tag: python3 tag.py 1.0" in shown
    assert "+ work/tag: python3 tag.py 2.0" in shown
    assert "  work/wait: wait 0.01 s" in shown
    same = told(shop, "diff", "shop", "production", "--from", "production")
    assert (same["removed"], same["added"], same["drift"]) == ([], [], [])


def test_a_workload_is_shown_and_restarted_and_its_drift_is_part_of_the_difference(shop: DeployerProcess) -> None:
    (listed,) = told(shop, "workload", "list")
    assert (listed["name"], listed["environment"]) == ("workloads/web", "pipelines/web/environments/staging")
    shown = run(shop, "workload", "show", "web").out
    assert "web of web/staging" in shown
    assert re.search(r"web-\w{8}-0  running  127\.0\.0\.1:\d+", shown)

    assert run(shop, "workload", "restart", "web", "--reason", "a new certificate").status == 0
    split_by_hand(shop)
    assert told(shop, "diff", "web", "staging", "1.0")["drift"] == []


def split_by_hand(shop: DeployerProcess) -> None:
    (revision,) = told(shop, "traffic", "show", "web")["revisions"]
    name, (one, *_) = revision["revision"], revision["endpoints"]
    assert (revision["weight"], revision["track"]) == (100, "stable")
    split = told(shop, "traffic", "set", "web", f"{name}=100", "--ttl", "10m", "--reason", "a trial")
    assert "expire_time" in split
    assert name in run(shop, "traffic", "show", "web").out
    assert run(shop, "traffic", "set", "web", name, "--ttl", "10m").status == 2
    assert told(shop, "traffic", "drain", "web", one)["drained_endpoints"] == [one]
    assert "drained_endpoints" not in told(shop, "traffic", "drain", "web", one, "--undo")


def test_edges_are_listed_and_only_those_that_were_there_are_forgotten(shop: DeployerProcess) -> None:
    assert told(shop, "edge", "list") == []
    forgotten = run(shop, "edge", "forget", "edge-9")

    assert (forgotten.status, "edge-9" in forgotten.err) == (1, True)


def test_foreign_files_are_imported(shop: DeployerProcess, tmp_path: Path) -> None:
    source = tmp_path / "nothing.yaml"
    source.write_text("kind: Other")

    refused = run(shop, "import", str(source))

    assert (refused.status, "holds no Rollout, Canary or Kamal configuration" in refused.err) == (1, True)
