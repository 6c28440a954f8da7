"""HTTP targets that misbehave, over real sockets."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from opsuite_probes.port import BODY_LIMIT_BYTES, HttpProbe, Outcome, ProbeResult
from opsuite_probes.prober import NetworkProber

PATIENCE = timedelta(seconds=10)
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A raw server of one behaviour; gives its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await behaviour(reader, writer)
        except ConnectionError:
            pass  # the prober has heard enough
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def saying(answer: bytes) -> Behaviour:
    async def behaviour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    return behaviour


def page(body: bytes, status: str = "200 OK", headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status.encode(), headers, len(body), body)


async def ask(port: int, timeout: timedelta = PATIENCE, scheme: str = "http", **probe: object) -> ProbeResult:
    async with NetworkProber() as prober:
        return await prober.ask(HttpProbe(f"{scheme}://127.0.0.1:{port}/", **probe), timeout=timeout)  # type: ignore[arg-type]  # forwarded as given


async def test_a_body_that_holds_the_text_is_healthy() -> None:
    async with serving(saying(page("version 1.2.0 läuft".encode()))) as port:
        result = await ask(port, body_contains="1.2.0 läuft")

    assert result.outcome is Outcome.HEALTHY


async def test_a_body_without_the_text_is_unhealthy_and_never_quoted() -> None:
    async with serving(saying(page(b"token=hunter2"))) as port:
        result = await ask(port, body_contains="1.2.0")

    assert result.outcome is Outcome.UNHEALTHY
    assert "body" in result.message
    assert "hunter2" not in result.message


async def test_another_status_than_expected_is_named() -> None:
    async with serving(saying(page(b"", status="404 Not Found"))) as port:
        assert (await ask(port)).message == "HTTP 404, expected 200"
        assert (await ask(port, expected_status=404)).outcome is Outcome.HEALTHY


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with (
        serving(saying(page(b"home"))) as home,
        serving(saying(page(b"", "302 Found", b"Location: http://127.0.0.1:%d/\r\n" % home))) as port,
    ):
        assert (await ask(port)).message == "HTTP 302, expected 200"
        assert (await ask(port, expected_status=302)).outcome is Outcome.HEALTHY


async def test_text_beyond_the_first_64_kib_is_not_found_and_the_rest_is_not_read() -> None:
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * BODY_LIMIT_BYTES + b"1.2.0")
        while sent < 1_000_000_000:
            writer.write(b"x" * 100_000)
            await writer.drain()
            sent += 100_000

    async with serving(flood) as port:
        result = await ask(port, body_contains="1.2.0")

    assert result.outcome is Outcome.UNHEALTHY
    assert sent < 50_000_000


async def test_text_that_ends_exactly_at_64_kib_is_found() -> None:
    body = b"x" * (BODY_LIMIT_BYTES - 5) + b"1.2.0"
    async with serving(saying(page(body))) as port:
        assert (await ask(port, body_contains="1.2.0")).outcome is Outcome.HEALTHY


async def test_a_packed_body_is_not_unpacked() -> None:
    async with serving(saying(page(b"not really gzip 1.2.0", headers=b"Content-Encoding: gzip\r\n"))) as port:
        assert (await ask(port, body_contains="1.2.0")).outcome is Outcome.HEALTHY


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\xfe" * 100,
        b"",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 1_000_000 + b"\r\n\r\n",
    ],
    ids=["another protocol", "binary", "hang-up", "endless header"],
)
async def test_garbage_is_unhealthy(garbage: bytes) -> None:
    async with serving(saying(garbage)) as port:
        assert (await ask(port)).outcome is Outcome.UNHEALTHY


async def test_a_body_that_breaks_off_is_unhealthy() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")) as port:
        assert (await ask(port, body_contains="1.2.0")).outcome is Outcome.UNHEALTHY


async def test_a_body_that_trickles_is_given_up_at_the_timeout() -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(trickle) as port:
        result = await ask(port, timeout=timedelta(milliseconds=100), body_contains="1.2.0")

    assert result.message == "no answer within 0.1 s"


async def test_every_try_opens_a_connection_of_its_own() -> None:
    connections: list[object] = []

    async def counting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(page(b"hello"))

    async with serving(counting) as port, NetworkProber() as prober:
        for _ in range(3):
            await prober.ask(HttpProbe(f"http://127.0.0.1:{port}/"), timeout=PATIENCE)

    assert len(connections) == 3


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with serving(saying(page(b"hello"))) as port:
        assert (await ask(port)).outcome is Outcome.HEALTHY


async def test_cookies_are_not_carried_from_one_try_to_the_next() -> None:
    requests: list[bytes] = []

    async def remember(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(page(b"", headers=b"Set-Cookie: a=b; Path=/\r\n"))

    # By name: a cookie of a bare address would be dropped by any jar.
    async with serving(remember) as port, NetworkProber() as prober:
        for _ in range(2):
            await prober.ask(HttpProbe(f"http://localhost:{port}/"), timeout=PATIENCE)

    assert len(requests) == 2
    assert b"cookie" not in requests[1].lower()


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody vouches for, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


async def test_a_certificate_that_nobody_vouches_for_is_unhealthy(tmp_path: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(self_signed(tmp_path))

    async with serving(saying(page(b"hello")), tls=server) as port:
        result = await ask(port, scheme="https")

    assert result.outcome is Outcome.UNHEALTHY
    assert "TLS" in result.message


async def test_a_certificate_of_a_given_authority_is_trusted(tmp_path: Path) -> None:
    file = self_signed(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)

    async with (
        serving(saying(page(b"hello")), tls=server) as port,
        NetworkProber(tls=ssl.create_default_context(cafile=file)) as prober,
    ):
        result = await prober.ask(HttpProbe(f"https://127.0.0.1:{port}/"), timeout=PATIENCE)

    assert result.outcome is Outcome.HEALTHY, result.message


async def test_a_server_that_does_not_speak_tls_is_unhealthy() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(page(b"hello"))

    async with serving(plain) as port:
        result = await ask(port, scheme="https")

    assert result.outcome is Outcome.UNHEALTHY
    assert "TLS" in result.message


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1", "http://", "http://[::1", "http://127.0.0.1:99999/", "http://user:hunter2@a b/",
     "file:///etc/passwd", "http://" + "a" * 300 + "/", "http://\x00/", "http://a..b/", "//127.0.0.1/"],
)  # fmt: skip
async def test_a_malformed_url_is_unknown_and_never_quoted(url: str) -> None:
    async with NetworkProber() as prober:
        result = await prober.ask(HttpProbe(url), timeout=PATIENCE)

    assert result.outcome is Outcome.UNKNOWN
    assert "hunter2" not in result.message


async def test_a_host_name_that_does_not_exist_is_unknown() -> None:
    async with NetworkProber() as prober:
        result = await prober.ask(HttpProbe("http://no-such-host.invalid/"), timeout=PATIENCE)

    assert result.outcome is Outcome.UNKNOWN


async def test_a_prober_can_be_closed_twice_and_used_again() -> None:
    async with serving(saying(page(b"hello"))) as port:
        prober = NetworkProber()
        await prober.close()
        assert (await prober.ask(HttpProbe(f"http://127.0.0.1:{port}/"), timeout=PATIENCE)).outcome is Outcome.HEALTHY
        await prober.close()
        await prober.close()
