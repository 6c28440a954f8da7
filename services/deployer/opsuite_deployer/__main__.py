"""Entry point of the container: read settings, build, serve."""

from __future__ import annotations

from opsuite_deployer.composition import serve
from opsuite_deployer.settings import Settings
from opsuite_rpc.loop import run

if __name__ == "__main__":
    run(serve(Settings()))
