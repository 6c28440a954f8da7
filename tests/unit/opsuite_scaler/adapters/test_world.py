"""What opens the servers of external targets, as the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from opsuite_rpc.channel import Tls
from opsuite_scaler.adapters.world import WorldSettings, opened_by

SETTINGS = WorldSettings(Path("/data"), range(1), "unix:///run/docker.sock", target_token=Path("/token"))
HERE, ELSEWHERE = "127.0.0.1:9090", "sizes.example.com:9090"


def test_another_machine_is_reached_by_tls_and_this_one_as_it_is() -> None:
    opened = opened_by(SETTINGS)

    assert (opened(HERE).tls, opened(ELSEWHERE).tls) == (None, Tls())
    assert opened(ELSEWHERE).token_file == Path("/token")


def test_who_names_authorities_wants_tls_everywhere() -> None:
    opened = opened_by(replace(SETTINGS, peer_ca=Path("/ca.pem")))

    assert (opened(HERE).tls, opened(ELSEWHERE).tls) == (Tls(Path("/ca.pem")),) * 2
