"""What the environment says of a scaler: sources by a file, and starts that are refused with a reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from scaler import a_scaler

from opsuite.scaler.v1 import metrics_service_pb2 as pb

SOURCES = """
sources:
  graphs: {kind: prometheus, url: "http://127.0.0.1:1"}
  jobs: {kind: redis, url: "redis://127.0.0.1:1/0"}
"""


async def test_the_sources_of_a_file_are_beside_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "sources.yaml"
    file.write_text(SOURCES)
    with a_scaler(SCALER_SOURCES_FILE=str(file)) as scaler:
        async with scaler.client() as client:
            found = (await client.metrics.ListMetricSources(pb.ListMetricSourcesRequest())).sources

    assert [(one.name, one.kind) for one in found] == [
        ("graphs", "prometheus"),
        ("jobs", "redis"),
        ("keda", "keda"),
        ("platform", "platform"),
        ("push", "push"),
    ]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SCALER_LEASE", "soon", "scaler: setting LEASE:"),
        ("SCALER_SOURCES_FILE", "/nowhere.yaml", "scaler: /nowhere.yaml: cannot be read"),
        ("SCALER_DATABASE_URL", "vax://", 'scaler: database_url: a database is "sqlite"'),
        ("SCALER_LISTEN", "0.0.0.0:0", "TLS"),
    ],
)
def test_a_bad_value_stops_the_start_with_its_name(tmp_path: Path, name: str, value: str, told: str) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SCALER_DATA_DIR": str(tmp_path),
        "SCALER_PLATFORM_DIR": str(tmp_path),
        "SCALER_LISTEN": "127.0.0.1:0",
        name: value,
    }

    ended = subprocess.run(
        [sys.executable, "-m", "opsuite_scaler"], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert told in ended.stderr
