"""What is wrong with a check beyond the shape of its message. Pure; every violation at once."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from opsuite_healer.domain.checks.check import (
    CheckSpec,
    CommandText,
    Levels,
    PostgresqlText,
    RedisText,
    StateProbe,
)
from opsuite_healer.domain.trouble import TARGET_LABELS
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_probes.port import CertificateProbe, DiskProbe, GrpcProbe, HttpProbe, PrometheusProbe, TcpProbe
from opsuite_validation.templates import check_template, names_in, substitute
from opsuite_validation.values import check_host_port, check_url

RESERVED_LABELS: Final = frozenset({*TARGET_LABELS, "issue", "severity", "check", "group", "alertname"})
"""Labels that trouble of a check has from elsewhere."""
NAMES: Final = ("port", "host", "replica")
_PORT_NAME: Final = re.compile(r"port_[A-Za-z0-9_]+")

JudgeCommand = Callable[[CommandText], Sequence[Violation]]
"""All that the rules for commands of this server have against one; fields are `command`, `args[2]`, `working_dir`."""


def violations(spec: CheckSpec, judge: JudgeCommand) -> Sequence[Violation]:
    """All that is wrong, by paths below the check."""
    return [*_of_target(spec), *_of_question(spec, judge), *_of_timing(spec), *_of_labels(spec), *_of_flapping(spec)]


def _of_target(spec: CheckSpec) -> Iterator[Violation]:
    target = spec.target
    if target.namespace and target.platform != "kubernetes":
        yield Violation("target.namespace", "is for Kubernetes only", "NOT_ALLOWED")
    if target.replica and not target.platform:
        yield Violation("target.replica", "needs a platform: nobody else knows replicas", "NOT_ALLOWED")
    if spec.covers_replicas and not target.platform:
        yield Violation(
            "target.platform", "is needed: the platform tells which replicas there are, and where", "REQUIRED"
        )


def _of_question(spec: CheckSpec, judge: JudgeCommand) -> Iterator[Violation]:
    match spec.question:
        case HttpProbe():
            yield from _of_text("http.url", spec.text, check_url)
        case TcpProbe():
            yield from _of_text("tcp.address", spec.text, check_host_port)
        case GrpcProbe():
            yield from _of_text("grpc.address", spec.text, check_host_port)
        case CommandText() as command:
            yield from (one.below("command") for one in judge(command))
        case PrometheusProbe():
            yield from _of_levels("prometheus.levels", spec.levels)
        case PostgresqlText(url=url):
            yield from _of_url("postgresql.url", url, ("postgresql", "postgres"))
        case RedisText(url=url):
            yield from _of_url("redis.url", url, ("redis", "rediss"))
        case CertificateProbe(address=address):
            yield from _of_text("certificate.address", address, check_host_port)
        case DiskProbe():
            yield from _of_disk(spec.levels)
        case StateProbe():
            pass


def _of_text(field: str, text: str, judge: Callable[[str], str | None]) -> Iterator[Violation]:
    """A text, and what its templates may refer to."""
    try:
        names = names_in(text)
    except InvalidInput as error:
        yield from (one.below(field) for one in error.violations)
        return
    known = [*NAMES, *(name for name in names if _PORT_NAME.fullmatch(name))]
    if wrong := check_template(text, known):
        yield from (one.below(field) for one in wrong)
        return
    values = {name: "80" if name.startswith("port") else "example" for name in known}
    if why := judge(substitute(text, values)):
        yield Violation(field, why, "FORMAT")


def _of_url(field: str, url: str, schemes: Sequence[str]) -> Iterator[Violation]:
    try:
        parts = urlsplit(url)
        has_password, _ = parts.password is not None, parts.port
    except ValueError:
        yield Violation(field, "is malformed", "FORMAT")
        return
    if parts.scheme not in schemes or not parts.hostname:
        yield Violation(field, f"has to begin with {schemes[0]}:// and a host", "FORMAT")
    if has_password or "password=" in parts.query:
        yield Violation(field, "holds a password: name in `password` where it is found", "SECRET_IN_REQUEST")


def _of_levels(field: str, levels: Levels | None) -> Iterator[Violation]:
    if levels is None:
        return
    for name, value in (("raise", levels.raise_at), ("clear", levels.clear_at)):
        if not math.isfinite(value):
            yield Violation(f"{field}.{name}", "is no finite number", "RANGE")
            return
    if levels.below and levels.clear_at < levels.raise_at:
        yield Violation(f"{field}.clear", "is less than `raise`, while small numbers are bad", "REVERSED")
    if not levels.below and levels.clear_at > levels.raise_at:
        yield Violation(f"{field}.clear", "is more than `raise`, while large numbers are bad", "REVERSED")


def _of_disk(levels: Levels | None) -> Iterator[Violation]:
    if levels is not None and levels.clear_at > levels.raise_at:
        yield Violation("disk.clear_percent", "is more than raise_percent", "REVERSED")


def _of_timing(spec: CheckSpec) -> Iterator[Violation]:
    if spec.timeout > spec.interval:
        yield Violation("timeout", "is longer than the interval", "TOO_LONG")


def _of_labels(spec: CheckSpec) -> Iterator[Violation]:
    for name in sorted(RESERVED_LABELS & spec.labels.keys()):
        yield Violation(f'labels["{name}"]', "is set by the healer itself", "RESERVED")


def _of_flapping(spec: CheckSpec) -> Iterator[Violation]:
    if spec.flapping is not None and spec.flapping.low > spec.flapping.high:
        yield Violation("flapping.low_percent", "is more than high_percent", "REVERSED")
