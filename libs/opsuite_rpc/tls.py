"""Server certificates that can be replaced while the server runs."""

from __future__ import annotations

from pathlib import Path

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.settings import CannotServe, TlsFiles

log = structlog.get_logger("opsuite.rpc")


class ReloadingCertificates:
    """Server credentials that follow their files.

    grpc asks for the certificate at every handshake, from a thread of its own; it gets what `reload` parsed last, so a
    handshake never waits for a disk and never meets half a rotation.
    """

    def __init__(self, files: TlsFiles) -> None:
        """Raises CannotServe when the files are not a certificate and its key."""
        self._files = files
        try:
            self._pem = _read(files)
        except InvalidInput as error:
            raise CannotServe(error.violations) from error
        self._configuration = _configuration(self._pem)

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for one or more ports."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            lambda: self._configuration,
            require_client_authentication=self._files.client_ca is not None,
        )

    def reload(self) -> bool:
        """Take changed files into use; whether there were any. Connections that are open keep their certificate.

        What cannot be read or does not fit together is logged, and the old certificate stays.
        """
        try:
            pem = _read(self._files)
        except InvalidInput as error:
            log.error("certificate_not_reloaded", problem=error.message)  # noqa: TRY400  # the message says it all
            return False
        if pem == self._pem:
            return False
        self._pem, self._configuration = pem, _configuration(pem)
        log.info("certificate_reloaded", file=str(self._files.certificate))
        return True


Pem = tuple[bytes, bytes, bytes | None]


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    certificate, key, client_ca = pem
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)


def _read(files: TlsFiles) -> Pem:
    """The files' content. Raises InvalidInput with all that is wrong: grpc itself would only fail every handshake."""
    violations: list[Violation] = []
    contents = [_content(name, path, violations) for name, path in _named(files)]
    if violations:
        raise InvalidInput(violations)
    certificate, key, *rest = contents
    if problem := _problem(certificate, key, rest):
        raise InvalidInput([problem])
    return certificate, key, rest[0] if rest else None


def _named(files: TlsFiles) -> list[tuple[str, Path]]:
    named = [("tls.certificate", files.certificate), ("tls.key", files.key)]
    return named if files.client_ca is None else [*named, ("tls.client_ca", files.client_ca)]


def _content(name: str, path: Path, violations: list[Violation]) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        violations.append(Violation(name, f"cannot be read: {error}"))
        return b""


def _problem(certificate: bytes, key: bytes, client_ca: list[bytes]) -> Violation | None:
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError:
        return Violation("tls.certificate", "is no PEM certificate")
    try:
        private: PrivateKeyTypes = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return Violation("tls.key", "is no PEM private key without password")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != chain[0].public_key().public_bytes(*form):
        return Violation("tls.key", "does not belong to the certificate")
    try:
        for authority in client_ca:
            x509.load_pem_x509_certificates(authority)
    except ValueError:
        return Violation("tls.client_ca", "is no PEM certificate")
    return None
