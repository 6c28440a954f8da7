"""Predicates over single values, each the same wherever a value enters: contract, settings, command line.

A predicate returns what is wrong, in words that follow the name of a field ("must be …"), or None. None of them repeats
the value, which may be long, secret or made to confuse a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

Predicate = Callable[[str], str | None]
"""Returns what is wrong with a value, or None."""

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_HOST_LABEL}(?:\.{_HOST_LABEL})*").fullmatch
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]").search
_VISIBLE_ASCII: Final = re.compile(r"[!-~]+").fullmatch
_LOOK_AROUND: Final = re.compile(r"\(\?<?[=!]").search
_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)
_LONGEST_URL: Final = 2048
_LONGEST_EMAIL: Final = 254
_LONGEST_REPOSITORY: Final = 255
_LARGEST_PORT: Final = 65535

# Grammar of references in the OCI distribution project.
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE: Final = re.compile(
    rf"(?P<repository>(?:(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?/)?"
    rf"{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
).fullmatch


def matching(pattern: str, wanted: str = "") -> Predicate:
    """Return a predicate for "the whole string matches `pattern`", told to people as `wanted`.

    Raises ValueError if the pattern is not a regular expression or looks around, which other languages cannot do.
    """
    try:
        fullmatch = re.compile(pattern).fullmatch
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if _LOOK_AROUND(_ESCAPED.sub("", pattern)):
        raise ValueError(f"{pattern!r} looks around")
    wrong = f"must {wanted or f'match {pattern}'}"

    def check(value: str) -> str | None:
        return None if fullmatch(value) else wrong

    return check


check_dns_label: Final = matching(_LABEL, "be a DNS label: 1 to 63 of a-z, 0-9 and -, neither first nor last a -")
check_uuid: Final = matching(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}",
    "be a UUID in its 36-character form",
)
check_env_name: Final = matching(
    r"[A-Za-z_][A-Za-z0-9_]{0,254}", "be the name of an environment variable: letters, digits and _, no digit first"
)
check_header_name: Final = matching(
    r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}", "be the name of an HTTP header: letters, digits and !#$%&'*+-.^_`|~"
)
check_resource_name: Final = matching(
    rf"[a-z][A-Za-z0-9]{{0,62}}/{_LABEL}(?:/[a-z][A-Za-z0-9]{{0,62}}/{_LABEL}){{0,7}}",
    'be a resource name: pairs of a collection and a DNS label, such as "pipelines/hello-web"',
)
_check_version_characters: Final = matching(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", "have 1 to 128 letters, digits and ._+-, a letter or digit first"
)
_check_email_shape: Final = matching(rf"(?:{_ATOM})(?:\.{_ATOM})*@[^@]+", "be an e-mail address: name@host")


def check_version(value: str) -> str | None:
    """A version or tag. Never two dots in a row, so that it is safe as the name of a directory."""
    return "must not hold .." if ".." in value else _check_version_characters(value)


def check_image(value: str) -> str | None:
    """A container image: `[host[:port]/]repository[:tag][@digest]`."""
    if len(value) <= 2 * _LONGEST_REPOSITORY + 140 and (found := _IMAGE(value)):
        long = len(found["repository"]) > _LONGEST_REPOSITORY
        return f"must have at most {_LONGEST_REPOSITORY} characters before the tag" if long else None
    return "must be an image reference: [host[:port]/]repository[:tag][@digest]"


def check_url(value: str) -> str | None:
    """An http or https URL that a request can be sent to. Credentials in it would end in logs, so they are refused."""
    if len(value) > _LONGEST_URL:
        return f"must have at most {_LONGEST_URL} characters"
    if not _VISIBLE_ASCII(value) or "\\" in value:
        return "must be a URL of visible ASCII characters without \\"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return "must be a URL"
    if parts.scheme not in {"http", "https"}:
        return "must be a URL that starts with http:// or https://"
    if "@" in parts.netloc:
        return "must hold no credentials"
    if port == 0 or parts.netloc.endswith(":") or not _is_host(parts.hostname or "", bracketed="[" in parts.netloc):
        return "must be a URL with a host name or address and a port from 1 to 65535, if any"
    return None


def check_host_port(value: str) -> str | None:
    """`host:port`, an IPv6 address in brackets: `[::1]:8080`."""
    host, separator, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if separator and _is_host(host[1:-1] if bracketed else host, bracketed=bracketed) and _is_port(port):
        return None
    return "must be host:port with a port from 1 to 65535"


def check_email(value: str) -> str | None:
    """An e-mail address in its plain form: no display name, no quotes, no comments."""
    if len(value) > _LONGEST_EMAIL or len(value.partition("@")[0]) > 64:
        return f"must have at most {_LONGEST_EMAIL} characters, 64 before the @"
    if wrong := _check_email_shape(value):
        return wrong
    return None if _HOST_NAME(value.rpartition("@")[2]) else "must be an e-mail address: name@host"


def check_printable(value: str) -> str | None:
    """Text without control characters; tab and newline are fine."""
    if value.isprintable() or not _UNPRINTABLE(value):  # the first is the fast way, and true of most texts
        return None
    return "must hold no control characters other than tab and newline"


FORMATS: Final[Mapping[str, Predicate]] = MappingProxyType(
    {
        "version": check_version,
        "image": check_image,
        "url": check_url,
        "host_port": check_host_port,
        "env_name": check_env_name,
        "resource_name": check_resource_name,
        "email": check_email,
        "header_name": check_header_name,
    }
)
"""What `Rule.format` of the contracts may name."""


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST_NAME(host) is not None
    try:
        # A zone is of one machine only, and not all that parse URLs can read it.
        return "%" not in host and IPv6Address(host) is not None
    except ValueError:
        return False


def _is_port(text: str) -> bool:
    return (
        text.isascii() and text.isdigit() and len(text) <= len(str(_LARGEST_PORT)) and 1 <= int(text) <= _LARGEST_PORT
    )
