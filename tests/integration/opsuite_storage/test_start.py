"""What a start costs that finds nothing to migrate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FIRST = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    op.create_table("notes", sa.Column("id", sa.Integer, primary_key=True))
"""
START = """
import asyncio, sys
from pathlib import Path
from opsuite_storage.migrations import migrate
from opsuite_storage.store import open_store


async def main() -> None:
    store = open_store("sqlite", data_dir=Path(sys.argv[1]), name="notes")
    print(await migrate(store, Path(sys.argv[1]) / "migrations"), "alembic" in sys.modules)
    await store.close()


asyncio.run(main())
"""


def start(directory: Path) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", START, str(directory)], capture_output=True, text=True, check=True
    ).stdout.split()


def test_alembic_is_loaded_only_when_there_is_something_to_migrate(tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions / "0001_notes.py").write_text(FIRST)

    assert start(tmp_path) == ["0001", "True"]
    assert start(tmp_path) == ["0001", "False"]
