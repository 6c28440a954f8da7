"""Predicates over single values."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_validation.values import (
    FORMATS,
    Predicate,
    check_dns_label,
    check_email,
    check_env_name,
    check_header_name,
    check_host_port,
    check_image,
    check_printable,
    check_resource_name,
    check_url,
    check_uuid,
    check_version,
    matching,
)

DIGEST = "sha256:" + "0" * 64

GOOD: dict[Predicate, list[str]] = {
    check_dns_label: ["a", "0", "web-1", "a" * 63],
    check_version: ["1.0.0", "v2", "1.2.3-rc.1+build_5", "a" * 128],
    check_image: [
        "nginx",
        "nginx:1.27",
        "r.example:5000/team/app:1.0",
        f"app@{DIGEST}",
        f"a/b:1@{DIGEST}",
        "my-app:latest",
    ],
    check_url: ["http://a", "https://a.example:8443/x?y=1#z", "http://[::1]:80/", "http://127.0.0.1"],
    check_host_port: ["a:1", "127.0.0.1:65535", "[::1]:80", "a.example:443"],
    check_env_name: ["A", "_x9", "a" * 255],
    check_resource_name: ["pipelines/hello-web", "pipelines/a/environments/b/deployments/c9"],
    check_email: ["a@b", "first.last+tag@mail.example"],
    check_header_name: ["X-Trace-Id", "etag"],
    check_printable: ["", "tab\there\nand ümlaut", "€" * 10],
    check_uuid: ["00000000-0000-0000-0000-00000000000a", "ABCDEF01-2345-6789-abcd-ef0123456789"],
}
BAD: dict[Predicate, list[str]] = {
    check_dns_label: ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64, "a\n", "ä"],
    check_version: ["", ".1", "-1", "1..2", "a/b", "a b", "a" * 129, "1\n", "../x"],
    check_image: ["", "App", "app:", "app@sha256:0", "-a", "a//b", "a:b:c", "a b", "app\n", "a" * 256, "a" * 5000],
    check_url: [
        "",
        "ftp://a",
        "//a",
        "a",
        "http://",
        "http://u:p@a",
        "http://u@a",
        "http://a:0",
        "http://a:99999",
        "http://a:",
        "http://a b",
        "http://a\\b",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://ä",
        "javascript:x",
        "http://" + "a" * 2048,
    ],
    check_host_port: ["", "a", "a:", ":1", "a:0", "a:65536", "::1:80", "[::1]", "a:٣", "a b:1", "[x]:1", "a:+1"],
    check_env_name: ["", "1a", "a-b", "a b", "a=b", "a\n", "a" * 256],
    check_resource_name: ["", "a", "a/", "a/B", "a/b/c", "/a/b", "a/../b", "a/b\n"],
    check_email: [
        "",
        "a",
        "@b",
        "a@",
        "a@b@c",
        "a b@c",
        "a@b c",
        "a@b\nBcc: c@d",
        '"a"@b',
        "a" * 65 + "@b",
        "a@" + "b" * 254,
    ],
    check_header_name: ["", "a b", "a:", "a\r\n", "ä"],
    check_printable: ["\x00", "a\rb", "\x1b[31m", "\x7f", "\x85"],
    check_uuid: ["", "0" * 32, "00000000-0000-0000-0000-00000000000g", "{00000000-0000-0000-0000-000000000000}"],
}


@pytest.mark.parametrize(("predicate", "value"), [(p, v) for p, values in GOOD.items() for v in values])
def test_a_good_value_has_nothing_wrong(predicate: Predicate, value: str) -> None:
    assert predicate(value) is None


@pytest.mark.parametrize(("predicate", "value"), [(p, v) for p, values in BAD.items() for v in values])
def test_a_bad_value_is_told_in_words_that_follow_the_name_of_a_field(predicate: Predicate, value: str) -> None:
    assert (predicate(value) or "").startswith(("must be", "must have", "must hold", "must not"))


def test_the_formats_of_the_contracts_are_exactly_those_that_the_contract_lists() -> None:
    listed = {"version", "image", "url", "host_port", "env_name", "resource_name", "email", "header_name"}
    assert set(FORMATS) == listed


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", "a(?!b)", "(?<=a)b", "(?<!a)b"])
def test_a_pattern_that_other_languages_cannot_follow_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        matching(pattern)


def test_a_pattern_has_to_match_the_whole_value() -> None:
    check = matching("[a-z]+|\\(\\?=")
    assert [check("abc"), check("(?=")] == [None, None]
    assert all(check(value) for value in ("abc1", "1abc", "abc\n", ""))


@given(st.text(alphabet=string.ascii_letters + string.digits + "-._é\n", max_size=70))
def test_a_dns_label_is_what_its_plain_reading_says(value: str) -> None:
    allowed = set(string.ascii_lowercase + string.digits + "-")
    plain = 1 <= len(value) <= 63 and set(value) <= allowed and value[0] != "-" != value[-1]
    assert (check_dns_label(value) is None) == plain


@given(st.text())
def test_printable_is_what_its_plain_reading_says(value: str) -> None:
    plain = not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in value)
    assert (check_printable(value) is None) == plain


@given(st.one_of(st.emails(), st.text(max_size=20)))
def test_an_address_that_is_accepted_cannot_break_out_of_a_header(value: str) -> None:
    if check_email(value) is None:
        assert re.fullmatch(r"[!-~]+@[A-Za-z0-9.-]+", value)
        assert not set(value) & set('<>,;:"\\ ')
