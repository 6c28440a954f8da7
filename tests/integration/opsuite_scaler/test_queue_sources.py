"""Redis, RabbitMQ and PostgreSQL as metric sources: wrong passwords, wrong kinds of things, and hands off the data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import aio_pika
import psycopg
import pytest
from metric_servers import PASSWORD, rabbitmq_server, redis_server
from postgres import Cluster
from redis.asyncio import Redis
from server_processes import ServerProcess

from opsuite_notify.secrets import Secret, SecretMissing
from opsuite_scaler.adapters.sources.postgresql import PostgresqlSource
from opsuite_scaler.adapters.sources.rabbitmq import RabbitmqSource
from opsuite_scaler.adapters.sources.redis import RedisSource
from opsuite_scaler.adapters.sources.registry import ConfiguredSources, NamedSource
from opsuite_scaler.adapters.sources.source import MetricSource
from opsuite_scaler.domain.policy import MetricKind, MetricSpec, TargetKind, TargetRef, TargetType
from opsuite_scaler.domain.snapshot import Reading, SampleKind

__all__ = ["rabbitmq_server", "redis_server"]

WEB = TargetRef(TargetKind.WORKLOAD, "web")
WRONG = "hunter2-the-wrong-one"


async def read(source: MetricSource, query: str) -> Reading:
    registry = ConfiguredSources({"it": NamedSource(source, timedelta(seconds=60))})
    metric = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="it", query=query)
    try:
        return (await registry.read(WEB, [metric], [], datetime.now(UTC)))["queue"]
    finally:
        await registry.close()


def refused(reading: Reading) -> None:
    assert (reading.kind, reading.total) == (SampleKind.ERROR, 0.0)
    assert WRONG not in reading.message
    assert reading.message != "it: "


async def test_redis_refuses_a_wrong_password_and_a_wrong_kind_of_key(redis_server: ServerProcess) -> None:
    url = f"redis://127.0.0.1:{redis_server.port}/1"
    async with Redis(port=redis_server.port, password=PASSWORD, db=1) as client:
        await client.set("text", "is no list")

        refused(await read(RedisSource(url, password=lambda: Secret(WRONG)), "LLEN text"))
        refused(await read(RedisSource(url), "LLEN text"))
        reading = await read(RedisSource(url, password=lambda: Secret(PASSWORD)), "LLEN text")

    refused(reading)
    assert "WRONGTYPE" in reading.message


async def test_a_password_that_is_nowhere_is_an_error_that_names_it(redis_server: ServerProcess) -> None:
    def nowhere() -> Secret:
        raise SecretMissing("environment variable", "REDIS_PASSWORD")

    reading = await read(RedisSource(f"redis://127.0.0.1:{redis_server.port}", password=nowhere), "LLEN jobs")

    refused(reading)
    assert "REDIS_PASSWORD" in reading.message


@pytest.mark.parametrize("query", ["", "LLEN", "LLEN a b", "DEL jobs", "EVAL x 0", "XPENDING events", "LLEN 'open"])
def test_redis_is_asked_for_lengths_and_nothing_else(query: str) -> None:
    metric = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="it", query=query)

    assert RedisSource("redis://127.0.0.1:1").problem(metric)


async def test_rabbitmq_counts_what_is_ready_and_not_what_is_held(rabbitmq_server: ServerProcess) -> None:
    url = f"amqp://127.0.0.1:{rabbitmq_server.port}/"
    source = RabbitmqSource(url, username="tests", password=lambda: Secret(PASSWORD))
    async with await aio_pika.connect(f"amqp://tests:{PASSWORD}@127.0.0.1:{rabbitmq_server.port}/") as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("held", exclusive=False, auto_delete=False)
        for _ in range(3):
            await channel.default_exchange.publish(aio_pika.Message(b"work"), "held")
        await queue.get()

        reading = await read(source, "held")

    assert (reading.kind, reading.total) == (SampleKind.VALUE, 2.0)


async def test_rabbitmq_refuses_a_wrong_password(rabbitmq_server: ServerProcess) -> None:
    url = f"amqp://127.0.0.1:{rabbitmq_server.port}/"

    refused(await read(RabbitmqSource(url, username="tests", password=lambda: Secret(WRONG)), "jobs"))


def reader(cluster: Cluster, database: str, **settings: object) -> PostgresqlSource:
    owner = cluster.url().partition("//")[2].partition("@")[0]
    return PostgresqlSource(f"postgresql://{owner}@127.0.0.1:{cluster.port}/{database}", **settings)  # type: ignore[arg-type]  # of tests


WRITES = [
    "DELETE FROM jobs",
    "INSERT INTO jobs VALUES (9) RETURNING number",
    "COMMIT; DELETE FROM jobs",
    "SELECT 1; COMMIT; DELETE FROM jobs",
    "WITH gone AS (DELETE FROM jobs RETURNING 1) SELECT count(*) FROM gone",
    "COMMIT; BEGIN READ WRITE; DELETE FROM jobs; COMMIT",
    "SET TRANSACTION READ WRITE",
    "SELECT set_config('transaction_read_only', 'off', false)::text",
    "SELECT set_config('default_transaction_read_only', 'off', false)::text",
    "COMMIT",
]


async def test_postgresql_is_read_whatever_the_statement_tries(postgres_cluster: Cluster) -> None:
    database = postgres_cluster.take_database()
    postgres_cluster.execute("CREATE TABLE jobs AS SELECT generate_series(1, 3) AS number", database)
    source = reader(postgres_cluster, database)

    for _ in range(2):  # what one left behind must not help the next, over the same connection
        for statement in WRITES:
            reading = await asked(source, statement)
            assert reading.kind in {SampleKind.ERROR, SampleKind.MISSING}, statement
    after = await asked(source, "SELECT count(*) FROM jobs")
    await source.close()

    assert (after.kind, after.total) == (SampleKind.VALUE, 3.0)
    postgres_cluster.give_back_database(database)


async def asked(source: PostgresqlSource, statement: str) -> Reading:
    """Asked over the connections that the source keeps."""
    registry = ConfiguredSources({"it": NamedSource(source, timedelta(seconds=60))})
    metric = MetricSpec("queue", MetricKind.EXTERNAL, TargetType.AVERAGE_VALUE, 5.0, source="it", query=statement)
    return (await registry.read(WEB, [metric], [], datetime.now(UTC)))["queue"]


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("SELECT sum(number) FROM jobs", SampleKind.VALUE, ""),
        ("SELECT avg(number)::float8 FROM jobs", SampleKind.VALUE, ""),
        ("SELECT sum(number) FROM jobs WHERE false", SampleKind.MISSING, "no value"),
        ("SELECT number FROM jobs", SampleKind.ERROR, "more than one value"),
        ("SELECT 'three'", SampleKind.ERROR, "no number"),
        ("SELECT 'NaN'::float8", SampleKind.MISSING, "NaN"),
        ("SELEC 1", SampleKind.ERROR, "syntax error"),
        ("SELECT count(*) FROM nothing", SampleKind.ERROR, "does not exist"),
    ],
)
async def test_a_statement_is_judged_by_what_it_gives(
    postgres_cluster: Cluster, statement: str, kind: SampleKind, words: str
) -> None:
    database = postgres_cluster.take_database()
    postgres_cluster.execute("CREATE TABLE jobs AS SELECT generate_series(1, 3) AS number", database)

    reading = await read(reader(postgres_cluster, database), statement)

    assert (reading.kind, words in reading.message) == (kind, True)
    postgres_cluster.give_back_database(database)


async def test_a_statement_that_takes_too_long_is_ended_in_the_server(postgres_cluster: Cluster) -> None:
    source = reader(postgres_cluster, "postgres", statement_timeout=timedelta(milliseconds=50))

    reading = await read(source, "SELECT 1 FROM pg_sleep(1000)")

    refused(reading)
    assert "statement timeout" in reading.message
    with psycopg.connect(postgres_cluster.url(), autocommit=True) as connection:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND state = 'active'"
        (left,) = connection.execute(f"{running} AND pid <> pg_backend_pid()").fetchall()
    assert left == (0,)


async def test_postgresql_that_is_not_there_says_why() -> None:
    refused(await read(PostgresqlSource("postgresql://nobody@127.0.0.1:1/nothing"), "SELECT 1"))
