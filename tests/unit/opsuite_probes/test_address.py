from __future__ import annotations

import pytest

from opsuite_probes.address import MalformedAddress, split_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("web-0.example.org:65535", ("web-0.example.org", 65535)),
        ("[::1]:7401", ("::1", 7401)),
    ],
)
def test_host_and_port_are_taken_apart(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address",
    ["", "web", "web:", ":80", "web:0", "web:65536", "web:8o", "::1:80", "unix:/run/x", "xds:///web:80", "a b:80",
     "web:80\n", "user@web:80", "web:-1", "http://web:80", "web:٨٠"],
)  # fmt: skip
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(MalformedAddress):
        split_address(address)
