"""Makes what a suite on one machine needs to talk safely: for development; a real installation has its own authority.

Written into DIRECTORY: ca.pem, deployer.pem and deployer.key; policy.yaml with one administrator; admin.token, the
administrator's token; pgpass, by which the deployer finds the database's password; into the other directory that
password itself. What is there already stays, so running it again is safe; remove the files and all is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=365)
SECRET, PUBLIC = 0o600, 0o644


def main() -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--database", type=Path, required=True, help="directory for the database's password")
    parser.add_argument("--host", action="append", default=[], help="name of the deployer in its certificate")
    arguments = parser.parse_args()
    make_certificates(arguments.directory, arguments.host)
    make_policy(arguments.directory)
    make_database_password(arguments.directory, arguments.database)


def make_certificates(directory: Path, hosts: list[str]) -> None:
    """An authority, and the deployer's certificate by it. The authority's key is thrown away: it signs nothing else."""
    if (directory / "ca.pem").exists():
        return
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _name("opsuite development authority")
    basic = x509.BasicConstraints(ca=True, path_length=0)
    root = _builder(authority, authority, authority_key.public_key()).add_extension(basic, critical=True)
    names = [*(x509.DNSName(host) for host in hosts), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = (
        _builder(_name("deployer"), authority, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    _write(directory / "deployer.key", _pem_of(key), SECRET)
    _write(directory / "deployer.pem", _signed(leaf, authority_key), PUBLIC)
    _write(directory / "ca.pem", _signed(root, authority_key), PUBLIC)  # last: it says that all is there


def make_policy(directory: Path) -> None:
    """One administrator, known by a token."""
    if (directory / "policy.yaml").exists():
        return
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    policy = f'principals:\n  - name: admin\n    token_sha256: {digest}\n    roles:\n      admin: ["*"]\n'
    _write(directory / "admin.token", f"{token}\n".encode(), SECRET)
    _write(directory / "policy.yaml", policy.encode(), SECRET)


def make_database_password(directory: Path, database: Path) -> None:
    """The password, for the server as it is and for the deployer in libpq's form."""
    if (directory / "pgpass").exists():
        return
    password = secrets.token_urlsafe(32)
    # PostgreSQL's image reads it as a user of its own; nothing else mounts that directory.
    _write(database / "password", password.encode(), PUBLIC)
    _write(directory / "pgpass", f"*:*:*:*:{password}\n".encode(), SECRET)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    serial = x509.random_serial_number()
    # An hour back: clocks of containers and clients may differ a little.
    return builder.serial_number(serial).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + VALID)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, pkcs8, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a whole file or none, never readable by more than `mode` says."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    draft.replace(path)


if __name__ == "__main__":
    main()
