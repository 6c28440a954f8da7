"""How an edge is told where its routes come from, and what supervisord is told about it."""

from __future__ import annotations

import json
import shlex
from configparser import RawConfigParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from opsuite_cli import options
from opsuite_cli.edges import edge_of, refuse_bare_token, with_header
from opsuite_cli.main import app
from opsuite_cli.options import Options
from opsuite_cli.own_edge import GROUP, arguments, program_text
from opsuite_kernel.errors import InvalidInput, NotFound
from opsuite_platforms.traffic.bootstrap import EdgeBootstrap

NO_TLS = ("", "", "")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says where the deployer is, and nothing else."""
    for name in ("CA_FILE", "CERT_FILE", "KEY_FILE", "TOKEN", "TOKEN_FILE"):
        monkeypatch.delenv(f"OPSUITE_{name}", raising=False)
    monkeypatch.setenv("OPSUITE_DEPLOYER_ADDRESS", "unix:///data/run/deployer.sock")
    options.choose(Options())


def test_an_edge_reaches_the_deployer_where_the_commands_do() -> None:
    assert edge_of("e", "", tls=NO_TLS).server == "unix:/data/run/deployer.sock"


@pytest.mark.parametrize(
    ("given", "server"),
    [("unix:///run/d.sock", "unix:/run/d.sock"), ("unix:/run/d.sock", "unix:/run/d.sock"), ("host:1", "host:1")],
)
def test_an_edge_may_reach_it_elsewhere(given: str, server: str) -> None:
    assert edge_of("e", given, tls=NO_TLS).server == server


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="neither host:port nor"):
        edge_of("e", "host", tls=NO_TLS)


def test_certificates_of_the_environment_are_used_unless_others_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CA", "CERT", "KEY"):
        monkeypatch.setenv(f"OPSUITE_{name}_FILE", f"/env/{name}")

    tls = edge_of("e", "host:1", tls=("/given/CA", "", "")).tls

    assert tls is not None
    assert (tls.ca, tls.certificate, tls.key) == ("/given/CA", "/env/CERT", "/env/KEY")


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--key-file"):
        edge_of("e", "host:1", tls=("/ca", "/cert", ""))


def test_a_token_is_made_a_header_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    options.choose(Options(token_file=tmp_path / "token"))

    edge = with_header(edge_of("e", "host:1", tls=NO_TLS), tmp_path / "edge")

    header = Path(edge.authorization_file)
    assert header.read_text() == "Bearer secret"
    assert header.stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        with_header(EdgeBootstrap("e", "host:1", authorization_file=str(tmp_path / "token")), tmp_path)


def test_a_bare_token_in_a_bootstrap_is_refused_with_what_to_run(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")

    with pytest.raises(InvalidInput, match="printf 'Bearer %s'"):
        refuse_bare_token(tmp_path / "token")
    refuse_bare_token(tmp_path / "elsewhere")


def test_supervisord_keeps_it_under_a_name_that_no_workload_can_have() -> None:
    command = arguments(Path("/opt/100%/envoy"), Path("/data/envoy.json"))

    text = RawConfigParser()
    text.read_string(program_text(command, Path("/data/edges/local")))

    (section,) = text.sections()
    assert section == f"program:{GROUP}"
    assert "_" in GROUP
    assert shlex.split(text[section]["command"].replace("%%", "%"))[-len(command) :] == command
    assert text[section]["autorestart"] == "true"


def run(*arguments: str) -> Any:
    """What a command of the edge prints, as data."""
    done = CliRunner().invoke(app, ["edge", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_the_bootstrap_is_what_envoy_reads() -> None:
    document = run("bootstrap", "--id", "edge-7", "--admin-socket", "/run/admin.sock")

    assert document["node"]["id"] == "edge-7"
    assert document["admin"]["address"]["pipe"]["path"] == "/run/admin.sock"
    assert "/data/run/deployer.sock" in json.dumps(document["static_resources"])


def test_the_bootstrap_of_a_grpc_client_names_the_server() -> None:
    document = run("bootstrap", "--id", "client", "--grpc", "--server", "host:7401")

    assert document["xds_servers"][0]["server_uri"] == "host:7401"


def test_a_grpc_client_is_not_given_a_token(tmp_path: Path) -> None:
    (tmp_path / "header").write_text("Bearer secret")

    done = CliRunner().invoke(app, f"edge bootstrap --id c --grpc --token-file {tmp_path}/header".split())

    assert done.exit_code == 1
    assert "certificate" in done.stderr
