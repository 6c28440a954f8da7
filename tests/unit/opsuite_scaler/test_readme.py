"""The README of the scaler names every setting and every RPC, and nothing else."""

import re
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from opsuite.scaler.v1 import (
    forecast_service_pb2,
    metrics_service_pb2,
    pool_service_pb2,
    scaler_service_pb2,
    simulation_service_pb2,
    target_service_pb2,
)
from opsuite_scaler.settings import Settings

PAGE = (Path(__file__).resolve().parents[3] / "services" / "scaler" / "README.md").read_text()
CONTRACTS = [
    scaler_service_pb2,
    target_service_pb2,
    metrics_service_pb2,
    pool_service_pb2,
    forecast_service_pb2,
    simulation_service_pb2,
]
SERVICES = [service for contract in CONTRACTS for service in contract.DESCRIPTOR.services_by_name.values()]


def test_every_setting_is_described() -> None:
    described = set(re.findall(r"^\| `(SCALER_[A-Z_]+)`", PAGE, re.MULTILINE))

    assert described == {f"SCALER_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_every_rpc_is_listed(service: ServiceDescriptor) -> None:
    found = re.search(rf"^\| `{re.escape(service.full_name)}` \| (.*) \|$", PAGE, re.MULTILINE)

    assert found is not None
    assert found[1].split(", ") == [method.name for method in service.methods]
