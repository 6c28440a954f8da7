"""Everything about the gateway that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix GATEWAY_: `GATEWAY_LISTEN`. Durations are seconds ("30") or ISO
8601 ("PT30S"); lists are separated by commas.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from opsuite_rpc.service_settings import Duration, Texts, suite_directory


class Settings(BaseSettings):
    """Settings of the gateway."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=lambda: suite_directory() / "gateway")
    """The key of its sessions; mode 0700, held by one process at a time."""
    listen: Texts = ("127.0.0.1:8080",)
    """Addresses, each "host:port"; anything but loopback wants a certificate."""
    public_url: str = ""
    """What browsers know it by, where that is not what they connect to: "https://ops.example.org"."""

    # who is behind it
    deployer_address: str = Field(default="", validation_alias="OPSUITE_DEPLOYER_ADDRESS")
    """The deployer; empty means its socket in the data directory of the suite, if it is there."""
    scaler_address: str = Field(default="", validation_alias="OPSUITE_SCALER_ADDRESS")
    """The scaler, likewise."""
    healer_address: str = Field(default="", validation_alias="OPSUITE_HEALER_ADDRESS")
    """The healer, likewise."""
    peer_ca_file: Path | None = Field(default=None, validation_alias="OPSUITE_CA_FILE")
    """Authorities of the services, PEM; absent means those that the system trusts."""
    peer_cert_file: Path | None = Field(default=None, validation_alias="OPSUITE_CERT_FILE")
    """Certificate that services are shown, PEM."""
    peer_key_file: Path | None = Field(default=None, validation_alias="OPSUITE_KEY_FILE")
    """Its key, PEM."""

    # TLS
    tls_cert_file: Path | None = None
    """Certificate chain, PEM."""
    tls_key_file: Path | None = None
    """Its key, PEM."""

    # browsers
    session: Duration = timedelta(hours=12)
    """Time after which somebody has to sign in again."""

    oidc_issuer: str = ""
    """OpenID provider at which people sign in; empty: with a token only."""
    oidc_client_id: str = ""
    """Who the gateway is there; the services have to take tokens for this audience (`…_JWT_AUDIENCE`)."""
    oidc_client_secret_file: Path | None = None
    """File with the client's secret; absent: a public client, which PKCE alone protects."""
    oidc_scopes: str = "openid profile email"
    """What is asked of the provider."""

    # how much
    body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    """Largest body of a request."""
    streams: int = Field(default=2000, ge=1)
    """Streams that are open at the same time."""

    # how it ends, and what it tells
    drain_grace: Duration = timedelta(seconds=10)
    """Time that requests under way get to end when the gateway is told to stop."""
    log_level: str = "INFO"
    log_format: str = "auto"
    """"json", "console", or "auto": console in a terminal."""
