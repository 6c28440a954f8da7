"""A sign of life of Redis."""

from __future__ import annotations

import socket

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, AuthorizationError, BusyLoadingError, RedisError, ResponseError

from opsuite_probes.answer import Answer
from opsuite_probes.port import Outcome, RedisProbe


async def ask_redis(probe: RedisProbe) -> Answer:
    """Whether it answers PING, over a connection of its own."""
    try:
        client = Redis.from_url(probe.url, password=probe.password or None, retry=None)
    except ValueError:
        # The URL is not quoted: it may hold a password.
        return Answer(Outcome.UNKNOWN, "cannot be asked: the URL is malformed")
    try:
        await client.ping()
    except RedisError as error:
        return Answer(*_meaning(error))
    finally:
        await client.aclose()
    return Answer(Outcome.HEALTHY, "PONG")


def _meaning(error: RedisError) -> tuple[Outcome, str]:
    if isinstance(error, AuthenticationError | AuthorizationError) or "NOAUTH" in str(error):
        return Outcome.UNKNOWN, "cannot be asked: Redis refuses the user or the password"
    if isinstance(error, BusyLoadingError):
        return Outcome.UNHEALTHY, "Redis is still loading its data"
    if isinstance(error, ResponseError):
        return Outcome.UNHEALTHY, f"Redis refuses PING: {str(error).partition(' ')[0]}"
    cause = error.__cause__ or error.__context__
    if isinstance(cause, socket.gaierror):
        return Outcome.UNKNOWN, "cannot be asked: the host name does not resolve"
    if isinstance(cause, ConnectionRefusedError):
        return Outcome.UNHEALTHY, "connection refused"
    return Outcome.UNHEALTHY, f"no valid answer of Redis ({type(error).__name__})"
