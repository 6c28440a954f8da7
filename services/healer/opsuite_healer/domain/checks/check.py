"""A check: what is asked of which target, how often, and what decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from opsuite_healer.domain.checks.flapping import FlapLevels
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity
from opsuite_notify.port import SecretRef
from opsuite_probes.hysteresis import Thresholds
from opsuite_probes.port import CertificateProbe, DiskProbe, GrpcProbe, HttpProbe, PrometheusProbe, TcpProbe

UNHEALTHY: Final = "UNHEALTHY"
CRASHED: Final = "CRASHED"
OOM_KILLED: Final = "OOM_KILLED"
RESTART_LOOP: Final = "RESTART_LOOP"
UNREADY: Final = "UNREADY"
STOPPED: Final = "STOPPED"
MISSING: Final = "MISSING"
THRESHOLD: Final = "THRESHOLD"
CERTIFICATE_EXPIRES: Final = "CERTIFICATE_EXPIRES"
DISK_FULL: Final = "DISK_FULL"
FLAPPING: Final = "FLAPPING"


@dataclass(frozen=True, slots=True)
class CommandText:
    """A program as it is written in the check; it is judged and found anew for each try."""

    command: str
    args: tuple[str, ...] = ()
    working_dir: str = ""


@dataclass(frozen=True, slots=True)
class StateProbe:
    """What the platform says of the workload and its replicas."""

    restart_limit: int = 3
    restart_window: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class PostgresqlText:
    """PostgreSQL, and where its password is found."""

    url: str
    password: SecretRef | None = None


@dataclass(frozen=True, slots=True)
class RedisText:
    """Redis, and where its password is found."""

    url: str
    password: SecretRef | None = None


Question = (
    HttpProbe
    | TcpProbe
    | GrpcProbe
    | CommandText
    | StateProbe
    | PrometheusProbe
    | PostgresqlText
    | RedisText
    | CertificateProbe
    | DiskProbe
)


@dataclass(frozen=True, slots=True)
class Levels:
    """Two levels, so that a value that trembles around one does not come and go."""

    raise_at: float
    clear_at: float
    below: bool = False
    """Small values are bad."""

    def is_bad(self, value: float, *, was_bad: bool) -> bool:
        """Whether a value is bad; between the levels it is what it was."""
        if self.below:
            return value <= self.raise_at or (was_bad and value < self.clear_at)
        return value >= self.raise_at or (was_bad and value > self.clear_at)


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A check as it is written down."""

    id: str
    target: TargetRef
    question: Question
    interval: timedelta = timedelta(seconds=30)
    timeout: timedelta = timedelta(seconds=5)
    thresholds: Thresholds = field(default_factory=lambda: Thresholds(success=2, failure=3))
    startup_grace: timedelta = timedelta(seconds=60)
    severity: Severity = Severity.ERROR
    issue: str = ""
    """Empty: what the answer says, or UNHEALTHY."""
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    levels: Levels | None = None
    """What makes a value bad, where a value is asked for."""
    flapping: FlapLevels | None = field(default_factory=FlapLevels)
    """None: it is never said to flap."""
    is_paused: bool = False

    @property
    def name(self) -> str:
        """The resource name."""
        return f"healthChecks/{self.id}"

    @property
    def text(self) -> str:
        """What is asked, where templates may stand in it."""
        match self.question:
            case HttpProbe(url=text) | TcpProbe(address=text) | GrpcProbe(address=text):
                return text
            case _:
                return ""

    @property
    def covers_replicas(self) -> bool:
        """Whether each replica that the platform tells of is asked and judged separately."""
        return isinstance(self.question, StateProbe) or "${" in self.text

    def subject(self, replica: str) -> TargetRef:
        """What is in trouble when an answer about a replica (empty: the target itself) is bad."""
        return TargetRef(self.target.platform, self.target.workload, replica, self.target.namespace)
