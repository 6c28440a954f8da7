"""How long the certificate of a server is good for."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timedelta

from cryptography import x509

from opsuite_kernel.clock import Clock
from opsuite_probes.address import split_address
from opsuite_probes.answer import Answer
from opsuite_probes.port import CertificateProbe, Outcome


async def ask_certificate(probe: CertificateProbe, clock: Clock) -> Answer:
    """Seconds until it expires, less than none if it has. Raises: MalformedAddress, OSError."""
    host, port = split_address(probe.address)
    transport, _ = await asyncio.get_running_loop().create_connection(
        asyncio.Protocol, host, port, ssl=_trusting_anybody(), server_hostname=probe.server_name or host
    )
    try:
        shown: ssl.SSLObject = transport.get_extra_info("ssl_object")
        certificate = shown.getpeercert(binary_form=True)
    finally:
        transport.abort()  # a close would wait for the peer's word
    if certificate is None:
        return Answer(Outcome.UNHEALTHY, "shows no certificate")
    return left(x509.load_der_x509_certificate(certificate).not_valid_after_utc, clock.now())


def left(end: datetime, now: datetime) -> Answer:
    """What an end of validity means."""
    seconds = (end - now).total_seconds()
    days = abs(seconds) / timedelta(days=1).total_seconds()
    told = f"expires in {days:.1f} days" if seconds > 0 else f"has expired {days:.1f} days ago"
    return Answer(Outcome.HEALTHY, f"the certificate {told}, at {end:%Y-%m-%d %H:%M} UTC", seconds)


def _trusting_anybody() -> ssl.SSLContext:
    """An expired certificate has to be shown to be judged, and a private authority is as good as any here."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
