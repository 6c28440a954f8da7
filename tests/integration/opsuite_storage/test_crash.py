"""A writing process is killed at a random moment: what it acknowledged is there, and nothing is half there."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
from postgres import Cluster

SIDES = ("left_side", "right_side")
WRITER = """
import asyncio, itertools, os, sys
from pathlib import Path
import sqlalchemy as sa
from opsuite_storage.store import open_store

SIDES = ("left_side", "right_side")
url, directory, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])

async def main():
    store = open_store(url, data_dir=directory, name="crash")
    table = "CREATE TABLE IF NOT EXISTS {} (n INTEGER PRIMARY KEY, filling TEXT)"
    await store.alter(lambda tx: [tx.exec_driver_sql(table.format(side)) and None for side in SIDES])
    numbers = itertools.count(first)

    def body(number):
        def write(tx):
            for side in SIDES:
                row = {"n": number, "filling": "x" * (number % 3000)}
                tx.execute(sa.text(f"INSERT INTO {side} VALUES (:n, :filling)"), row)
            if number % 7 == 0:
                raise ValueError(number)
            return number
        return write

    async def write_for_ever():
        for number in numbers:
            try:
                await store.write(body(number))
            except ValueError:
                continue
            os.write(1, b"%d\\n" % number)

    await asyncio.gather(*(write_for_ever() for _ in range(16)))

asyncio.run(main())
"""


def write_until_killed(url: str, directory: Path, *, first: int, acknowledgements: int) -> set[int]:
    """Everything that the process acknowledged; it is killed right after some of that."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, url, directory, str(first)], stdout=subprocess.PIPE)
    assert writer.stdout
    heard = [writer.stdout.readline() for _ in range(acknowledgements)]
    writer.kill()
    heard += writer.stdout.readlines()  # what it said between our reading and its death
    writer.stdout.close()
    writer.wait()
    return {int(line) for line in heard if line.endswith(b"\n")}


def check(sides: Sequence[set[int]], acknowledged: set[int]) -> None:
    left, right = sides
    assert left == right, "a transaction is half there"
    assert acknowledged <= left, "an acknowledged transaction is lost"
    assert not {number for number in left if number % 7 == 0}, "a failed transaction left something"


def survive_on_sqlite(directory: Path, seed: int) -> None:
    moments = random.Random(seed)
    acknowledged: set[int] = set()
    for life in range(2):  # the second one starts on what the first left behind
        count = moments.randrange(1, 1500)
        acknowledged |= write_until_killed("sqlite", directory, first=1 + life * 10**6, acknowledgements=count)
    database = sqlite3.connect(directory / "crash.db")
    try:
        sides = [{n for (n,) in database.execute(f"SELECT n FROM {side}")} for side in SIDES]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        database.close()
    check(sides, acknowledged)


@pytest.mark.parametrize("seed", [1, 2])
def test_killing_the_writer_loses_and_halves_nothing(tmp_path: Path, seed: int) -> None:
    survive_on_sqlite(tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 140))
def test_killing_the_writer_at_many_moments_loses_and_halves_nothing(tmp_path: Path, seed: int) -> None:
    survive_on_sqlite(tmp_path, seed)


def survive_on_postgresql(cluster: Cluster, url: str, directory: Path, seed: int) -> None:
    count = random.Random(seed).randrange(1, 800)
    acknowledged = write_until_killed(url, directory, first=1, acknowledgements=count)
    with psycopg.connect(url) as database:
        # The server may still be ending what the dead process had begun.
        database.execute("LOCK TABLE left_side, right_side IN ACCESS EXCLUSIVE MODE")
        sides = [{n for (n,) in database.execute(f"SELECT n FROM {side}".encode())} for side in SIDES]
    check(sides, acknowledged)


@pytest.mark.parametrize("seed", [3])
def test_killing_a_client_of_postgresql_loses_and_halves_nothing(
    postgres_cluster: Cluster, postgres_url: str, tmp_path: Path, seed: int
) -> None:
    survive_on_postgresql(postgres_cluster, postgres_url, tmp_path, seed)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(200, 215))
def test_killing_a_client_of_postgresql_at_many_moments_loses_and_halves_nothing(
    postgres_cluster: Cluster, postgres_url: str, tmp_path: Path, seed: int
) -> None:
    survive_on_postgresql(postgres_cluster, postgres_url, tmp_path, seed)
