"""What can be in trouble: a workload on a platform, one replica of it, or something that no platform of ours runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

PLATFORMS: Final = ("process", "docker", "kubernetes")


@dataclass(frozen=True, slots=True)
class TargetRef:
    """Names a target. Equal ones are the same target."""

    platform: str
    """"process", "docker" or "kubernetes"; empty: no platform of ours runs it, so it can only be watched."""
    workload: str
    """Name on the platform; where there is none, any name: "payments.example.org"."""
    replica: str = ""
    """Name of one replica; empty means the workload as a whole."""
    namespace: str = ""
    """Kubernetes only; empty means the server's own."""

    @property
    def canonical(self) -> str:
        """The one text for it: "process/checkout", "kubernetes/shop/checkout#checkout-7d4f", "-/payments"."""
        scope = f"{self.namespace}/" if self.namespace else ""
        replica = f"#{self.replica}" if self.replica else ""
        return f"{self.platform or '-'}/{scope}{self.workload}{replica}"

    @property
    def whole(self) -> TargetRef:
        """The workload that it is, or is a replica of."""
        return replace(self, replica="")


def parse(canonical: str) -> TargetRef:
    """The target of a canonical text. Raises ValueError."""
    path, _, replica = canonical.partition("#")
    match path.split("/"):
        case [platform, workload] if workload:
            return TargetRef("" if platform == "-" else platform, workload, replica)
        case [platform, namespace, workload] if namespace and workload:
            return TargetRef(platform, workload, replica, namespace)
        case _:
            raise ValueError(f"{canonical!r} names no target")
