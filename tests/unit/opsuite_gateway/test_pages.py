"""What is written about the gateway is what it has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from opsuite_gateway.settings import Settings
from opsuite_gateway.transcoding.bindings import bindings_of, contracts
from opsuite_gateway.upstreams import SERVICES

GATEWAY = Path(__file__).resolve().parents[3] / "services" / "gateway"


def variables() -> set[str]:
    return {str(field.validation_alias or f"GATEWAY_{name.upper()}") for name, field in Settings.model_fields.items()}


def test_every_setting_is_described() -> None:
    page = (GATEWAY / "README.md").read_text()

    assert set(re.findall(r"^\| `((?:GATEWAY|OPSUITE)_[A-Z_]+)`", page, re.MULTILINE)) == variables()


def test_every_method_stands_in_the_openapi_document() -> None:
    document = json.loads((GATEWAY / "opsuite_gateway" / "openapi.json").read_text())
    told = {one["operationId"] for operations in document["paths"].values() for one in operations.values()}

    methods = {
        f"{one.method.containing_service.name}_{one.method.name}"
        for name in SERVICES
        for one in bindings_of(contracts(f"opsuite.{name}.v1"))
    }
    assert told == methods
