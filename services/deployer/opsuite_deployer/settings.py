"""Everything about the deployer that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix DEPLOYER_: `DEPLOYER_DATABASE_URL`. What every service has, and
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
    """Settings of the deployer."""

    model_config = SettingsConfigDict(env_prefix="DEPLOYER_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=suite_directory)
    """Database, token, socket and workloads; mode 0700, held by one process at a time."""

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
    start_retries: int = Field(default=10, ge=0, le=1000)
    """How often a program that ends within a second is started again, each time a second later, until it has FAILED."""
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

    # how long things are kept
    keep_history: Duration = timedelta(days=90)
    """How long events and log lines of ended deployments are kept; the deployments themselves stay."""
    keep_spans: Duration = timedelta(days=7)
    """How long spans are kept for GetTrace."""
