"""Everything about the scaler that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix SCALER_: `SCALER_DATABASE_URL`. Durations are seconds ("30",
"0.5") or ISO 8601 ("PT30S"); lists are separated by commas. A bad value stops the start with its name.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


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


def suite_directory() -> Path:
    """Where the suite keeps its state unless told otherwise: the deployer's data, and the workloads of this machine."""
    if named := os.environ.get("OPSUITE_DATA_DIR"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "opsuite"


class Settings(BaseSettings):
    """Settings of the scaler."""

    model_config = SettingsConfigDict(env_prefix="SCALER_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=lambda: suite_directory() / "scaler")
    """Database, token and socket; mode 0700, held by one process at a time."""
    database_url: SecretStr = SecretStr("sqlite")
    """"sqlite" for a file in the data directory, or postgresql://user@host/database?schema=name."""
    listen: Texts = ()
    """Addresses, each "host:port" or "unix:///path"; empty means a socket in the data directory and 127.0.0.1:7403."""
    side_port_listen: str = ""
    """"host:port" of /health and /metrics; empty means the first TCP port plus 100 on loopback."""
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

    # how much, how long
    poll_every: Duration = timedelta(seconds=2)
    """Pause between two searches for targets that nobody looks after."""
    lease: Duration = timedelta(seconds=15)
    """Time after which a replica that says nothing loses its targets."""
    looks_at_once: int = Field(default=64, ge=1)
    """Targets that are looked at at the same time."""
    drain_grace: Duration = timedelta(seconds=25)
    """Time that calls get to end when the scaler is told to stop."""
    drain_delay: Duration = timedelta(seconds=0)
    """Time between saying NOT_SERVING and refusing calls."""

    # what is scaled
    platform_dir: Path = Field(default_factory=suite_directory)
    """Directory in which supervisord and Docker workloads of this machine are known: the deployer's data directory."""
    workload_ports: str = "20000-29999"
    """Range that new replicas get their ports from."""
    kubeconfig: Path | None = None
    """Kubernetes cluster and who we are there; absent means KUBECONFIG, ~/.kube/config, or the pod that we are in."""
    kubernetes_context: str = ""
    """Context of the kubeconfig; empty means its current one."""
    kubernetes_namespace: str = "default"
    """Namespace of targets that name none."""
    docker_url: str = ""
    """Docker Engine; empty means DOCKER_HOST or its usual socket."""
    deployer_address: str = Field(
        default="", validation_alias=AliasChoices("SCALER_DEPLOYER_ADDRESS", "OPSUITE_DEPLOYER_ADDRESS")
    )
    """Deployer that tells what is being rolled out; empty means that nobody rolls anything out."""
    deployer_token_file: Path | None = None
    """Token for the deployer; absent means OPSUITE_TOKEN_FILE, or the one in its data directory."""

    # what is measured
    sources_file: Path | None = None
    """Metric sources beside the built-in ones (YAML)."""
    secrets_dir: Path | None = None
    """Directory below which secrets may be read from files."""
    secret_env: Texts = ()
    """Names of environment variables that metric sources may refer to as secrets."""

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
    keep_activities: Duration = timedelta(days=30)
    """How long activities and their events are kept; the last one of each policy stays."""
    keep_observations: Duration = timedelta(days=35)
    """How long what was seen of targets is kept, for forecasts and backtests."""
    keep_points: Duration = timedelta(days=1)
    """How long a pushed metric that nobody pushes any more is kept."""
    debug: bool = False
    """Serve channelz."""
