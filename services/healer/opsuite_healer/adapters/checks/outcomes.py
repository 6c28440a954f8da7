"""Outcomes as values of the contract."""

from __future__ import annotations

from typing import Final

from opsuite.healer.v1 import check_pb2 as pb
from opsuite_probes.port import Outcome

OUTCOMES: Final = {
    Outcome.HEALTHY: pb.HEALTH_OUTCOME_HEALTHY,
    Outcome.UNHEALTHY: pb.HEALTH_OUTCOME_UNHEALTHY,
    Outcome.UNKNOWN: pb.HEALTH_OUTCOME_UNKNOWN,
}
OUTCOMES_OF: Final = {number: outcome for outcome, number in OUTCOMES.items()}
