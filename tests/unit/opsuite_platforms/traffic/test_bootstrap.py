"""What edges are started with."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from opsuite_platforms.traffic.bootstrap import (
    COUNTED,
    EdgeBootstrap,
    TlsFiles,
    as_json,
    envoy_bootstrap,
    grpc_bootstrap,
)

EDGE = EdgeBootstrap("edge-1", "deployer.example:7443")


def server_cluster(edge: EdgeBootstrap) -> Any:
    (cluster,) = envoy_bootstrap(edge)["static_resources"]["clusters"]
    return cluster


def address(edge: EdgeBootstrap) -> Any:
    return server_cluster(edge)["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("unix:/run/opsuite.sock", {"pipe": {"path": "/run/opsuite.sock"}}),
        ("10.0.0.1:7443", {"socket_address": {"address": "10.0.0.1", "port_value": 7443}}),
        ("[::1]:7443", {"socket_address": {"address": "::1", "port_value": 7443}}),
    ],
)
def test_an_edge_is_told_where_the_server_is(server: str, told: dict[str, Any]) -> None:
    assert address(EdgeBootstrap("edge-1", server)) == told


def test_the_console_is_closed_unless_asked_for() -> None:
    assert "admin" not in envoy_bootstrap(EDGE)
    with_console = EdgeBootstrap("edge-1", "a:1", admin_socket="/run/admin.sock")
    assert envoy_bootstrap(with_console)["admin"]["address"]["pipe"]["mode"] == 0o600


def test_a_server_with_tls_is_checked_by_authority_and_name() -> None:
    tls = TlsFiles("/ca.pem", "/edge.pem", "/edge.key")
    context = server_cluster(EdgeBootstrap("edge-1", "deployer.example:1", tls=tls))["transport_socket"]["typed_config"]
    validation = context["common_tls_context"]["validation_context"]
    assert validation["trusted_ca"] == {"filename": "/ca.pem"}
    assert {each["matcher"]["exact"] for each in validation["match_typed_subject_alt_names"]} == {"deployer.example"}
    assert context["common_tls_context"]["tls_certificates"][0]["private_key"] == {"filename": "/edge.key"}
    assert context["sni"] == "deployer.example"


def test_without_credentials_nothing_is_said_of_them() -> None:
    text = as_json(envoy_bootstrap(EDGE))
    assert "transport_socket" not in text
    assert "credential" not in text


@pytest.mark.parametrize(
    "name", ["cluster.checkout/v1.upstream_rq_completed", "cluster.a/b.upstream_rq_5xx", "cluster.a/b.grpc.13"]
)
def test_figures_of_routes_are_sent(name: str) -> None:
    assert re.fullmatch(COUNTED, name)


@pytest.mark.parametrize("name", ["cluster.opsuite.upstream_rq_completed", "cluster.a/b.upstream_cx_total", "server.x"])
def test_other_figures_are_not(name: str) -> None:
    assert not re.fullmatch(COUNTED, name)


def test_a_grpc_client_is_told_the_server_and_its_own_id() -> None:
    document = json.loads(as_json(grpc_bootstrap(EDGE)))
    assert document == {
        "xds_servers": [
            {
                "server_uri": "deployer.example:7443",
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": "edge-1", "cluster": "edge"},
    }


def test_a_grpc_client_with_files_reaches_the_server_over_tls() -> None:
    (server,) = grpc_bootstrap(EdgeBootstrap("edge-1", "a:1", tls=TlsFiles("/ca.pem")))["xds_servers"]
    assert server["channel_creds"] == [{"type": "tls", "config": {"ca_certificate_file": "/ca.pem"}}]
