"""A certificate authority for tests, and servers with its certificates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from opsuite_platforms.traffic.bootstrap import TlsFiles


def served_with(files: TlsFiles, *, must_show_certificate: bool = False) -> grpc.ServerCredentials:
    pair = (Path(files.key).read_bytes(), Path(files.certificate).read_bytes())
    return grpc.ssl_server_credentials([pair], Path(files.ca).read_bytes(), require_client_auth=must_show_certificate)


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
