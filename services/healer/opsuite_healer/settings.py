"""Everything about the healer that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix HEALER_: `HEALER_DATABASE_URL`. What every service has, and
how values are written, stands in `opsuite_rpc.service_settings`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from opsuite_notify.smtp import SmtpSecurity
from opsuite_rpc.service_settings import Duration, Paths, ServiceSettings, Texts, suite_directory


class Settings(ServiceSettings):
    """Settings of the healer."""

    model_config = SettingsConfigDict(env_prefix="HEALER_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=lambda: suite_directory() / "healer")
    """Database, token and socket; mode 0700, held by one process at a time."""

    # how much, how long
    poll_every: Duration = timedelta(seconds=2)
    """Pause between two searches for work that nobody looks after."""
    lease: Duration = timedelta(seconds=15)
    """Time after which a replica that says nothing loses its work."""
    checks_at_once: int = Field(default=256, ge=1)
    """Checks that are asked at the same time."""

    # what is watched and mended
    platform_dir: Path = Field(default_factory=suite_directory)
    """Directory in which supervisord and Docker workloads of this machine are known: the deployer's data directory."""
    workload_ports: str = "20000-29999"
    """Range that replicas get their ports from."""
    kubeconfig: Path | None = None
    """Kubernetes cluster and who we are there; absent means KUBECONFIG, ~/.kube/config, or the pod that we are in."""
    kubernetes_context: str = ""
    """Context of the kubeconfig; empty means its current one."""
    kubernetes_namespace: str = "default"
    """Namespace of targets that name none."""
    docker_url: str = ""
    """Docker Engine; empty means DOCKER_HOST or its usual socket."""
    deployer_address: str = Field(
        default="", validation_alias=AliasChoices("HEALER_DEPLOYER_ADDRESS", "OPSUITE_DEPLOYER_ADDRESS")
    )
    """Deployer that knows what was rolled out, and rolls back; empty means that nobody does."""
    deployer_token_file: Path | None = None
    """Token for the deployer; absent means OPSUITE_TOKEN_FILE, or the one in its data directory."""
    scaler_address: str = Field(
        default="", validation_alias=AliasChoices("HEALER_SCALER_ADDRESS", "OPSUITE_SCALER_ADDRESS")
    )
    """Scaler that changes sizes; empty means that nobody does."""
    scaler_token_file: Path | None = None
    """Token for the scaler; absent means OPSUITE_TOKEN_FILE, or the one in its data directory."""
    prometheus_url: str = ""
    """Prometheus that PROMETHEUS checks ask unless they name another; empty means none."""

    # commands of checks and runbooks
    command_names: Texts = ()
    """Names of allowed commands; empty means the built-in list."""
    trusted_directories: Paths = (Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin"))
    """Directories whose programs may be run."""
    roots: Paths = ()
    """Directories below which commands may work; empty means "work" in the data directory."""

    # how people are told
    public_url: str = ""
    """Where people read about incidents: links in messages begin with it. Empty: messages hold commands only."""
    secrets_dir: Path | None = None
    """Directory below which secrets may be read from files."""
    secret_env: Texts = ()
    """Names of environment variables that may be referred to as secrets."""
    smtp_host: str = ""
    """SMTP server; empty means that e-mails are not sent."""
    smtp_port: int = 587
    smtp_sender: str = ""
    smtp_security: SmtpSecurity = SmtpSecurity.STARTTLS
    smtp_username: str = ""
    smtp_password_env: str = ""
    """Environment variable that holds the SMTP password."""

    # what other programs push
    alerts_listen: str = ""
    """"host:port" where Prometheus and others send alerts (HTTP); empty: 127.0.0.1:7603; "off": nowhere."""

    # how long things are kept
    keep_results: Duration = timedelta(days=7)
    """How long results of checks are kept."""
    keep_history: Duration = timedelta(days=90)
    """How long incidents that are resolved, remediations and executions that are over are kept."""
