"""Asks targets what checks want to know. Fits `application.checks.ports.World`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from opsuite_healer.adapters.checks.commands import Commands
from opsuite_healer.adapters.workloads import Workloads
from opsuite_healer.domain.checks.answers import Answer, Sight
from opsuite_healer.domain.checks.check import (
    CERTIFICATE_EXPIRES,
    DISK_FULL,
    MISSING,
    THRESHOLD,
    CheckSpec,
    CommandText,
    PostgresqlText,
    RedisText,
    StateProbe,
)
from opsuite_healer.domain.checks.replicas import state_answer, state_answers
from opsuite_kernel.clock import Clock
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError
from opsuite_notify.port import SecretRef
from opsuite_notify.secrets import SecretSource
from opsuite_platforms.port import Replica, WorkloadStatus
from opsuite_probes.port import (
    CertificateProbe,
    DiskProbe,
    GrpcProbe,
    HttpProbe,
    Outcome,
    PostgresqlProbe,
    Probe,
    Prober,
    PrometheusProbe,
    RedisProbe,
    TcpProbe,
)
from opsuite_validation.templates import substitute

ISSUES: Final[Mapping[type, str]] = {
    PrometheusProbe: THRESHOLD,
    CertificateProbe: CERTIFICATE_EXPIRES,
    DiskProbe: DISK_FULL,
}
"""What is wrong where a number is beyond its level."""
OUR_PORT: Final = "port"
LONGEST_MESSAGE: Final = 500


class AskingWorld:
    """Over a prober, platforms and commands."""

    def __init__(
        self,
        *,
        prober: Prober,
        workloads: Workloads,
        commands: Commands,
        secrets: SecretSource,
        prometheus_url: str,
        clock: Clock,
    ) -> None:
        """`prometheus_url` is asked by checks that name none."""
        self._prober = prober
        self._workloads = workloads
        self._commands = commands
        self._secrets = secrets
        self._prometheus_url = prometheus_url
        self._clock = clock

    async def look(self, spec: CheckSpec) -> Sight:
        """What a check finds now, in words that can be shown and kept."""
        sight = await self._look(spec)
        answers = {name: replace(one, message=shown(one.message)) for name, one in sight.answers.items()}
        return replace(sight, answers=answers, why_not=shown(sight.why_not))

    async def _look(self, spec: CheckSpec) -> Sight:
        if not spec.covers_replicas:
            return Sight({spec.target.replica: await self._ask(spec, {})})
        try:
            async with asyncio.timeout(spec.timeout.total_seconds()):
                status = await self._workloads.observe(spec.target)
        except NotFound as error:
            answer = Answer(Outcome.UNHEALTHY, error.message, self._clock.now(), issue=MISSING, is_crash=True)
            return Sight({spec.target.replica: answer})
        except TimeoutError:
            return Sight(is_complete=False, why_not="cannot be asked: the platform does not answer in time")
        except OpsuiteError as error:
            return Sight(is_complete=False, why_not=f"cannot be asked: {error.message}")
        return Sight(await self._of_replicas(spec, status))

    async def _of_replicas(self, spec: CheckSpec, status: WorkloadStatus) -> Mapping[str, Answer]:
        states = state_answers(status, spec.target.replica, self._clock.now())
        if isinstance(spec.question, StateProbe):
            return states
        meant = [one for one in status.replicas if one.name in states]
        if not meant and spec.target.replica:
            return states
        answers = await asyncio.gather(*(self._of_replica(spec, one) for one in meant))
        return {one.name: answer for one, answer in zip(meant, answers, strict=True)}

    async def _of_replica(self, spec: CheckSpec, replica: Replica) -> Answer:
        """What a replica says; one that does not run is not asked."""
        now = self._clock.now()
        state = state_answer(replica, now)
        if state.outcome is not Outcome.HEALTHY:
            return replace(state, message=f"it does not run; {state.message}")
        return replace(await self._ask(spec, places(replica)), started_at=replica.started_at)

    async def _ask(self, spec: CheckSpec, values: Mapping[str, str]) -> Answer:
        now = self._clock.now()
        try:
            probe = self._probe(spec, values)
        except InvalidInput as error:
            return Answer(Outcome.UNKNOWN, f"cannot be asked: {error.violations[0].description}", now)
        except OpsuiteError as error:  # a secret that is not there
            return Answer(Outcome.UNKNOWN, f"cannot be asked: {error.message}", now)
        result = await self._prober.ask(probe, timeout=spec.timeout)
        issue = ISSUES.get(type(probe), "") if result.value is not None else ""
        return Answer(result.outcome, result.message, now, result.latency, result.value, issue)

    def _probe(self, spec: CheckSpec, values: Mapping[str, str]) -> Probe:
        """What is asked, with templates filled and secrets found. Raises InvalidInput, and what secrets raise."""
        match spec.question:
            case HttpProbe() as http:
                return replace(http, url=substitute(http.url, values)) if values else http
            case TcpProbe() as tcp:
                return replace(tcp, address=substitute(tcp.address, values)) if values else tcp
            case GrpcProbe() as grpc:
                return replace(grpc, address=substitute(grpc.address, values)) if values else grpc
            case CommandText() as text:
                return self._commands.probe(text)
            case PrometheusProbe() as prometheus:
                return replace(prometheus, url=prometheus.url or self._prometheus_url)
            case PostgresqlText(url, password):
                return PostgresqlProbe(url, self._secret(password))
            case RedisText(url, password):
                return RedisProbe(url, self._secret(password))
            case CertificateProbe() | DiskProbe() as probe:
                return probe
            case StateProbe():
                raise AssertionError("platforms are asked for states")

    def _secret(self, ref: SecretRef | None) -> str:
        return self._secrets.resolve(ref).reveal() if ref else ""


def shown(message: str) -> str:
    """A message without what no terminal and no database takes: control characters, halves of characters."""
    if message.isprintable() and len(message) <= LONGEST_MESSAGE:
        return message
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in message[:LONGEST_MESSAGE])


def places(replica: Replica) -> Mapping[str, str]:
    """What templates may refer to: `port` is the only port, or the one of that name, or the first."""
    ports = {name: str(number) for name, number in replica.ports.items()}
    named = {f"port_{name.replace('-', '_')}": number for name, number in ports.items()}
    first = ports.get(OUR_PORT) or ports.get("http") or next(iter(ports.values()), "")
    host = f"[{replica.host}]" if ":" in replica.host else replica.host
    return {**named, **({"port": first} if first else {}), "host": host, "replica": replica.name}
