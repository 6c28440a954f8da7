"""SilenceService: silences are made, changed and ended."""

from __future__ import annotations

import grpc

from opsuite.healer.v1 import alert_pb2
from opsuite.healer.v1 import silence_service_pb2 as pb
from opsuite.healer.v1 import silence_service_pb2_grpc as stubs
from opsuite_healer.adapters.alerts.messages import FIELDS, changed, silence_from, silence_message
from opsuite_healer.adapters.alerts.queries import Queries
from opsuite_healer.application.alerts.silencing import Silencing
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.alerts.silences import Silence
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import page_size
from opsuite_runs.calls import call_of

Context = grpc.aio.ServicerContext


class SilenceServicer(stubs.SilenceServiceServicer):
    """Serves the contract of silences."""

    def __init__(self, silencing: Silencing, queries: Queries) -> None:
        self._silencing = silencing
        self._queries = queries

    async def CreateSilence(
        self, request: pb.CreateSilenceRequest, context: Context[pb.CreateSilenceRequest, pb.CreateSilenceResponse]
    ) -> pb.CreateSilenceResponse:
        """Record a silence."""
        call = call_of(request)
        silence = await self._silencing.create(lambda now: silence_from(request.silence, now, call.actor), call)
        return pb.CreateSilenceResponse(silence=await self._shown(silence))

    async def GetSilence(
        self, request: pb.GetSilenceRequest, context: Context[pb.GetSilenceRequest, pb.GetSilenceResponse]
    ) -> pb.GetSilenceResponse:
        """Return a silence."""
        silence = await self._silencing.get(id_of(request.name))
        return pb.GetSilenceResponse(silence=await self._shown(silence))

    async def ListSilences(
        self, request: pb.ListSilencesRequest, context: Context[pb.ListSilencesRequest, pb.ListSilencesResponse]
    ) -> pb.ListSilencesResponse:
        """Return a page of silences."""
        silences, token = await self._queries.silences(
            show_expired=request.show_expired, token=request.page_token, size=page_size(request.page_size)
        )
        return pb.ListSilencesResponse(silences=silences, next_page_token=token)

    async def UpdateSilence(
        self, request: pb.UpdateSilenceRequest, context: Context[pb.UpdateSilenceRequest, pb.UpdateSilenceResponse]
    ) -> pb.UpdateSilenceResponse:
        """Change a silence."""
        message = request.silence
        audited_as(message.name)
        fields = list(request.update_mask.paths) or list(FIELDS)
        _check_update(message, fields)
        author = current_principal().name

        def change(present: Silence) -> Silence:
            return changed(present, silence_from(message, present.starts_at, author), fields)

        silence = await self._silencing.update(id_of(message.name), message.etag, change, call_of(request))
        return pb.UpdateSilenceResponse(silence=await self._shown(silence))

    async def ExpireSilence(
        self, request: pb.ExpireSilenceRequest, context: Context[pb.ExpireSilenceRequest, pb.ExpireSilenceResponse]
    ) -> pb.ExpireSilenceResponse:
        """End a silence."""
        audited_as(request.name)
        silence = await self._silencing.expire(id_of(request.name), request.etag, request.reason, call_of(request))
        return pb.ExpireSilenceResponse(silence=await self._shown(silence))

    async def _shown(self, silence: Silence) -> alert_pb2.Silence:
        return silence_message(silence, await self._queries.now())


def _check_update(message: alert_pb2.Silence, fields: list[str]) -> None:
    violations = []
    if not message.name:
        violations.append(Violation("silence.name", "is required", "REQUIRED"))
    if wrong := [path for path in fields if path not in FIELDS]:
        told = f"names {', '.join(wrong)}; what can be changed is {', '.join(FIELDS)}"
        violations.append(Violation("update_mask", told, "UNKNOWN_FIELD"))
    if violations:
        raise InvalidInput(violations)
