"""E-mails to a real SMTP server."""

from __future__ import annotations

import asyncio
import email
import email.message
import email.policy
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fakes.clock import NOON, FakeClock

from opsuite_notify.port import EmailChannel, EnvSecret, Message, NotNow, Refused, SendResult, Sent
from opsuite_notify.secrets import SecretSource
from opsuite_notify.senders import ChannelSender
from opsuite_notify.smtp import SmtpMailer, SmtpSecurity, SmtpSettings

MESSAGE = Message(
    event="DEPLOYMENT_ROLLED_BACK",
    title="läuft wieder als 1.1.0",
    text="Der Health-Check blieb ungesund.",
    time=NOON,
    key="deployments/1",
    fields={"version": "1.2.0"},
)


class Mailbox:
    """Handler of aiosmtpd that keeps what arrives and answers what it is told."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.was_encrypted: list[bool] = []
        self.users: list[bytes] = []
        self.data_answer = "250 OK"
        self.refused: dict[str, str] = {}

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if answer := self.refused.get(address):
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data_answer.startswith("250"):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = email.message_from_bytes(content, policy=email.policy.default)
            assert isinstance(mail, email.message.EmailMessage)
            self.mails.append(mail)
            self.recipients.append(list(envelope.rcpt_tos))
            self.was_encrypted.append(session.ssl is not None)
        return self.data_answer

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login)
        return AuthResult(success=data.password == b"hunter2", handled=False)


@asynccontextmanager
async def smtp_server(mailbox: Mailbox, **options: Any) -> AsyncIterator[int]:
    """A server on loopback; gives its port."""
    protocol = partial(SMTP, mailbox, hostname="localhost", **options)
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def send(
    port: int, to: tuple[str, ...] = ("ops@example.org",), tls: ssl.SSLContext | None = None, **settings: Any
) -> SendResult:
    defaults: dict[str, Any] = {"security": SmtpSecurity.NONE}
    secrets = SecretSource(env={"PASSWORD": "hunter2", "WRONG": "hunter3"}, allowed_env=["PASSWORD", "WRONG"])
    smtp = SmtpMailer(SmtpSettings("127.0.0.1", port, "opsuite@example.org", **defaults | settings), secrets, tls=tls)
    async with ChannelSender(secrets, FakeClock(), smtp=smtp) as sender:
        return await sender.send("01abc", EmailChannel(to), MESSAGE)


async def test_an_email_arrives_with_its_headers_and_text() -> None:
    mailbox = Mailbox()
    async with smtp_server(mailbox) as port:
        assert await send(port, ("ops@example.org", "dev@example.org")) == Sent()

    (mail,) = mailbox.mails
    assert mail["From"] == "opsuite@example.org"
    assert mail["To"] == "ops@example.org, dev@example.org"
    assert mail["Subject"] == "läuft wieder als 1.1.0"
    assert mail["Message-ID"] == "<01abc@example.org>"
    assert mail["X-Opsuite-Delivery"] == "01abc"
    assert mail["Date"].datetime == NOON
    assert mail.get_content().splitlines() == ["Der Health-Check blieb ungesund.", "", "version: 1.2.0"]
    assert mailbox.recipients == [["ops@example.org", "dev@example.org"]]


@pytest.mark.parametrize("answer", ["451 try later", "421 shutting down"])
async def test_an_answer_of_4xx_is_worth_another_try(answer: str) -> None:
    mailbox = Mailbox()
    mailbox.data_answer = answer
    async with smtp_server(mailbox) as port:
        assert await send(port) == NotNow(f"SMTP {answer[:3]}")


async def test_an_answer_of_5xx_is_final() -> None:
    mailbox = Mailbox()
    mailbox.data_answer = "554 hunter2 is not welcome"
    async with smtp_server(mailbox) as port:
        assert await send(port) == Refused("SMTP 554")


async def test_an_unknown_recipient_is_final_and_a_busy_one_is_not() -> None:
    mailbox = Mailbox()
    mailbox.refused = {"gone@example.org": "550 no such user", "busy@example.org": "450 mailbox busy"}
    async with smtp_server(mailbox) as port:
        assert await send(port, ("gone@example.org",)) == Refused("SMTP 550")
        assert await send(port, ("busy@example.org",)) == NotNow("SMTP 450")


async def test_one_unknown_recipient_does_not_keep_the_others_from_hearing() -> None:
    mailbox = Mailbox()
    mailbox.refused = {"gone@example.org": "550 no such user"}
    async with smtp_server(mailbox) as port:
        assert await send(port, ("gone@example.org", "ops@example.org")) == Sent()

    assert mailbox.recipients == [["ops@example.org"]]


async def test_a_server_that_is_away_is_worth_another_try() -> None:
    async with smtp_server(Mailbox()) as port:
        pass
    assert isinstance(await send(port), NotNow)


def a_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (file := folder / "server.pem").write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return a_certificate(tmp_path)


def serving_with(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


LOGIN: dict[str, Any] = {"security": SmtpSecurity.STARTTLS, "username": "opsuite", "password": EnvSecret("PASSWORD")}


async def test_credentials_go_over_starttls(certificate: Path) -> None:
    mailbox = Mailbox()
    options = {"tls_context": serving_with(certificate), "authenticator": mailbox.authenticate, "auth_required": True}
    async with smtp_server(mailbox, **options) as port:
        assert await send(port, tls=ssl.create_default_context(cafile=certificate), **LOGIN) == Sent()

    assert mailbox.was_encrypted == [True]
    assert mailbox.users == [b"opsuite"]


async def test_a_wrong_password_is_final(certificate: Path) -> None:
    mailbox = Mailbox()
    options = {"tls_context": serving_with(certificate), "authenticator": mailbox.authenticate, "auth_required": True}
    wrong = LOGIN | {"password": EnvSecret("WRONG")}
    async with smtp_server(mailbox, **options) as port:
        assert await send(port, tls=ssl.create_default_context(cafile=certificate), **wrong) == Refused("SMTP 535")


async def test_a_server_without_starttls_gets_nothing() -> None:
    mailbox = Mailbox()
    async with smtp_server(mailbox) as port:
        result = await send(port, security=SmtpSecurity.STARTTLS)

    assert not isinstance(result, Sent)
    assert mailbox.mails == []


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(certificate: Path) -> None:
    mailbox = Mailbox()
    async with smtp_server(mailbox, tls_context=serving_with(certificate)) as port:
        result = await send(port, **LOGIN)

    assert not isinstance(result, Sent)
    assert mailbox.mails == []
    assert mailbox.users == []


async def test_an_email_without_an_smtp_server_in_the_settings_is_refused() -> None:
    async with ChannelSender(SecretSource(env={}), FakeClock()) as sender:
        assert isinstance(await sender.send("1", EmailChannel(("ops@example.org",)), MESSAGE), Refused)


def test_credentials_without_tls_are_refused_by_the_settings() -> None:
    with pytest.raises(ValueError, match="TLS"):
        SmtpSettings("localhost", 25, "a@b", SmtpSecurity.NONE, "opsuite", EnvSecret("PASSWORD"))
    with pytest.raises(ValueError, match="neither"):
        SmtpSettings("localhost", 25, "a@b", SmtpSecurity.TLS, "opsuite")
