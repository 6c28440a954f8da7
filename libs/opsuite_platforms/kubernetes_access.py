"""Which Kubernetes cluster to talk to, and as whom: by a kubeconfig, or by the account of the pod that this runs in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from opsuite_kernel.errors import Unavailable

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, Configuration


async def connected(kubeconfig: Path | None, context: str | None) -> ApiClient:
    """A client of the cluster that the file, or else the surroundings, name. Raises: Unavailable, saying what to do."""
    from kubernetes.aio import client

    configuration = client.Configuration()
    await load_into(configuration, kubeconfig, context)
    return client.ApiClient(configuration)


async def load_into(configuration: Configuration, kubeconfig: Path | None, context: str | None) -> None:
    """Read everything anew: tokens are replaced in their files, and those that plugins give out expire.

    Raises: Unavailable, saying what to do.
    """
    from kubernetes.aio import config

    try:
        if (path := kubeconfig or default_kubeconfig()) is None:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # the library's
        else:
            await config.load_kube_config(  # type: ignore[no-untyped-call]  # the library's
                str(path), context, configuration, persist_config=False
            )
    except (config.ConfigException, OSError, yaml.YAMLError, TypeError) as fault:  # TypeError: a file without content
        message = f"no Kubernetes cluster to talk to ({fault}): give a kubeconfig, or run inside the cluster"
        raise Unavailable(message, reason="KUBERNETES_NOT_CONFIGURED") from fault


def default_kubeconfig() -> Path | None:
    """The file that `kubectl` would read, if it is there."""
    path = Path(os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser()
    return path if path.is_file() else None
