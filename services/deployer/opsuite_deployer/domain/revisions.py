"""Which workload of a platform a workload in a given version is: its revision.

Every distinct workload is a revision with a name of its own, so that old and new run side by side and going back never
builds anything again. The same workload always has the same name, however often and by whomever it is asked for.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Final

from opsuite_deployer.domain.pipeline import Workload

LONGEST_NAME: Final = 50
"""Of a workload that is rolled out: its replicas' names add "-1a2b3c4d-999", and a DNS label has 63 characters."""

_SIZE: Final = ("replicas",)
"""Not part of a revision: the same version in another size is still that version."""


def workload_id(workload: Workload) -> str:
    """Last part of the resource name of a filled workload; on Kubernetes its namespace comes first."""
    return f"{workload.namespace}.{workload.workload}" if workload.namespace else workload.workload


def revision_name(workload: Workload) -> str:
    """Name on the platform of a workload whose templates are filled: "checkout-1a2b3c4d"."""
    told = {name: value for name, value in asdict(workload).items() if name not in _SIZE}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return f"{workload.workload}-{digest[:8]}"
