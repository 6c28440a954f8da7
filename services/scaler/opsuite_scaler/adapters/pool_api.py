"""CapacityPoolService: capacity that several targets share."""

from __future__ import annotations

from typing import Final

from opsuite.scaler.v1 import pool_service_pb2 as pb
from opsuite.scaler.v1 import pool_service_pb2_grpc as stubs
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.calls import audited_as
from opsuite_rpc.values import page_size
from opsuite_runs.calls import call_of
from opsuite_scaler.adapters.calls import Context, pool_id
from opsuite_scaler.adapters.queries import Queries, pool_message
from opsuite_scaler.application.pools import PoolChange, Pools
from opsuite_scaler.application.records import name_of

CHANGEABLE: Final = ("capacity", "description")


class PoolServicer(stubs.CapacityPoolServiceServicer):
    """Serves the contract of pools."""

    def __init__(self, pools: Pools, queries: Queries) -> None:
        self._pools = pools
        self._queries = queries

    async def CreateCapacityPool(
        self,
        request: pb.CreateCapacityPoolRequest,
        context: Context[pb.CreateCapacityPoolRequest, pb.CreateCapacityPoolResponse],
    ) -> pb.CreateCapacityPoolResponse:
        """Record a pool."""
        audited_as(request.pool.name)
        pool = request.pool
        record = await self._pools.create(pool_id(pool.name), pool.capacity, pool.description, call_of(request))
        return pb.CreateCapacityPoolResponse(pool=pool_message(record))

    async def GetCapacityPool(
        self,
        request: pb.GetCapacityPoolRequest,
        context: Context[pb.GetCapacityPoolRequest, pb.GetCapacityPoolResponse],
    ) -> pb.GetCapacityPoolResponse:
        """Return a pool and who has what of it."""
        record, shares = await self._pools.get(pool_id(request.name))
        message = pool_message(record)
        for one in shares:
            message.shares.add(
                policy=name_of(one.policy),
                priority=one.priority,
                wanted_replicas=one.wanted,
                granted_replicas=one.granted,
                current_replicas=one.current,
            )
        return pb.GetCapacityPoolResponse(pool=message)

    async def ListCapacityPools(
        self,
        request: pb.ListCapacityPoolsRequest,
        context: Context[pb.ListCapacityPoolsRequest, pb.ListCapacityPoolsResponse],
    ) -> pb.ListCapacityPoolsResponse:
        """Return a page of pools."""
        page = await self._queries.pools(token=request.page_token, size=page_size(request.page_size))
        return pb.ListCapacityPoolsResponse(pools=page.items, next_page_token=page.next_token)

    async def UpdateCapacityPool(
        self,
        request: pb.UpdateCapacityPoolRequest,
        context: Context[pb.UpdateCapacityPoolRequest, pb.UpdateCapacityPoolResponse],
    ) -> pb.UpdateCapacityPoolResponse:
        """Change a pool."""
        audited_as(request.pool.name)
        fields = list(request.update_mask.paths) or list(CHANGEABLE)
        if wrong := [path for path in fields if path not in CHANGEABLE]:
            told = f"names {', '.join(wrong)}; what can be changed is {', '.join(CHANGEABLE)}"
            raise InvalidInput([Violation("update_mask", told, "UNKNOWN_FIELD")])
        change = PoolChange(
            pool=pool_id(request.pool.name),
            capacity=request.pool.capacity if "capacity" in fields else None,
            description=request.pool.description if "description" in fields else None,
            etag=request.pool.etag,
        )
        record = await self._pools.update(change, call_of(request))
        return pb.UpdateCapacityPoolResponse(pool=pool_message(record))

    async def DeleteCapacityPool(
        self,
        request: pb.DeleteCapacityPoolRequest,
        context: Context[pb.DeleteCapacityPoolRequest, pb.DeleteCapacityPoolResponse],
    ) -> pb.DeleteCapacityPoolResponse:
        """Forget a pool."""
        audited_as(request.name)
        await self._pools.delete(pool_id(request.name), request.etag, call_of(request))
        return pb.DeleteCapacityPoolResponse()
