"""How edges reach the server of routes: with a token from a file, with certificates, over a Unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from envoy import Control, a_route, application, ask, control, free_port

from opsuite_platforms.traffic.bootstrap import TlsFiles

pytestmark = pytest.mark.needs("envoy")


@pytest.fixture
async def here() -> AsyncIterator[Control]:
    async with control() as made:
        yield made


async def is_obeyed(here: Control) -> bool:
    port = free_port()
    async with application("stable") as stable:
        await here.set(a_route(port, (stable, 1)))
        return await ask(port) == "stable"


def served_with(files: TlsFiles, *, must_show_certificate: bool = False) -> grpc.ServerCredentials:
    pair = (Path(files.key).read_bytes(), Path(files.certificate).read_bytes())
    return grpc.ssl_server_credentials([pair], Path(files.ca).read_bytes(), require_client_auth=must_show_certificate)


async def test_an_edge_shows_the_token_of_its_file_with_routes_and_with_statistics(here: Control) -> None:
    await here.start()
    file = here.folder / "authorization"
    file.write_text("Bearer s3cret")

    edge = await here.edge(authorization_file=str(file))

    assert await is_obeyed(here)
    assert {headers.get("authorization") for _, headers in here.metadata} == {"Bearer s3cret"}
    assert "s3cret" not in edge.bootstrap


async def test_an_edge_reaches_the_server_over_a_unix_socket(here: Control) -> None:
    await here.start(f"unix:{here.folder / 'server.sock'}")
    await here.edge()
    assert await is_obeyed(here)


async def test_an_edge_and_the_server_know_each_other_by_certificates(here: Control, tmp_path: Path) -> None:
    authority = an_authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("edge-1")
    await here.start(credentials=served_with(server, must_show_certificate=True))
    await here.edge(tls=client)
    assert await is_obeyed(here)


async def test_an_edge_takes_nothing_from_a_server_that_it_cannot_trust(here: Control, tmp_path: Path) -> None:
    server = an_authority(tmp_path / "theirs").issue("server")
    await here.start(credentials=served_with(server))
    edge = await here.edge(tls=TlsFiles(an_authority(tmp_path / "ours").issue("nobody").ca))

    await edge.logged("CERTIFICATE_VERIFY_FAILED")

    assert here.metadata == []


@dataclass(frozen=True)
class Authority:
    folder: Path
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    def issue(self, name: str) -> TlsFiles:
        """Files of a certificate for 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        certificate = _certificate(x509.Name.from_rfc4514_string(f"CN={name}"), key, self).add_extension(here, False)
        file = self.folder / f"{name}.pem"
        file.write_bytes(certificate.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        secret = self.folder / f"{name}.key"
        secret.write_bytes(_pem(key))
        return TlsFiles(str(self.folder / "ca.pem"), str(file), str(secret))


def an_authority(folder: Path) -> Authority:
    folder.mkdir(exist_ok=True)
    made = Authority(folder, ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=ca"))
    usage = x509.BasicConstraints(ca=True, path_length=None)
    certificate = _certificate(made.name, made.key, made).add_extension(usage, True).sign(made.key, hashes.SHA256())
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return made


def _certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey, by: Authority) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(by.name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
