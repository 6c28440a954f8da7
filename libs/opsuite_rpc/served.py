"""Who is let in and where a service listens, from the settings that every service has."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path

from opsuite_kernel.clock import Clock
from opsuite_rpc.access import AccessControl
from opsuite_rpc.identity import local_token
from opsuite_rpc.policy_file import PolicyFile
from opsuite_rpc.service_settings import ServiceSettings
from opsuite_rpc.settings import ServerSettings, SideSettings, TlsFiles


def access_control(settings: ServiceSettings, data_dir: Path, clock: Clock) -> AccessControl:
    """Who is let in: the local token always, others by policy file and issuer."""
    jwt = None
    if settings.jwt_issuer:
        # Loaded only with an issuer: it and its cryptography are a twentieth of the time that a start takes.
        from opsuite_rpc.jwt import JwtSettings, JwtVerifier

        is_url = settings.jwks.startswith(("http://", "https://"))
        jwt = JwtVerifier(
            JwtSettings(
                settings.jwt_issuer,
                settings.jwt_audience,
                jwks_file=Path(settings.jwks) if settings.jwks and not is_url else None,
                jwks_url=settings.jwks if is_url else None,
            ),
            clock,
        )
    policy = PolicyFile(settings.policy_file) if settings.policy_file else None
    return AccessControl(policy, local=local_token(settings.token_file or data_dir / "token"), jwt=jwt, clock=clock)


def server_settings(settings: ServiceSettings, listen: Sequence[str]) -> ServerSettings:
    """How the server listens, at these addresses."""
    tls = None
    if settings.tls_cert_file and settings.tls_key_file:
        tls = TlsFiles(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
    side = SideSettings()
    if settings.side_port_listen:
        host, _, port = settings.side_port_listen.rpartition(":")
        side = SideSettings(host, int(port))
    return ServerSettings(
        listen=tuple(listen),
        tls=tls,
        side=side,
        drain_delay=settings.drain_delay,
        drain_grace=settings.drain_grace,
        version=_version(),
        debug=settings.debug,
    )


def _version() -> str:
    try:
        return version_of("opsuite")
    except PackageNotFoundError:
        return ""
