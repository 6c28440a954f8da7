"""Everything about the scaler that can be configured from outside, read once by `__main__`.

Each field is an environment variable with the prefix SCALER_: `SCALER_DATABASE_URL`. What every service has, and
how values are written, stands in `opsuite_rpc.service_settings`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from opsuite_rpc.service_settings import Duration, ServiceSettings, Texts, suite_directory


class Settings(ServiceSettings):
    """Settings of the scaler."""

    model_config = SettingsConfigDict(env_prefix="SCALER_", frozen=True, extra="ignore")

    # where things are
    data_dir: Path = Field(default_factory=lambda: suite_directory() / "scaler")
    """Database, token and socket; mode 0700, held by one process at a time."""

    # how much, how long
    poll_every: Duration = timedelta(seconds=2)
    """Pause between two searches for targets that nobody looks after."""
    lease: Duration = timedelta(seconds=15)
    """Time after which a replica that says nothing loses its targets."""
    looks_at_once: int = Field(default=64, ge=1)
    """Targets that are looked at at the same time."""

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

    peer_ca_file: Path | None = None
    """Authorities of external scalers and external targets, PEM; absent means those that the system trusts."""
    peer_cert_file: Path | None = None
    """Certificate that these are shown, PEM."""
    peer_key_file: Path | None = None
    """Its key, PEM."""
    target_token_file: Path | None = None
    """Token that external targets are shown; over TLS, or on this machine."""

    # what is measured
    sources_file: Path | None = None
    """Metric sources beside the built-in ones (YAML)."""
    secrets_dir: Path | None = None
    """Directory below which secrets may be read from files."""
    secret_env: Texts = ()
    """Names of environment variables that metric sources may refer to as secrets."""

    # how long things are kept
    keep_activities: Duration = timedelta(days=30)
    """How long activities and their events are kept; the last one of each policy stays."""
    keep_observations: Duration = timedelta(days=35)
    """How long what was seen of targets is kept, for forecasts and backtests."""
    keep_points: Duration = timedelta(days=1)
    """How long a pushed metric that nobody pushes any more is kept."""
