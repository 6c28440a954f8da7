"""What would happen to an incident, as messages of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from opsuite.healer.v1 import escalation_service_pb2 as pb
from opsuite_healer.adapters.incidents.escalation_messages import receiver_name
from opsuite_healer.adapters.incidents.incident_messages import KINDS, STATUSES
from opsuite_healer.domain.incidents.preview import Happening, Moment, Preview, Supposed
from opsuite_rpc.values import moment, timestamp

HAPPENINGS: Final = {pb.PreviewEventKind.Value(f"PREVIEW_EVENT_KIND_{one.value}"): one for one in Happening}


def supposed_of(request: pb.PreviewEscalationRequest, opened_at: datetime) -> list[Supposed]:
    """What a request supposes. Raises InvalidInput."""
    return [
        Supposed(
            HAPPENINGS[one.kind],
            moment(one, "time", f"events[{index}].time") or opened_at,
            moment(one, "until", f"events[{index}].until"),
        )
        for index, one in enumerate(request.events)
    ]


def preview_response(found: Preview) -> pb.PreviewEscalationResponse:
    """What would happen."""
    moments = [_moment_message(one) for one in found.moments]
    return pb.PreviewEscalationResponse(moments=moments, truncated=found.is_truncated)


def _moment_message(one: Moment) -> pb.PreviewMoment:
    return pb.PreviewMoment(
        time=timestamp(one.at),
        kind=KINDS[one.kind],
        text=one.text,
        loop=one.turn.loop + 1 if one.turn else 0,
        level=one.turn.index + 1 if one.turn else 0,
        receivers=[receiver_name(receiver) for receiver in one.turn.receivers] if one.turn else (),
        status=STATUSES[one.status],
    )
