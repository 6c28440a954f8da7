"""The event log of a deployer that runs on SQLite, read behind its back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from opsuite.deployer.v1 import deployment_pb2


def log_of(data_dir: Path, name: str = "") -> list[deployment_pb2.DeploymentEvent]:
    """Every event of one deployment, or of all, in the order in which they were committed."""
    query = "SELECT payload FROM events WHERE ? IN ('', resource) ORDER BY position"
    with closing(sqlite3.connect(f"file:{data_dir}/deployer.db?mode=ro", uri=True)) as connection:
        rows = connection.execute(query, (name,)).fetchall()
    return [deployment_pb2.DeploymentEvent.FromString(payload) for (payload,) in rows]
