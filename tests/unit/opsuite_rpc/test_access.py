"""What methods ask for, which environment a request means, and who is told apart by what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.clock import FakeClock
from fakes.rpc_service import BOTH, METHODS, SINGLE, a_file, add_file
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from opsuite.deployer.v1 import deployment_service_pb2, history_service_pb2, pipeline_service_pb2
from opsuite_kernel.errors import Denied, Unauthenticated
from opsuite_rpc.access import FOREIGN, AccessControl, FixedPolicy, Rights, environment_in, rights_of
from opsuite_rpc.identity import LOCAL, Identity, LocalToken, Proof, bearer_token, certificate_identity, token_hash
from opsuite_rpc.policy import Policy, parse_policy

POLICY = parse_policy(f"""
principals:
  - {{name: ci, token_sha256: {token_hash("secret")}, roles: {{operator: [staging]}}}}
  - {{name: healer, spiffe_id: "spiffe://fleet/healer", roles: {{viewer: ["*"]}}}}
""")


class Context:
    """What authentication reads of a call."""

    def __init__(self, peer: str = "ipv4:127.0.0.1:5", **auth: bytes) -> None:
        self._peer, self._auth = peer, {key: [value] for key, value in auth.items()}

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._auth


def service(**changes: Any) -> ServiceDescriptor:
    """The small service with some methods changed, in a package of its own."""
    package = f"opsuite.rpctest.access{abs(hash(repr(changes)))}.v1"
    add_file(a_file(package, {**METHODS, **changes}))
    return descriptor_pool.Default().FindServiceByName(f"{package}.ThingService")


# ---- rights ---------------------------------------------------------------------------------------------------------


def services_of_the_suite() -> Iterator[ServiceDescriptor]:
    files = (deployment_service_pb2, history_service_pb2, pipeline_service_pb2)
    for module in (*files, health_pb2, reflection_pb2, channelz_pb2):
        yield from module.DESCRIPTOR.services_by_name.values()


@pytest.mark.parametrize("descriptor", services_of_the_suite(), ids=lambda descriptor: str(descriptor.full_name))
def test_every_method_that_we_serve_has_rights(descriptor: ServiceDescriptor) -> None:
    rights, violations = rights_of(descriptor)

    assert violations == []
    assert rights.keys() == {method.name for method in descriptor.methods}


def test_only_health_is_open_to_all() -> None:
    assert {name.rpartition("/")[0] for name, rights in FOREIGN.items() if rights.anonymous} == {
        "grpc.health.v1.Health"
    }


def test_rights_are_read_from_the_contract() -> None:
    rights, _ = rights_of(pipeline_service_pb2.DESCRIPTOR.services_by_name["PipelineService"])

    assert rights["RegisterPipeline"] == Rights("pipelines.register", "", audit_always=True)
    assert rights["GetPipeline"].audit_always is False


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Get": ("", "name", 1, SINGLE)}, "NO_ACCESS_OPTION"),
        ({"Get": ("things.read", "missing", 1, SINGLE)}, "RESOURCE_FIELD"),
        ({"Get": ("things.read", "name", 1, BOTH)}, "RESOURCE_FIELD"),
    ],
)
def test_a_method_that_asks_for_nothing_or_for_a_field_that_is_not_there_is_a_violation(
    change: dict[str, Any], reason: str
) -> None:
    _, violations = rights_of(service(**change))

    assert [(violation.field.rpartition("/")[2], violation.reason) for violation in violations] == [("Get", reason)]


@pytest.mark.parametrize(
    ("field", "value", "environment"),
    [
        ("environment", "staging", "staging"),
        ("environment", "", None),
        ("name", "pipelines/shop/environments/staging/deployments/1", "staging"),
        ("parent", "pipelines/shop/environments/staging", "staging"),
        ("parent", "pipelines/-/environments/-", "*"),
        ("name", "pipelines/shop", None),
        ("name", "pipelines/environments/other/staging", None),  # a pipeline that is called "environments"
        ("name", "pipelines/shop/environments/", None),
        ("name", "", None),
    ],
)
def test_the_environment_is_a_field_or_a_part_of_the_resource_name(
    field: str, value: str, environment: str | None
) -> None:
    assert environment_in(field, value) == environment


@pytest.mark.parametrize("name", ["pipelines/shop", "", "nonsense"])
def test_a_request_that_should_name_an_environment_and_does_not_needs_a_role_for_all(name: str) -> None:
    access = AccessControl(FixedPolicy(POLICY))
    rights = Rights("things.read", "name")

    with pytest.raises(Denied):
        access.authorize(access.principal(Identity(Proof.TOKEN, token_hash("secret"))), rights, name)
    access.authorize(access.principal(Identity(Proof.SPIFFE, "spiffe://fleet/healer")), rights, name)


# ---- identity -------------------------------------------------------------------------------------------------------


async def test_a_static_token_is_known_by_its_hash() -> None:
    access = AccessControl(FixedPolicy(POLICY))

    assert access.principal(await access.authenticate("Bearer secret", Context())).name == "ci"


async def test_the_local_token_is_local() -> None:
    access = AccessControl(local=LocalToken("mine"))

    assert await access.authenticate("bearer mine", Context()) == LOCAL


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Bearer ", "Basic bWluZQ==", "mine", "Bearer mine more"])
@pytest.mark.parametrize("peer", ["ipv4:127.0.0.1:5", "unix:"])
async def test_any_other_header_is_refused_wherever_it_comes_from_and_not_repeated(header: str, peer: str) -> None:
    access = AccessControl(FixedPolicy(POLICY), local=LocalToken("mine"))

    with pytest.raises(Unauthenticated) as caught:
        await access.authenticate(header, Context(peer, peer_spiffe_id=b"spiffe://fleet/healer"))

    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(("trust", "known"), [(True, True), (False, False)])
async def test_the_unix_socket_is_local_only_where_it_is_trusted(trust: bool, known: bool) -> None:
    access = AccessControl(trust_unix_socket=trust)

    if known:
        assert await access.authenticate("", Context("unix:")) == LOCAL
    else:
        with pytest.raises(Unauthenticated):
            await access.authenticate("", Context("unix:"))


async def test_a_certificate_proves_its_spiffe_id_and_a_token_goes_before_it() -> None:
    access = AccessControl(FixedPolicy(POLICY))
    context = Context(peer_spiffe_id=b"spiffe://fleet/healer")

    assert access.principal(await access.authenticate("", context)).name == "healer"
    assert access.principal(await access.authenticate("Bearer secret", context)).name == "ci"


def test_a_certificate_without_uri_proves_nothing() -> None:
    assert certificate_identity({"x509_common_name": [b"admin"], "transport_security_type": [b"ssl"]}) is None
    assert certificate_identity({"peer_uri": [b"https://a", b"https://b"]}) == Identity(Proof.SPIFFE, "https://a")


def test_who_is_proved_but_not_listed_has_a_name_and_no_role() -> None:
    principal = AccessControl().principal(Identity(Proof.JWT, "eve"))

    assert (principal.name, principal.roles) == ("jwt:eve", frozenset())


def test_a_bearer_token_is_read_whatever_the_case_of_the_scheme() -> None:
    assert bearer_token("BEARER  abc ") == "abc"


def test_a_lasting_call_is_refused_once_its_token_has_expired() -> None:
    clock = FakeClock()
    access = AccessControl(clock=clock)
    now = clock.now().timestamp()

    access.recheck(LOCAL, Rights("things.read"), "")
    with pytest.raises(Denied):
        access.recheck(Identity(Proof.JWT, "eve", now + 1), Rights("things.read"), "")
    with pytest.raises(Unauthenticated):
        access.recheck(Identity(Proof.JWT, "eve", now - 1), Rights("things.read"), "")
    with pytest.raises(Unauthenticated):
        access.recheck(Identity(Proof.TOKEN, token_hash("struck off")), Rights("things.read"), "")


def test_an_empty_policy_lets_nobody_in_over_tcp() -> None:
    assert not AccessControl().guards_tcp
    assert not AccessControl(FixedPolicy(Policy())).guards_tcp
    assert AccessControl(FixedPolicy(POLICY)).guards_tcp
    assert AccessControl(local=LocalToken("mine")).guards_tcp
