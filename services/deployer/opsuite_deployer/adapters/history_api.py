"""HistoryService: who did what, provably."""

from __future__ import annotations

from opsuite.deployer.v1 import history_service_pb2 as pb
from opsuite.deployer.v1 import history_service_pb2_grpc as stubs
from opsuite_deployer.adapters import tables
from opsuite_deployer.adapters.calls import Context, page_size
from opsuite_deployer.adapters.queries import Queries
from opsuite_runs import audit
from opsuite_storage.store import Store


class HistoryServicer(stubs.HistoryServiceServicer):
    """Serves the contract of the audit log."""

    def __init__(self, store: Store, queries: Queries) -> None:
        self._store = store
        self._queries = queries

    async def ListAuditEvents(
        self,
        request: pb.ListAuditEventsRequest,
        context: Context[pb.ListAuditEventsRequest, pb.ListAuditEventsResponse],
    ) -> pb.ListAuditEventsResponse:
        """Return a page of audit rows."""
        size = page_size(request.page_size, default=50, largest=1000)
        page = await self._queries.audit(filter_=request.filter, token=request.page_token, size=size)
        return pb.ListAuditEventsResponse(events=page.items, next_page_token=page.next_token)

    async def VerifyAudit(
        self, request: pb.VerifyAuditRequest, context: Context[pb.VerifyAuditRequest, pb.VerifyAuditResponse]
    ) -> pb.VerifyAuditResponse:
        """Recompute the chain."""
        report = await self._store.read(lambda connection: audit.verify(connection, tables.audit, request.head))
        return pb.VerifyAuditResponse(
            intact=report.intact,
            checked=report.checked,
            broken_at=report.broken_at,
            message=report.message,
            head=report.head,
        )
