"""PipelineService: messages in, one use case, messages out."""

from __future__ import annotations

from opsuite.deployer.v1 import pipeline_service_pb2 as pb
from opsuite.deployer.v1 import pipeline_service_pb2_grpc as stubs
from opsuite_deployer.adapters.calls import Context, page_size
from opsuite_deployer.adapters.pipeline_judging import all_violations
from opsuite_deployer.adapters.pipeline_messages import document_of, message_of, pipeline_of
from opsuite_deployer.adapters.queries import Queries
from opsuite_deployer.application.pipelines import Pipelines, Registration
from opsuite_kernel.errors import InvalidInput
from opsuite_rpc.access import current_principal
from opsuite_rpc.calls import audited_as, shape_violations
from opsuite_runs.calls import replay_of


class PipelineServicer(stubs.PipelineServiceServicer):
    """Serves the contract of pipelines."""

    def __init__(self, pipelines: Pipelines, queries: Queries) -> None:
        self._pipelines = pipelines
        self._queries = queries

    async def RegisterPipeline(
        self,
        request: pb.RegisterPipelineRequest,
        context: Context[pb.RegisterPipelineRequest, pb.RegisterPipelineResponse],
    ) -> pb.RegisterPipelineResponse:
        """Record a new revision."""
        if shape := shape_violations():
            raise InvalidInput(all_violations(self._pipelines, request.pipeline, shape))
        audited_as(request.pipeline.name)
        revision, created = await self._pipelines.register(
            Registration(
                pipeline=pipeline_of(request.pipeline),
                document=document_of(request.pipeline),
                etag=request.etag,
                actor=current_principal().name,
                replay=replay_of(request),
            )
        )
        return pb.RegisterPipelineResponse(pipeline=message_of(revision), created=created)

    async def ValidatePipeline(
        self,
        request: pb.ValidatePipelineRequest,
        context: Context[pb.ValidatePipelineRequest, pb.ValidatePipelineResponse],
    ) -> pb.ValidatePipelineResponse:
        """Say what is wrong with a pipeline."""
        found = all_violations(self._pipelines, request.pipeline, shape_violations())
        return pb.ValidatePipelineResponse(
            violations=[
                pb.FieldViolation(field=one.field, description=one.description, reason=one.reason) for one in found
            ]
        )

    async def GetPipeline(
        self, request: pb.GetPipelineRequest, context: Context[pb.GetPipelineRequest, pb.GetPipelineResponse]
    ) -> pb.GetPipelineResponse:
        """Return a revision."""
        number = request.revision if request.HasField("revision") else None
        pipeline = await self._queries.pipeline(request.name.removeprefix("pipelines/"), number)
        return pb.GetPipelineResponse(pipeline=pipeline)

    async def ListPipelines(
        self, request: pb.ListPipelinesRequest, context: Context[pb.ListPipelinesRequest, pb.ListPipelinesResponse]
    ) -> pb.ListPipelinesResponse:
        """Return a page of latest revisions."""
        size = page_size(request.page_size, default=50, largest=1000)
        page = await self._queries.pipelines(token=request.page_token, size=size)
        return pb.ListPipelinesResponse(pipelines=page.items, next_page_token=page.next_token)

    async def DeletePipeline(
        self, request: pb.DeletePipelineRequest, context: Context[pb.DeletePipelineRequest, pb.DeletePipelineResponse]
    ) -> pb.DeletePipelineResponse:
        """Hide a pipeline."""
        uid = request.name.removeprefix("pipelines/")
        await self._pipelines.delete(uid, request.etag, replay_of(request))
        return pb.DeletePipelineResponse()
