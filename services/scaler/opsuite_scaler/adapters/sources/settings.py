"""The file of metric sources (YAML): where each is and how it is asked.

    sources:
      prometheus:                         # the name that policies give
        kind: prometheus
        url: https://prometheus.example.com
        token: {file: prometheus-token}   # below the secrets directory; or {env: PROMETHEUS_TOKEN}, if allowed
        member_label: pod
      jobs:
        kind: redis
        url: redis://redis.example.com:6379/0
        password: {env: REDIS_PASSWORD}
        timeout: 2                        # seconds

Kinds are prometheus, redis, rabbitmq and postgresql. An address holds no password: a file that does is refused. The
sources "platform", "push" and "keda" are there without being named.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_notify.port import EnvSecret, FileSecret
from opsuite_notify.secrets import SecretSource
from opsuite_scaler.adapters.sources.credentials import Credential
from opsuite_scaler.adapters.sources.registry import NamedSource
from opsuite_scaler.adapters.sources.source import MetricSource
from opsuite_scaler.application.ports import KEDA_SOURCE, PLATFORM_SOURCE, PUSH_SOURCE

RESERVED: Final = frozenset({PLATFORM_SOURCE, PUSH_SOURCE, KEDA_SOURCE})
REASON: Final = "SOURCES_FILE_INVALID"


def _without_password(url: str) -> str:
    if urlsplit(url).password is not None:
        raise ValueError("an address holds no password: name where it is found")
    return url


def _not_reserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError(f"{name} is there by itself")
    return name


Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"), AfterValidator(_not_reserved)]
Url = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_without_password)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretSetting(_Part):
    """Where a credential is found: one of both."""

    env: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> SecretSetting:
        if (self.env is None) == (self.file is None):
            raise ValueError("name one of both, env or file")
        return self

    def within(self, secrets: SecretSource) -> Credential:
        """How it is found when it is needed."""
        reference = FileSecret(self.file or "") if self.env is None else EnvSecret(self.env)
        return partial(secrets.resolve, reference)


class _Source(_Part):
    url: Url
    timeout: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Seconds."""


class PrometheusSettings(_Source):
    """A Prometheus."""

    kind: Literal["prometheus"]
    token: SecretSetting | None = None
    ca_file: Path | None = None
    """Who may vouch for it; None: those that the system trusts."""
    member_label: str = "pod"

    def build(self, secrets: SecretSource) -> MetricSource:
        """The source."""
        from opsuite_scaler.adapters.sources.prometheus import PrometheusSource

        tls = None if self.ca_file is None else ssl.create_default_context(cafile=self.ca_file)
        return PrometheusSource(self.url, token=_found(self.token, secrets), tls=tls, member_label=self.member_label)


class _Login(_Source):
    username: str | None = None
    password: SecretSetting | None = None


class RedisSettings(_Login):
    """A Redis."""

    kind: Literal["redis"]

    def build(self, secrets: SecretSource) -> MetricSource:
        """The source."""
        from opsuite_scaler.adapters.sources.redis import RedisSource

        return RedisSource(self.url, username=self.username, password=_found(self.password, secrets))


class RabbitmqSettings(_Login):
    """A virtual host of a RabbitMQ."""

    kind: Literal["rabbitmq"]

    def build(self, secrets: SecretSource) -> MetricSource:
        """The source."""
        from opsuite_scaler.adapters.sources.rabbitmq import RabbitmqSource

        return RabbitmqSource(self.url, username=self.username, password=_found(self.password, secrets))


class PostgresqlSettings(_Source):
    """A database; its user stands in the address."""

    kind: Literal["postgresql"]
    password: SecretSetting | None = None

    def build(self, secrets: SecretSource) -> MetricSource:
        """The source."""
        from opsuite_scaler.adapters.sources.postgresql import PostgresqlSource

        limit = timedelta(seconds=self.timeout)
        return PostgresqlSource(self.url, password=_found(self.password, secrets), statement_timeout=limit)


Settings = Annotated[
    PrometheusSettings | RedisSettings | RabbitmqSettings | PostgresqlSettings, Field(discriminator="kind")
]


class SourcesFile(_Part):
    """All that a file names."""

    sources: dict[Name, Settings]

    def build(self, secrets: SecretSource) -> Mapping[str, NamedSource]:
        """The sources by name; nothing is connected yet. Their programs are loaded only where a file names them."""
        return {
            name: NamedSource(each.build(secrets), timedelta(seconds=each.timeout))
            for name, each in self.sources.items()
        }


def read_sources(path: Path) -> SourcesFile:
    """What a file names. Raises InvalidInput with every problem, by its path in the file."""
    document = _document(path)
    try:
        return SourcesFile.model_validate(document)
    except ValidationError as error:
        # Only where and what, never the value: it may be a secret in the wrong place.
        problems = [Violation(_path(problem["loc"]), problem["msg"]) for problem in error.errors(include_input=False)]
        raise InvalidInput([problem.below(str(path)) for problem in problems], reason=REASON) from None


def _document(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput([Violation(str(path), f"cannot be read: {error}")], reason=REASON) from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f" in line {error.problem_mark.line + 1}"
        raise InvalidInput([Violation(str(path), f"is not YAML: {error.problem}{line}")], reason=REASON) from None
    except yaml.YAMLError:
        raise InvalidInput([Violation(str(path), "is not YAML")], reason=REASON) from None


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location if part != "[key]")


def _found(setting: SecretSetting | None, secrets: SecretSource) -> Credential | None:
    return None if setting is None else setting.within(secrets)
