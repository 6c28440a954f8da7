"""A process that serves the routes pickled in a file, so that it can be killed; it prints a line when it serves.

python -m fakes.ads_process PORT FILE
"""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path

import grpc
from fakes.traffic import MemoryRouteStore

from opsuite_platforms.traffic.ads import AdsServer
from opsuite_platforms.traffic.port import Route


async def main(port: str, routes: list[Route]) -> None:
    store = MemoryRouteStore()
    for route in routes:
        await store.put_route(route, epoch=1)
    server, ads = grpc.aio.server(options=[("grpc.so_reuseport", 0)]), AdsServer(store)
    ads.add_to_server(server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await ads.start()
    await server.start()
    print("serving", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], pickle.loads(Path(sys.argv[2]).read_bytes())))
