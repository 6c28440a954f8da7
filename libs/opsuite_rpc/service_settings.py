"""The settings that every service has; each adds its own, and the prefix of its variables.

Durations are seconds ("30", "0.5") or ISO 8601 ("PT30S"); lists are separated by commas. A bad value stops the start
with its name.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode


def _seconds(value: Any) -> Any:
    """Plain numbers are seconds; everything else is left to ISO 8601."""
    try:
        return timedelta(seconds=float(value))
    except (TypeError, ValueError):
        return value


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_seconds)]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_split)]


def suite_directory() -> Path:
    """Where the suite keeps its state unless told otherwise: the deployer's data, and the workloads of this machine."""
    if named := os.environ.get("OPSUITE_DATA_DIR"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "opsuite"


class ServiceSettings(BaseSettings):
    """What a service listens on, who is let in, and what it tells of itself."""

    # where things are
    database_url: SecretStr = SecretStr("sqlite")
    """"sqlite" for a file in the data directory, or postgresql://user@host/database?schema=name."""
    listen: Texts = ()
    """Addresses, each "host:port" or "unix:///path"; empty means a socket in the data directory and the usual port."""
    side_port_listen: str = ""
    """"host:port" of /health and /metrics; empty means the first TCP port plus 100 on loopback."""

    # who is let in
    tls_cert_file: Path | None = None
    """Certificate chain, PEM; read again when it changes."""
    tls_key_file: Path | None = None
    """Its key, PEM."""
    tls_client_ca_file: Path | None = None
    """Authorities of client certificates; with it every client needs one."""
    token_file: Path | None = None
    """Local token, made when it is not there (mode 0600); absent means `token` in the data directory."""
    policy_file: Path | None = None
    """Who may do what (YAML); absent means the local token alone, which may do everything."""
    jwt_issuer: str = ""
    """Issuer of accepted JSON web tokens; empty means that none is accepted."""
    jwt_audience: str = "opsuite"
    """Audience that tokens must name."""
    jwks: str = ""
    """File or URL of the issuer's keys; empty means OpenID discovery at the issuer."""

    # how it ends
    drain_grace: Duration = timedelta(seconds=25)
    """Time that work under way gets to end when the service is told to stop."""
    drain_delay: Duration = timedelta(seconds=0)
    """Time between saying NOT_SERVING and refusing calls."""

    # telemetry
    log_level: str = "INFO"
    log_format: str = "auto"
    """"json", "console", or "auto": console in a terminal."""
    metrics_namespace: str = "bitcraps"
    """First word of every metric."""
    otlp_endpoint: str = ""
    """Where spans are sent by OTLP over gRPC; empty means nowhere."""
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of traces that are recorded."""
    debug: bool = False
    """Serve channelz."""
