"""The scaler that `opsuite up` runs beside the deployer, on data of its own and the same workloads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

ADDRESS: Final = "127.0.0.1:7403"
HOW_TO_GET_IT: Final = "pip install 'opsuite[scaler]'"
NEEDED: Final = ("opsuite_scaler", "cel", "statsmodels")


def is_installed() -> bool:
    """Whether it could be started."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


def data_of(directory: Path) -> Path:
    """Where it keeps its state, below the data directory of the suite."""
    return directory / "scaler"


def socket_of(directory: Path) -> str:
    """Where it listens for the deployer beside it."""
    return f"unix://{directory}/run/scaler.sock"


def addresses_of(directory: Path, *, usual: bool, environ: Mapping[str, str]) -> Sequence[str]:
    """Where it listens: a socket, and on loopback where the deployer has its usual address too (`usual`)."""
    if given := environ.get("SCALER_LISTEN"):
        return given.split(",")
    return [socket_of(directory), ADDRESS] if usual else [socket_of(directory)]


def first_address(directory: Path, environ: Mapping[str, str]) -> str:
    """Where the deployer finds it."""
    return environ.get("OPSUITE_SCALER_ADDRESS") or addresses_of(directory, usual=False, environ=environ)[0]


def settings_of(directory: Path, deployer: str, *, usual: bool, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that it is started with; what the caller's environment says wins."""
    chosen = {
        "SCALER_DATA_DIR": str(data_of(directory)),
        "SCALER_TOKEN_FILE": str(directory / "token"),
        "SCALER_PLATFORM_DIR": str(directory),
        "SCALER_LISTEN": ",".join(addresses_of(directory, usual=usual, environ=environ)),
        "SCALER_DEPLOYER_ADDRESS": deployer,
        "SCALER_DEPLOYER_TOKEN_FILE": str(directory / "token"),
    }
    if "DEPLOYER_WORKLOAD_PORTS" in environ:
        chosen["SCALER_WORKLOAD_PORTS"] = environ["DEPLOYER_WORKLOAD_PORTS"]
    return {**chosen, **environ}


def start(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start it. A process group of its own: Ctrl-C is for `up`, which passes on one signal."""
    return subprocess.Popen(
        [sys.executable, "-m", "opsuite_scaler"], env=dict(environment), stdin=subprocess.DEVNULL, process_group=0
    )
