"""The deployer as clients see it that know nothing of this project: grpcurl, buf curl, and people with other roles."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from components import program
from deployer import DeployerProcess, a_command, a_deployer, a_pipeline, deploy, ended, register

from opsuite.deployer.v1 import deployment_service_pb2 as pb
from opsuite.deployer.v1 import history_service_pb2, pipeline_service_pb2
from opsuite_kernel.errors import Denied, Unauthenticated

VIEWER, OPERATOR = "viewer-token-of-the-tests", "operator-token-of-the-tests"
SERVICE = "opsuite.deployer.v1.DeploymentService"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployerProcess]:
    """A deployer with a policy file: a viewer, and an operator of staging only."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(f"""
principals:
  - name: vera
    token_sha256: {hashlib.sha256(VIEWER.encode()).hexdigest()}
    roles: {{viewer: ["*"]}}
  - name: otto
    token_sha256: {hashlib.sha256(OPERATOR.encode()).hexdigest()}
    roles: {{operator: [staging]}}
""")
    with a_deployer(DEPLOYER_POLICY_FILE=str(policy)) as deployer:
        yield deployer


def grpcurl(deployer: DeployerProcess, *words: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
    """What grpcurl says; `words` are its arguments after the address."""
    tool = program("grpcurl", "tools/build.sh builds it from its Go module")
    flags = [word for word in words if word.startswith(("-", "{"))]
    rest = [word for word in words if word not in flags]
    options = ["-plaintext", "-H", f"authorization: Bearer {token or deployer.token}"]
    data = [part for flag in flags for part in (["-d", flag] if flag.startswith("{") else [flag])]
    return subprocess.run(
        [tool, *options, *data, deployer.address, *rest], capture_output=True, text=True, check=False, timeout=60
    )


def test_grpcurl_lists_the_services_by_reflection(deployer: DeployerProcess) -> None:
    listed = grpcurl(deployer, "list").stdout.split()

    assert {SERVICE, "opsuite.deployer.v1.PipelineService", "opsuite.deployer.v1.HistoryService"} <= set(listed)
    assert "grpc.health.v1.Health" in listed


async def test_grpcurl_deploys_and_watches_to_the_end(deployer: DeployerProcess) -> None:
    async with deployer.client() as client:
        await register(client, a_pipeline("foreign", a_command("one"), a_command("two")))
    deployed = grpcurl(
        deployer,
        '{"pipeline": "pipelines/foreign", "version": "1.0.0", "environment": "staging"}',
        f"{SERVICE}/Deploy",
    )
    name = json.loads(deployed.stdout)["deployment"]["name"]

    watched = grpcurl(deployer, json.dumps({"name": name}), f"{SERVICE}/WatchDeployment")

    assert watched.returncode == 0, watched.stderr
    assert '"DEPLOYMENT_STATUS_SUCCEEDED"' in watched.stdout


def test_grpcurl_prints_every_violation_of_a_bad_request(deployer: DeployerProcess) -> None:
    refused = grpcurl(deployer, '{"version": "not a version", "environment": "Moon"}', f"{SERVICE}/Deploy")

    assert refused.returncode != 0
    assert "Code: InvalidArgument" in refused.stderr
    for field in ('"field": "pipeline"', '"field": "version"', '"field": "environment"'):
        assert field in refused.stderr


def test_buf_curl_calls_by_reflection(deployer: DeployerProcess) -> None:
    buf = Path(sys.executable).parent / "buf"
    answer = subprocess.run(
        [
            buf, "curl", "--http2-prior-knowledge", "--protocol", "grpc", "--reflect-header", "*",
            "-H", f"authorization: Bearer {deployer.token}", "-d", '{"parent": "pipelines/-/environments/-"}',
            f"http://{deployer.address}/{SERVICE}/ListDeployments",
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr


def test_without_a_token_not_even_reflection_answers(deployer: DeployerProcess) -> None:
    tool = program("grpcurl", "tools/build.sh builds it from its Go module")
    refused = subprocess.run(
        [tool, "-plaintext", deployer.address, "list"], capture_output=True, text=True, check=False, timeout=60
    )

    assert refused.returncode != 0
    assert "Unauthenticated" in refused.stderr or "token" in refused.stderr


async def test_a_wrong_token_is_refused_and_the_refusal_is_audited(guarded: DeployerProcess) -> None:
    async with guarded.client(token="wrong") as stranger:
        with pytest.raises(Unauthenticated):
            await deploy(stranger, "roles")
    async with guarded.client() as admin:
        assert await audited(admin, 'outcome = "UNAUTHENTICATED"') == [("anonymous", f"{SERVICE}/Deploy")]


async def test_a_viewer_reads_and_may_not_deploy(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin, guarded.client(token=VIEWER) as viewer:
        await register(admin, a_pipeline("roles", environments=["staging", "production"]))
        name = (await deploy(admin, "roles")).name
        await viewer.deployments.GetDeployment(pb.GetDeploymentRequest(name=name))
        with pytest.raises(Denied):
            await deploy(viewer, "roles")
        assert await audited(admin, 'actor = "vera" AND outcome = "PERMISSION_DENIED"') == [
            ("vera", f"{SERVICE}/Deploy")
        ]


async def test_an_operator_acts_in_the_own_environment_only_and_registers_nothing(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin, guarded.client(token=OPERATOR) as operator:
        await register(admin, a_pipeline("places", environments=["staging", "production"]))
        mine = await deploy(operator, "places", environment="staging")
        theirs = await deploy(admin, "places", environment="production")
        await ended(operator, mine.name)
        for refused in (
            deploy(operator, "places", environment="production"),
            operator.deployments.GetDeployment(pb.GetDeploymentRequest(name=theirs.name)),
            operator.deployments.CancelDeployment(pb.CancelDeploymentRequest(name=theirs.name)),
            operator.deployments.ListDeployments(pb.ListDeploymentsRequest(parent="pipelines/-/environments/-")),
            register(operator, a_pipeline("mine")),
            operator.history.VerifyAudit(history_service_pb2.VerifyAuditRequest()),
        ):
            with pytest.raises(Denied):
                await refused


async def test_the_actor_is_whoever_holds_the_token(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin, guarded.client(token=OPERATOR) as operator:
        await register(admin, a_pipeline("actors"))
        name = (await deploy(operator, "actors")).name
        deployment = (await admin.deployments.GetDeployment(pb.GetDeploymentRequest(name=name))).deployment
        assert deployment.requested_by == "otto"
        assert ("otto", f"{SERVICE}/Deploy") in await audited(admin, f'resource = "{name}"')


async def test_a_refused_command_is_a_security_event(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin:
        pipeline = a_pipeline("threat", a_command("bad", "rm", "-rf", "/"))
        answer = await admin.pipelines.ValidatePipeline(pipeline_service_pb2.ValidatePipelineRequest(pipeline=pipeline))
        assert answer.violations[0].field == "pipeline.stages[0].steps[0].command.command"
        with pytest.raises(Exception, match="rm"):
            await register(admin, pipeline)
        assert await audited(admin, 'action = "command.rejected"')


async def test_the_audit_chain_is_whole_and_a_cut_tail_shows(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin:
        report = await admin.history.VerifyAudit(history_service_pb2.VerifyAuditRequest())
        assert report.intact
        assert report.checked > 0
        sequence, digest = report.head.split(":")
        beyond = f"{int(sequence) + 1000}:{digest}"
        cut = await admin.history.VerifyAudit(history_service_pb2.VerifyAuditRequest(head=beyond))
        assert not cut.intact


async def test_a_shared_trace_id_shows_nobody_what_happened_elsewhere(guarded: DeployerProcess) -> None:
    shared = (("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"),)
    async with guarded.client() as admin, guarded.client(token=OPERATOR) as operator:
        await register(admin, a_pipeline("traced", a_command("step"), environments=["staging", "production"]))
        names = {}
        for environment in ("production", "staging"):
            request = pb.DeployRequest(pipeline="pipelines/traced", version=environment, environment=environment)
            answer = await admin.deployments.Deploy(request, metadata=shared)
            names[environment] = answer.deployment.name
            assert answer.deployment.trace_id == "ab" * 16
            await ended(admin, names[environment])
        seen = await operator.deployments.GetTrace(pb.GetTraceRequest(name=names["staging"]))
    assert "deployment staging" in {span.name for span in seen.spans}
    assert "deployment production" not in {span.name for span in seen.spans}


async def test_an_argument_refused_once_its_template_is_filled_is_a_security_event(guarded: DeployerProcess) -> None:
    async with guarded.client() as admin:
        step = a_command("say", "git", "log", "${what}")
        await register(admin, a_pipeline("filled", step, variables={"what": "HEAD"}))
        request = pb.DeployRequest(pipeline="pipelines/filled", version="1", environment="staging")
        request.variables["what"] = "$(id)"
        name = (await admin.deployments.Deploy(request)).deployment.name
        deployment = await ended(admin, name)
        assert deployment.reason == "PREFLIGHT_FAILED"
        assert await audited(admin, f'action = "command.rejected" AND resource = "{name}"')


async def audited(client: Any, filter_: str) -> list[tuple[str, str]]:
    """Actors and actions of the audit rows that pass a filter, newest first."""
    answer = await client.history.ListAuditEvents(history_service_pb2.ListAuditEventsRequest(filter=filter_))
    return [(event.actor, event.action) for event in answer.events]
