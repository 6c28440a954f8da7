"""One e-mail to the SMTP server of the settings, and what its answer means."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from enum import Enum

import aiosmtplib
import structlog

from opsuite_notify.port import NotNow, Refused, SecretRef, SendResult, Sent
from opsuite_notify.secrets import SecretSource

log = structlog.get_logger()


class SmtpSecurity(Enum):
    """How the connection to the SMTP server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    """Required: a server that does not offer it gets nothing."""
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The SMTP server and who we are to it."""

    host: str
    port: int
    sender: str
    """Bare address that stands in From."""
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    username: str = ""
    """Empty means no log-in."""
    password: SecretRef | None = None

    def __post_init__(self) -> None:
        if bool(self.username) != bool(self.password):
            raise ValueError("SMTP wants both a user name and a password, or neither")
        if self.username and self.security is SmtpSecurity.NONE:
            raise ValueError("SMTP credentials are not sent over a connection without TLS")


class SmtpMailer:
    """Sends each e-mail over a connection of its own: there are few, and servers hang up on idle ones."""

    def __init__(self, settings: SmtpSettings, secrets: SecretSource, *, tls: ssl.SSLContext | None = None) -> None:
        """`tls` None means the certificate authorities of the system."""
        self._settings = settings
        self._secrets = secrets
        self._tls = tls
        self.sender = Address(addr_spec=settings.sender)
        """Who stands in From."""

    async def send(self, mail: EmailMessage) -> SendResult:
        """What came of one try. Raises: the errors of SecretSource."""
        try:
            refused, _ = await self._deliver(mail)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _result_of_code(min(each.code for each in error.recipients))
        except aiosmtplib.SMTPResponseException as error:
            return _result_of_code(error.code)
        except (aiosmtplib.SMTPException, OSError) as error:
            return NotNow(f"no SMTP answer ({type(error).__name__})")
        if refused:
            log.warning("notification_recipients_refused", count=len(refused), message_id=mail["Message-ID"])
        return Sent()

    async def _deliver(self, mail: EmailMessage) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
        settings = self._settings
        return await aiosmtplib.send(
            mail,
            hostname=settings.host,
            port=settings.port,
            username=settings.username or None,
            password=self._secrets.resolve(settings.password).reveal() if settings.password else None,
            # The library's own default asks the resolver, and blocks the loop meanwhile.
            local_hostname=socket.gethostname(),
            use_tls=settings.security is SmtpSecurity.TLS,
            start_tls=settings.security is SmtpSecurity.STARTTLS,
            tls_context=self._tls,
        )


def _result_of_code(code: int) -> SendResult:
    """4xx is for now, 5xx for good (RFC 5321, 4.2.1); the text of the answer is the server's and is left out."""
    return NotNow(f"SMTP {code}") if 400 <= code < 500 else Refused(f"SMTP {code}")
