"""The services that `opsuite up` runs beside the deployer, on data of their own and the same workloads."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class OwnService:
    """A service that may run beside the deployer. Each works without the others, so its absence stops nothing."""

    name: str
    port: int
    needed: tuple[str, ...]
    """Packages without which it cannot start."""
    peers: tuple[str, ...] = ()
    """Services besides the deployer that it talks to."""

    @property
    def how_to_get_it(self) -> str:
        """What to run where it is not installed."""
        return f"pip install 'opsuite[{self.name}]'"

    @property
    def prefix(self) -> str:
        """What the names of its settings begin with."""
        return f"{self.name.upper()}_"

    def is_installed(self) -> bool:
        """Whether it could be started."""
        return all(importlib.util.find_spec(name) is not None for name in self.needed)

    def data_of(self, directory: Path) -> Path:
        """Where it keeps its state, below the data directory of the suite."""
        return directory / self.name

    def addresses_of(self, directory: Path, *, usual: bool, environ: Mapping[str, str]) -> Sequence[str]:
        """Where it listens: a socket, and on loopback where the deployer has its usual address too (`usual`)."""
        if given := environ.get(f"{self.prefix}LISTEN"):
            return given.split(",")
        socket = f"unix://{directory}/run/{self.name}.sock"
        return [socket, f"127.0.0.1:{self.port}"] if usual else [socket]

    def first_address(self, directory: Path, environ: Mapping[str, str]) -> str:
        """Where its peers find it."""
        told = environ.get(f"OPSUITE_{self.prefix}ADDRESS")
        return told or self.addresses_of(directory, usual=False, environ=environ)[0]

    def settings_of(self, directory: Path, deployer: str, *, usual: bool, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment that it is started with; what the caller's environment says wins."""
        token = str(directory / "token")
        chosen = {
            "DATA_DIR": str(self.data_of(directory)),
            "TOKEN_FILE": token,
            "PLATFORM_DIR": str(directory),
            "LISTEN": ",".join(self.addresses_of(directory, usual=usual, environ=environ)),
            "DEPLOYER_ADDRESS": deployer,
            "DEPLOYER_TOKEN_FILE": token,
        }
        for peer in (ALL[name] for name in self.peers):
            if peer.is_installed():
                chosen[f"{peer.prefix}ADDRESS"] = peer.first_address(directory, environ)
                chosen[f"{peer.prefix}TOKEN_FILE"] = token
        if "DEPLOYER_WORKLOAD_PORTS" in environ:
            chosen["WORKLOAD_PORTS"] = environ["DEPLOYER_WORKLOAD_PORTS"]
        return {**{f"{self.prefix}{name}": value for name, value in chosen.items()}, **environ}

    def start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it. A process group of its own: Ctrl-C is for `up`, which passes on one signal."""
        return subprocess.Popen(
            [sys.executable, "-m", f"opsuite_{self.name}"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            process_group=0,
        )


class OwnHealer(OwnService):
    """The healer takes alerts by HTTP too, where it has its usual address."""

    def settings_of(self, directory: Path, deployer: str, *, usual: bool, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment that it is started with; what the caller's environment says wins."""
        chosen = {} if usual else {"HEALER_ALERTS_LISTEN": "off"}
        # Not by super(): a dataclass with slots is another class than the one that its methods were written in.
        return chosen | OwnService.settings_of(self, directory, deployer, usual=usual, environ=environ)


class OwnGateway(OwnService):
    """The gateway has no platforms and no token of its own: it has addresses of services, and one for browsers."""

    def addresses_of(self, directory: Path, *, usual: bool, environ: Mapping[str, str]) -> Sequence[str]:
        """Where it listens: on loopback, where the deployer has its usual address too; else where it is told to."""
        if given := environ.get("GATEWAY_LISTEN"):
            return given.split(",")
        return [f"127.0.0.1:{self.port}"] if usual else []

    def settings_of(self, directory: Path, deployer: str, *, usual: bool, environ: Mapping[str, str]) -> dict[str, str]:
        """The environment that it is started with; what the caller's environment says wins."""
        chosen = {
            "GATEWAY_DATA_DIR": str(self.data_of(directory)),
            "GATEWAY_LISTEN": ",".join(self.addresses_of(directory, usual=usual, environ=environ)),
            "OPSUITE_DEPLOYER_ADDRESS": deployer,
        }
        for peer in (ALL[name] for name in self.peers):
            if peer.is_installed():
                chosen[f"OPSUITE_{peer.prefix}ADDRESS"] = peer.first_address(directory, environ)
        return {**chosen, **environ}


SCALER: Final = OwnService("scaler", 7403, ("opsuite_scaler", "cel", "statsmodels"))
HEALER: Final = OwnHealer("healer", 7402, ("opsuite_healer", "cel", "redis"), peers=("scaler",))
GATEWAY: Final = OwnGateway("gateway", 8080, ("opsuite_gateway", "aiohttp"), peers=("scaler", "healer"))
ALL: Final[Mapping[str, OwnService]] = {one.name: one for one in (SCALER, HEALER, GATEWAY)}
"""In the order in which they are started."""
