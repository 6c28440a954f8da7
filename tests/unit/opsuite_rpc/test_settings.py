"""Which addresses a server may listen on."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsuite_rpc.listen import problems
from opsuite_rpc.settings import ServerSettings, TlsFiles, is_loopback

TLS = TlsFiles(Path("/c"), Path("/k"))
MTLS = TlsFiles(Path("/c"), Path("/k"), Path("/ca"))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:7401", True),
        ("127.1.2.3:7401", True),
        ("[::1]:7401", True),
        ("localhost:7401", True),
        ("unix:///run/opsuite/deployer.sock", True),
        ("0.0.0.0:7401", False),
        ("[::]:7401", False),
        ("10.0.0.1:7401", False),
        ("localhost.example.org:7401", False),
        ("127.0.0.1.example.org:7401", False),
        (":7401", False),
        ("7401", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


@pytest.mark.parametrize(
    ("settings", "guards_tcp", "allowed"),
    [
        (ServerSettings(("127.0.0.1:0",)), True, True),
        (ServerSettings(("127.0.0.1:0",)), False, False),
        (ServerSettings(("0.0.0.0:0",)), True, False),
        (ServerSettings(("0.0.0.0:0",), tls=TLS), True, True),
        (ServerSettings(("0.0.0.0:0",), tls=TLS), False, False),
        (ServerSettings(("0.0.0.0:0",), tls=MTLS), False, True),
        (ServerSettings(("unix:///run/a.sock",)), False, True),
        (ServerSettings(("unix://run/a.sock",)), False, False),
        (ServerSettings(("unix:///run/a.sock", "0.0.0.0:0")), True, False),
        (ServerSettings(("127.0.0.1",)), True, False),
        (ServerSettings(("127.0.0.1:http",)), True, False),
        (ServerSettings(()), True, False),
    ],
)
def test_what_others_reach_needs_tls_and_every_tcp_port_needs_callers_who_are_known(
    settings: ServerSettings, guards_tcp: bool, allowed: bool
) -> None:
    assert (problems(settings, guards_tcp=guards_tcp) == []) is allowed
