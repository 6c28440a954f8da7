"""A process with a proxyless gRPC client: reads `CALLS` lines from stdin, answers with JSON counts of the answers.

    GRPC_XDS_BOOTSTRAP_CONFIG=… python -m fakes.xds_client xds:///checkout [header=value]

A process of its own: gRPC reads the bootstrap once, before its first channel.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import grpc

METHOD = "/test.Echo/Name"


async def main(target: str, *headers: str) -> None:
    parted = [header.partition("=") for header in headers]
    metadata = [(name, value) for name, _, value in parted]
    async with grpc.aio.insecure_channel(target) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        while line := await asyncio.to_thread(sys.stdin.readline):
            answers = Counter[str]()
            for _ in range(int(line)):
                try:
                    answer = await call(b"", metadata=metadata, timeout=30, wait_for_ready=True)
                    answers[answer.decode()] += 1
                except grpc.aio.AioRpcError as error:
                    answers[error.code().name] += 1
            print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
