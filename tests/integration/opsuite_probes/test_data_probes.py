"""Probes of PostgreSQL, Redis, Prometheus, certificates and disks against the real things."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from metric_servers import PASSWORD, prometheus_server, redis_server
from postgres import Cluster
from server_processes import ServerProcess, free_port

from opsuite_probes.port import (
    CertificateProbe,
    DiskProbe,
    Outcome,
    PostgresqlProbe,
    Probe,
    ProbeResult,
    PrometheusProbe,
    RedisProbe,
)
from opsuite_probes.prober import NetworkProber

__all__ = ["prometheus_server", "redis_server"]

PATIENCE = timedelta(seconds=20)
GOOD, BAD, NOTHING = Outcome.HEALTHY, Outcome.UNHEALTHY, Outcome.UNKNOWN


async def ask(probe: Probe, timeout: timedelta = PATIENCE) -> ProbeResult:
    async with NetworkProber() as prober:
        return await prober.ask(probe, timeout=timeout)


async def test_postgresql_that_answers_is_well(postgres_cluster: Cluster) -> None:
    result = await ask(PostgresqlProbe(postgres_cluster.url()))

    assert (result.outcome, result.message) == (GOOD, "SELECT 1 is answered")


async def test_postgresql_that_is_down_or_another_thing_is_not(postgres_cluster: Cluster) -> None:
    nobody = await ask(PostgresqlProbe(f"postgresql://opsuite@127.0.0.1:{free_port()}/postgres"))
    no_database = await ask(PostgresqlProbe(postgres_cluster.url("nothing")))

    assert (nobody.outcome, nobody.message) == (BAD, "connection refused")
    assert no_database.outcome is BAD


async def test_postgresql_that_cannot_be_asked_is_unknown() -> None:
    malformed = await ask(PostgresqlProbe("postgresql://h/d?no_such_setting=hunter2"))
    nowhere = await ask(PostgresqlProbe("postgresql://opsuite@no-such-host.invalid/postgres"))

    assert (malformed.outcome, malformed.message) == (NOTHING, "cannot be asked: the URL is malformed")
    assert (nowhere.outcome, nowhere.message) == (NOTHING, "cannot be asked: the host name does not resolve")


async def test_redis_answers_ping(redis_server: ServerProcess) -> None:
    result = await ask(RedisProbe(f"redis://127.0.0.1:{redis_server.port}/0", PASSWORD))

    assert (result.outcome, result.message) == (GOOD, "PONG")


@pytest.mark.parametrize("password", ["", "hunter2"])
async def test_a_wrong_password_for_redis_says_nothing_about_it(redis_server: ServerProcess, password: str) -> None:
    result = await ask(RedisProbe(f"redis://127.0.0.1:{redis_server.port}/0", password))

    assert (result.outcome, result.message) == (
        NOTHING,
        "cannot be asked: Redis refuses the user or the password",
    )


async def test_redis_that_is_down_is_unhealthy_and_one_that_has_no_name_is_unknown() -> None:
    nobody = await ask(RedisProbe(f"redis://127.0.0.1:{free_port()}"))
    nowhere = await ask(RedisProbe("redis://no-such-host.invalid"))
    malformed = await ask(RedisProbe("http://h"))

    assert (nobody.outcome, nobody.message) == (BAD, "connection refused")
    assert (nowhere.outcome, nowhere.message) == (NOTHING, "cannot be asked: the host name does not resolve")
    assert malformed.outcome is NOTHING


@pytest.mark.parametrize(
    "probe", [RedisProbe("redis://127.0.0.1:{}"), PostgresqlProbe("postgresql://o@127.0.0.1:{}/d")]
)
async def test_a_peer_that_accepts_and_says_nothing_is_waited_for_no_longer_than_asked(
    probe: RedisProbe | PostgresqlProbe,
) -> None:
    is_over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        result = await ask(type(probe)(probe.url.format(port)), timedelta(milliseconds=200))
        is_over.set()

    assert (result.outcome, result.message) == (BAD, "no answer within 0.2 s")


async def test_prometheus_gives_a_number(prometheus_server: tuple[ServerProcess, int]) -> None:
    url = f"http://127.0.0.1:{prometheus_server[0].port}/"

    assert (await ask(PrometheusProbe(url, "40 + 2"))).value == 42
    assert (await ask(PrometheusProbe(url, "vector(7)"))).value == 7


@pytest.mark.parametrize("query", ["sum(", "no_such_metric", "prometheus_http_requests_total[5m]"])
async def test_what_prometheus_cannot_tell_is_unknown(prometheus_server: tuple[ServerProcess, int], query: str) -> None:
    result = await ask(PrometheusProbe(f"http://127.0.0.1:{prometheus_server[0].port}", query))

    assert (result.outcome, result.value) == (NOTHING, None)


async def test_prometheus_that_is_away_says_nothing_about_the_target() -> None:
    away = await ask(PrometheusProbe(f"http://127.0.0.1:{free_port()}", "up"))
    unset = await ask(PrometheusProbe("", "up"))

    assert {away.outcome, unset.outcome} == {NOTHING}


async def test_a_certificate_is_read_though_nobody_trusts_it(tmp_path: Path) -> None:
    context = self_signed(tmp_path, valid_for=timedelta(days=5))

    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        result = await ask(CertificateProbe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", "shop.example"))

    assert result.outcome is GOOD
    assert result.value is not None
    assert timedelta(days=4) < timedelta(seconds=result.value) < timedelta(days=5, seconds=1)


async def test_an_expired_certificate_is_read_too(tmp_path: Path) -> None:
    context = self_signed(tmp_path, valid_for=timedelta(days=-1))

    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        result = await ask(CertificateProbe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))

    assert result.value is not None
    assert result.value < -80_000
    assert "has expired" in result.message


async def test_one_who_speaks_no_tls_shows_no_certificate() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        result = await ask(CertificateProbe(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))

    assert (result.outcome, result.value) == (BAD, None)


async def test_a_disk_tells_how_full_it_is(tmp_path: Path) -> None:
    there = await ask(DiskProbe(str(tmp_path)))
    nowhere = await ask(DiskProbe(str(tmp_path / "nothing")))

    assert there.outcome is GOOD
    assert there.value is not None
    assert 0 <= there.value <= 100
    assert (nowhere.outcome, nowhere.value) == (NOTHING, None)


def self_signed(folder: Path, valid_for: timedelta) -> ssl.SSLContext:
    """What a server shows that has made its certificate itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + valid_for)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
