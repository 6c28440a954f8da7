"""TLS of a real server: certificates that change while it runs, and clients known by theirs."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fakes.rpc_service import VIEWER, Running, a_server, call, serving, watch

from opsuite_rpc.settings import CannotServe, ServerSettings, SideSettings, TlsFiles

ALLOWED = "spiffe://fleet.example/healer"
STRANGER = "spiffe://fleet.example/stranger"
POLICY = f"""
principals:
  - name: healer
    spiffe_id: {ALLOWED}
    roles: {{operator: ["*"]}}
"""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str = "server") -> TlsFiles:
        (directory / f"{name}.pem").write_bytes(self.certificate)
        (directory / f"{name}.key").write_bytes(self.key)
        return TlsFiles(directory / f"{name}.pem", directory / f"{name}.key")


class Authority:
    """Signs certificates."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._signed(self._name, self._key.public_key(), constraints).public_bytes(Encoding.PEM)

    def issue(self, name: str, *, uri: str | None = None) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative: x509.GeneralName = (
            x509.DNSName("localhost") if uri is None else x509.UniformResourceIdentifier(uri)
        )
        certificate = self._signed(subject, key.public_key(), x509.SubjectAlternativeName([alternative]))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Pair(certificate.public_bytes(Encoding.PEM), private)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=False)
        valid = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        return valid.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("fleet")


def over_tls(tls: TlsFiles) -> ServerSettings:
    return ServerSettings(listen=("localhost:0",), tls=tls, side=SideSettings(port=0))


def channel(running: Running, authority: Authority, client: Pair | None = None) -> grpc.aio.Channel:
    own = (client.key, client.certificate) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.certificate, *own)
    return grpc.aio.secure_channel(
        running.server.addresses[0], credentials, options=[("grpc.use_local_subchannel_pool", 1)]
    )


def served_name(running: Running, authority: Authority) -> str:
    """Common name of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    host, _, port = running.server.addresses[0].rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wrapped,
    ):
        shown = wrapped.getpeercert(binary_form=True)
    assert shown is not None
    name = x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return str(name)


async def test_a_certificate_is_replaced_while_a_stream_lives(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("before").write(tmp_path)
    async with serving(tmp_path, settings=over_tls(files)) as running, channel(running, authority) as old:
        stream = watch(old, "Watch", VIEWER, name="things/1")
        await stream.read()
        first = await asyncio.to_thread(served_name, running, authority)
        authority.issue("after").write(tmp_path)
        await running.server.reload()
        second = await asyncio.to_thread(served_name, running, authority)
        text = (await stream.read()).text
        async with channel(running, authority) as new:
            await call(new, "Get", VIEWER, name="things/1")
        stream.cancel()

    assert (first, second) == ("before", "after")
    assert text == "second"


@pytest.mark.parametrize("half", ["pem", "key"])
async def test_half_a_rotation_leaves_the_old_certificate_in_use(
    tmp_path: Path, authority: Authority, half: str
) -> None:
    files = authority.issue("before").write(tmp_path)
    async with serving(tmp_path, settings=over_tls(files)) as running:
        (tmp_path / f"server.{half}").write_bytes(
            getattr(authority.issue("after"), "certificate" if half == "pem" else "key")
        )
        await running.server.reload()
        async with channel(running, authority) as new:
            await call(new, "Get", VIEWER, name="things/1")


async def test_a_key_of_another_certificate_stops_the_start(tmp_path: Path, authority: Authority) -> None:
    files = authority.issue("one").write(tmp_path)
    (tmp_path / "server.key").write_bytes(authority.issue("other").key)

    with pytest.raises(CannotServe, match="does not belong to the certificate"):
        a_server(tmp_path, settings=over_tls(files))


async def test_every_missing_file_is_named(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "none.pem", tmp_path / "none.key", tmp_path / "none.ca")

    with pytest.raises(CannotServe) as caught:
        a_server(tmp_path, settings=over_tls(files))

    assert [violation.field for violation in caught.value.violations] == [
        "tls.certificate",
        "tls.key",
        "tls.client_ca",
    ]


def with_client_ca(tmp_path: Path, authority: Authority) -> ServerSettings:
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "clients.pem").write_bytes(authority.certificate)
    files = authority.issue("server").write(tmp_path)
    return over_tls(TlsFiles(files.certificate, files.key, tmp_path / "clients.pem"))


async def test_a_client_is_known_by_the_spiffe_id_of_its_certificate(tmp_path: Path, authority: Authority) -> None:
    async with serving(tmp_path, settings=with_client_ca(tmp_path, authority)) as running:
        async with channel(running, authority, authority.issue("healer", uri=ALLOWED)) as known:
            await call(known, "Change", environment="production")
        async with channel(running, authority, authority.issue("who", uri=STRANGER)) as stranger:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(stranger, "Change", environment="production")

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert [entry.actor for entry in running.audit.entries] == ["healer", f"spiffe:{STRANGER}"]


async def test_a_client_without_a_certificate_or_with_one_of_another_authority_does_not_get_in(
    tmp_path: Path, authority: Authority
) -> None:
    forged = Authority("forger").issue("healer", uri=ALLOWED)
    async with serving(tmp_path, settings=with_client_ca(tmp_path, authority)) as running:
        for client in (None, forged):
            async with channel(running, authority, client) as refused:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(refused, "Get", VIEWER, name="things/1")
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    assert running.servicer.calls == []
