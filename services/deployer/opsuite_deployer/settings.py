"""Everything about the deployer that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix DEPLOYER_: `DEPLOYER_DATABASE_URL`. Durations are seconds ("30",
"0.5") or ISO 8601 ("PT30S"); lists are separated by commas. A bad value stops the start with its name.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from opsuite_notify.smtp import SmtpSecurity


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


def default_data_dir() -> Path:
    """Where the suite keeps its state unless told otherwise."""
    if named := os.environ.get("OPSUITE_DATA_DIR"):
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "opsuite"


class Settings(BaseSettings):
    """Settings of the deployer."""

    model_config = SettingsConfigDict(env_prefix="DEPLOYER_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=default_data_dir)
    """Database, token, socket and workloads; mode 0700, held by one process at a time."""
    database_url: SecretStr = SecretStr("sqlite")
    """"sqlite" for a file in the data directory, or postgresql://user@host/database?schema=name."""
    listen: Texts = ()
    """Addresses, each "host:port" or "unix:///path"; empty means a socket in the data directory and 127.0.0.1:7401."""
    side_port_listen: str = ""
    """"host:port" of /health and /metrics; empty means the first TCP port plus 100 on loopback."""
    tls_cert_file: Path | None = None
    """Certificate chain, PEM; read again when it changes."""
    tls_key_file: Path | None = None
    """Its key, PEM."""
    tls_client_ca_file: Path | None = None
    """Authorities of client certificates; with it every client needs one."""
    policy_file: Path | None = None
    """Who may do what (YAML); absent means the local token alone, which may do everything."""
    jwt_issuer: str = ""
    """Issuer of accepted JSON web tokens; empty means that none is accepted."""
    jwt_audience: str = "opsuite"
    """Audience that tokens must name."""
    jwks: str = ""
    """File or URL of the issuer's keys; empty means OpenID discovery at the issuer."""

    # how much, how long
    max_concurrent_deployments: int = Field(
        default=5,
        ge=1,
        validation_alias=AliasChoices("DEPLOYER_MAX_CONCURRENT_DEPLOYMENTS", "MAX_CONCURRENT_DEPLOYMENTS"),
    )
    """Deployments at work at once, over all replicas; the rest queue."""
    deployment_timeout_minutes: float = Field(
        default=60,
        gt=0,
        validation_alias=AliasChoices("DEPLOYER_DEPLOYMENT_TIMEOUT_MINUTES", "DEPLOYMENT_TIMEOUT_MINUTES"),
    )
    """Longest run of a deployment whose pipeline says nothing; queue and pauses not counted."""
    starting_timeout: Duration = timedelta(seconds=60)
    """Longest time that the checks before the first step may take."""
    poll_every: Duration = timedelta(seconds=2)
    """Pause between two looks for work that nobody told of."""
    lease: Duration = timedelta(seconds=15)
    """Time after which a replica that says nothing loses its deployments."""
    drain_grace: Duration = timedelta(seconds=25)
    """Time that running programs get to end when the deployer is told to stop."""
    drain_delay: Duration = timedelta(seconds=0)
    """Time between saying NOT_SERVING and refusing calls."""
    min_free_bytes: int = 100 * 1024 * 1024
    """Free disk space below which no deployment starts."""

    # commands
    command_names: Texts = ()
    """Names of allowed commands; empty means the built-in list."""
    trusted_directories: Paths = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
    """Directories whose programs may be run."""
    roots: Paths = ()
    """Directories below which steps may work; empty means "work" in the data directory."""
    command_memory_bytes: int | None = None
    """Address space of a command step that says nothing; absent means no limit."""
    command_file_size_bytes: int | None = None
    """Largest file that a command step may write; absent means no limit."""
    command_output_bytes: int = 1_048_576
    """Output kept of one attempt of a step."""
    command_grace: Duration = timedelta(seconds=5)
    """Time between SIGTERM and SIGKILL."""

    # workloads
    start_platform: bool = True
    """Start supervisord for workloads unless it runs already; it and they outlive the deployer."""
    workload_ports: str = "20000-29999"
    """Range that workloads get their ports from."""
    hosts_file: Path | None = None
    """Hosts on which workloads run as processes, reached over SSH (YAML); absent means this machine."""
    kubeconfig: Path | None = None
    """Kubernetes cluster and who we are there; absent means KUBECONFIG, ~/.kube/config, or the pod that we are in."""
    kubernetes_context: str = ""
    """Context of the kubeconfig; empty means its current one."""
    kubernetes_namespace: str = "default"
    """Namespace of workloads, Jobs and manifests that name none."""
    edge_listen_host: str = "127.0.0.1"
    """Address on which edges take requests on the ports of routes; "0.0.0.0" for all of theirs."""
    edge_grace: Duration = timedelta(seconds=15)
    """Time for which an edge may not be heard of and still counts as connected."""
    docker_url: str = ""
    """Docker Engine; empty means DOCKER_HOST or its usual socket."""
    scaler_address: str = Field(
        default="", validation_alias=AliasChoices("DEPLOYER_SCALER_ADDRESS", "OPSUITE_SCALER_ADDRESS")
    )
    """Scaler that tells which workloads it sizes: rollouts keep their sizes. Empty: pipelines say all sizes."""
    scaler_token_file: Path | None = None
    """Token for the scaler; absent means OPSUITE_TOKEN_FILE, or the one in the data directory."""

    # telling people
    secrets_dir: Path | None = None
    """Directory below which secrets may be read from files."""
    secret_env: Texts = ()
    """Names of environment variables that pipelines may refer to as secrets."""
    smtp_host: str = ""
    """SMTP server; empty means that e-mails are not sent."""
    smtp_port: int = 587
    smtp_sender: str = ""
    smtp_security: SmtpSecurity = SmtpSecurity.STARTTLS
    smtp_username: str = ""
    smtp_password_env: str = ""
    """Environment variable that holds the SMTP password."""

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
    keep_history: Duration = timedelta(days=90)
    """How long events and log lines of ended deployments are kept; the deployments themselves stay."""
    keep_spans: Duration = timedelta(days=7)
    """How long spans are kept for GetTrace."""
    debug: bool = False
    """Serve channelz."""
