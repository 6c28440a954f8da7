from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.foreign_documents import KAMAL

from opsuite_cli.importing import imported_from
from opsuite_cli.imports.reading import Imported


def imported(text: str) -> Imported:
    return imported_from(text, environment="production")


def rollouts(text: str) -> dict[str, Any]:
    """The rollouts by the name of their stage, in order."""
    stages = imported(text).pipeline["spec"]["stages"]
    return {stage["name"]: stage["steps"][0]["rollout"] for stage in stages}


def kamal(**fields: Any) -> str:
    return yaml.safe_dump({"service": "shop", "image": "acme/shop", "servers": ["10.0.0.1", "10.0.0.2"], **fields})


def refused(text: str) -> dict[str, str]:
    return {one.path: one.reason for one in imported(text).refused}


def test_the_primary_role_comes_first_and_each_host_has_become_a_replica() -> None:
    found = rollouts(KAMAL)

    assert list(found) == ["web", "workers"]
    assert [one["workload"]["workload"] for one in found.values()] == ["shop", "shop-workers"]
    assert [one["workload"]["replicas"] for one in found.values()] == [2, 1]


def test_the_image_has_its_registry_and_the_version_in_place_of_its_tag() -> None:
    assert rollouts(KAMAL)["web"]["workload"]["image"] == "registry.example/acme/shop:${version}"
    assert imported(KAMAL).version == "1.4.2"


def test_plain_variables_are_kept_word_for_word_and_secrets_are_refused() -> None:
    env = rollouts(KAMAL)["workers"]["workload"]["env"]

    assert env == {"DATABASE_HOST": "db.internal", "WORKERS": "4", "GREETING": "costs $${price}", "QUEUE": "slow"}
    assert {"env.secret", "env.tags"} <= set(refused(KAMAL))


def test_variables_may_stand_without_a_division_into_clear_and_secret() -> None:
    assert rollouts(kamal(env={"A": 1}))["web"]["workload"]["env"] == {"PORT": "${port}", "A": "1"}


def test_what_the_proxy_knows_becomes_the_route_and_the_health_of_the_primary_role_alone() -> None:
    web, workers = rollouts(KAMAL).values()

    hosts = ["shop.example", "www.shop.example"]
    assert web["traffic"] == {"edge": {"listen_port": 80, "hosts": hosts}, "drain": "20s"}
    assert web["health"] == {"path": "/health", "interval": "3s", "timeout": "2s"}
    assert (web["min_healthy_time"], web["healthy_deadline"]) == ("0s", "40s")
    assert "traffic" not in workers
    assert (workers["min_healthy_time"], workers["workload"]["grace"]) == ("4s", "20s")
    assert workers["healthy_deadline"] == "44s"


def test_what_is_not_said_is_as_it_is_there() -> None:
    web = rollouts(kamal())["web"]

    assert web["health"] == {"path": "/up", "interval": "1s", "timeout": "5s"}
    assert (web["healthy_deadline"], web["traffic"]["drain"]) == ("30s", "30s")
    assert web["rolling"] == {"max_surge": "100%", "max_unavailable": "0"}


@pytest.mark.parametrize(
    ("boot", "parallel", "pause"), [({"limit": 1}, 1, None), ({"limit": "50%", "wait": 2}, 1, "2s"), ({}, None, None)]
)
def test_hosts_start_in_batches(boot: dict[str, Any], parallel: int | None, pause: str | None) -> None:
    rolling = rollouts(kamal(boot=boot))["web"]["rolling"]

    assert (rolling.get("max_parallel"), rolling.get("pause_between_batches")) == (parallel, pause)


def test_a_role_without_a_proxy_gets_no_requests_and_one_with_its_own_gets_them() -> None:
    servers = {"web": {"hosts": ["a"], "proxy": False}, "api": {"hosts": ["b"], "proxy": {"host": "api.example"}}}

    found = rollouts(kamal(servers=servers))

    assert "traffic" not in found["web"]
    assert found["api"]["traffic"]["edge"]["hosts"] == ["api.example"]


def test_a_role_without_hosts_runs_nowhere() -> None:
    text = kamal(servers={"web": ["a"], "workers": {"hosts": [], "cmd": "x"}}, allow_empty_roles=True)

    assert list(rollouts(text)) == ["web"]
    assert "servers.workers" in refused(text)


def test_progress_is_waited_for_longer_than_a_replica_may_take() -> None:
    web = rollouts(kamal(deploy_timeout=3000))["web"]

    assert (web["healthy_deadline"], web["progress_deadline"]) == ("3000s", "3001s")


def test_a_command_is_split_into_words_and_one_that_needs_a_shell_is_refused() -> None:
    plain = {"web": {"hosts": ["a"], "cmd": "bin/run 'two words'"}}
    shell = {"web": {"hosts": ["a"], "cmd": "bin/run && bin/more"}}

    assert rollouts(kamal(servers=plain))["web"]["workload"]["command"] == ["bin/run", "two words"]
    assert "command" not in rollouts(kamal(servers=shell))["web"]["workload"]
    assert "servers.web.cmd" in refused(kamal(servers=shell))


def test_what_ruby_would_fill_in_is_refused_and_not_taken_as_it_stands() -> None:
    text = kamal(env={"clear": {"A": '<%= ENV["A"] %>', "B": "b"}})

    assert rollouts(text)["web"]["workload"]["env"] == {"PORT": "${port}", "B": "b"}
    assert "env.clear.A" in refused(text)


def test_extensions_have_no_meaning_there_either() -> None:
    assert "x-common" in {one.path for one in imported(KAMAL).meaningless}


def test_a_service_whose_name_is_no_label_gets_the_nearest_one() -> None:
    assert imported(kamal(service="My_Shop")).pipeline["metadata"] == {"name": "my-shop"}
