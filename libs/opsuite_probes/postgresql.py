"""A sign of life of PostgreSQL."""

from __future__ import annotations

import psycopg

from opsuite_probes.answer import Answer
from opsuite_probes.port import Outcome, PostgresqlProbe


async def ask_postgresql(probe: PostgresqlProbe) -> Answer:
    """Whether it answers a statement; one that knows us not is alive, but not of use to whoever is set up like us."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            probe.url, password=probe.password or None, autocommit=True, application_name="opsuite-probe"
        )
        try:
            await connection.execute("SELECT 1")
        finally:
            await connection.close()
    except psycopg.ProgrammingError:
        # The URL is not quoted: it may hold a password.
        return Answer(Outcome.UNKNOWN, "cannot be asked: the URL is malformed")
    except psycopg.Error as error:
        return Answer(*_meaning(error))
    return Answer(Outcome.HEALTHY, "SELECT 1 is answered")


def _meaning(error: psycopg.Error) -> tuple[Outcome, str]:
    state = error.sqlstate or ""
    told = str(error)
    if state.startswith("28"):
        return Outcome.UNKNOWN, "cannot be asked: PostgreSQL refuses the user or the password"
    if "refused" in told:
        return Outcome.UNHEALTHY, "connection refused"
    if "resolve" in told or "translate host name" in told:
        return Outcome.UNKNOWN, "cannot be asked: the host name does not resolve"
    if "authentication failed" in told or "no password supplied" in told:
        return Outcome.UNKNOWN, "cannot be asked: PostgreSQL refuses the user or the password"
    return Outcome.UNHEALTHY, f"PostgreSQL refuses: {state or type(error).__name__}"
