"""Targets as people type them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import typer


@dataclass(frozen=True, slots=True)
class Target:
    """`process/checkout`, `kubernetes/shop/checkout#checkout-7d4f`, `checkout` for a process, `other/payments`."""

    typed: str

    @property
    def message(self) -> Any:
        """As a message of the contract."""
        from opsuite.healer.v1.target_pb2 import TargetRef

        path, _, replica = self.typed.partition("#")
        match path.split("/"):
            case [workload] if workload:
                return TargetRef(platform="process", workload=workload, replica=replica)
            case [platform, workload] if workload:
                platform = "" if platform in {"-", "other"} else platform
                return TargetRef(platform=platform, workload=workload, replica=replica)
            case [platform, namespace, workload] if workload:
                return TargetRef(platform=platform, namespace=namespace, workload=workload, replica=replica)
        raise typer.BadParameter(f"{self.typed} is not PLATFORM/WORKLOAD or PLATFORM/NAMESPACE/WORKLOAD")
