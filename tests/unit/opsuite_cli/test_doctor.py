from __future__ import annotations

from opsuite_cli.doctor import compared


def test_equal_versions_fit_together() -> None:
    assert compared("0.2.0", "0.2.0") == ("OK", "0.2.0")


def test_another_version_is_a_warning_with_what_to_do() -> None:
    result, found = compared("0.3.0", "0.2.0")

    assert result == "WARNING"
    assert "0.3.0" in found
    assert "install opsuite==0.2.0 here, or update the server" in found


def test_a_server_that_cannot_say_is_a_warning() -> None:
    result, found = compared("0.3.0", "")

    assert result == "WARNING"
    assert "not known" in found
