"""What a method asks of its caller, and whether this caller has it.

Our own methods say it in their contract, `(opsuite.common.v1.access)`; methods of foreign contracts cannot, so theirs
stand in one table here. A method found in neither stops the start of the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor

from opsuite.common.v1 import options_pb2
from opsuite_kernel.clock import Clock, SystemClock
from opsuite_kernel.errors import Denied, Unauthenticated, Violation
from opsuite_rpc.calls import current_call
from opsuite_rpc.identity import LOCAL, Identity, LocalToken, Proof, bearer_token, certificate_identity, token_hash
from opsuite_rpc.policy import ALL, Policy, Principal

ENVIRONMENT_FIELD: Final = "environment"
ENVIRONMENTS: Final = "environments"


@dataclass(frozen=True, slots=True)
class Rights:
    """What one method asks for."""

    permission: str = ""
    """`noun.verb`; empty: any authenticated principal may call."""
    resource_field: str = ""
    """Field of the request that says which environment is meant; empty: none in particular."""
    audit_always: bool = False
    """Every call is audited, rather than refusals only."""
    anonymous: bool = False
    """Callers without any proof are let in."""


FOREIGN: Final[Mapping[str, Rights]] = MappingProxyType(
    {
        # Probers hold no token, and the answer says no more than a closed port would.
        "grpc.health.v1.Health/Check": Rights(anonymous=True),
        "grpc.health.v1.Health/Watch": Rights(anonymous=True),
        "grpc.health.v1.Health/List": Rights(anonymous=True),
        # The contracts are public; asking for a principal keeps the port from being mapped by strangers.
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Rights(),
        # Edges are told where every workload listens, and what they count decides rollouts.
        "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources": Rights(
            permission="edges.connect"
        ),
        "envoy.service.metrics.v3.MetricsService/StreamMetrics": Rights(permission="edges.connect"),
        # Channelz shows the addresses of peers.
        **{
            f"grpc.channelz.v1.Channelz/{method}": Rights(permission="channelz.inspect")
            for method in (
                "GetTopChannels",
                "GetServers",
                "GetServer",
                "GetServerSockets",
                "GetChannel",
                "GetSubchannel",
                "GetSocket",
            )
        },
    }
)


def rights_of(service: ServiceDescriptor) -> tuple[dict[str, Rights], list[Violation]]:
    """Rights of each method by its name, and what is wrong with the contract: a method without rights among it."""
    found: dict[str, Rights] = {}
    violations: list[Violation] = []
    for method in service.methods:
        path = f"{service.full_name}/{method.name}"
        rights = FOREIGN.get(path) or _rights_in_contract(method)
        if rights is None:
            violations.append(Violation(path, "has no (opsuite.common.v1.access) option", "NO_ACCESS_OPTION"))
            continue
        found[method.name] = rights
        if problem := _resource_field_problem(method, rights.resource_field):
            violations.append(Violation(path, problem, "RESOURCE_FIELD"))
    return found, violations


def _rights_in_contract(method: MethodDescriptor) -> Rights | None:
    options = method.GetOptions()
    if not options.HasExtension(options_pb2.access):
        return None
    access = options.Extensions[options_pb2.access]
    if not access.permission:
        return None  # an empty permission would let anybody in who has a token
    return Rights(access.permission, access.resource_field, access.audit == options_pb2.AUDIT_ALWAYS)


def _resource_field_problem(method: MethodDescriptor, name: str) -> str | None:
    if not name:
        return None
    if method.client_streaming:
        return "has a resource_field, but its request is a stream"
    field = method.input_type.fields_by_name.get(name)
    if field is None or field.type != FieldDescriptor.TYPE_STRING or field.is_repeated:
        return f"has resource_field {name}, which is no single string of its request"
    return None


def environment_in(field: str, value: str) -> str | None:
    """The environment meant by a request; `*` for all of them, None where it names none.

    A field named `environment` is one; of a resource name it is the part after `environments/`, where `-` means all.
    """
    if field == ENVIRONMENT_FIELD:
        return value or None
    parts = value.split("/")
    for collection, name in zip(parts[::2], parts[1::2], strict=False):
        if collection == ENVIRONMENTS and name:
            return ALL if name == "-" else name
    return None


class TokenVerifier(Protocol):
    """Checks signed tokens."""

    def remembered(self, token: str) -> Identity | None:
        """Whose token that is, if it was found good a moment ago; None when it has to be verified."""

    async def verify(self, token: str) -> Identity:
        """Whose token that is. Raises Unauthenticated; Unavailable when the issuer's keys cannot be had."""


class PolicySource(Protocol):
    """Where the policy of the moment is found."""

    @property
    def policy(self) -> Policy:
        """The policy of the moment."""

    def reload(self) -> bool:
        """Take a changed policy into use; whether it did."""


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """A policy that never changes. The default one knows nobody but `local`."""

    policy: Policy = field(default_factory=Policy)

    def reload(self) -> bool:
        """Nothing to do."""
        return False


class AccessControl:
    """Tells who a caller is and whether they may."""

    def __init__(
        self,
        policy: PolicySource | None = None,
        *,
        local: LocalToken | None = None,
        jwt: TokenVerifier | None = None,
        trust_unix_socket: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """`trust_unix_socket`: who comes over the Unix socket without a token is `local`: its directory is 0700."""
        self._source = policy or FixedPolicy()
        self._local = local
        self._jwt = jwt
        self._trust_unix_socket = trust_unix_socket
        self._clock = clock or SystemClock()

    @property
    def guards_tcp(self) -> bool:
        """Whether somebody who comes over TCP without a certificate has any way to be refused or recognised."""
        return self._local is not None or self._jwt is not None or self._source.policy.knows_tokens

    def reload(self) -> bool:
        """Take a changed policy into use; whether it did."""
        return self._source.reload()

    async def authenticate(self, authorization: str, context: Any) -> Identity:
        """Who calls. Raises Unauthenticated; Unavailable when a signing key cannot be had."""
        if authorization:
            return await self._of_token(bearer_token(authorization))
        if self._trust_unix_socket and context.peer().startswith("unix:"):
            return LOCAL
        if (identity := certificate_identity(context.auth_context())) is not None:
            return identity
        raise Unauthenticated("the call carries no token and no client certificate", reason="TOKEN_MISSING")

    async def _of_token(self, token: str) -> Identity:
        if self._local is not None and self._local.matches(token):
            return LOCAL
        static = Identity(Proof.TOKEN, token_hash(token))
        if self._source.policy.principal(static) is not None:
            return static
        if self._jwt is not None and token.count(".") == 2:  # header.claims.signature
            return self._jwt.remembered(token) or await self._jwt.verify(token)
        raise Unauthenticated("the token is not known", reason="TOKEN_UNKNOWN")

    def principal(self, identity: Identity) -> Principal:
        """Who the policy says that is; somebody proved but not listed is called by their subject and may do nothing."""
        return self._source.policy.principal(identity) or Principal(f"{identity.proof.value}:{identity.subject}")

    def authorize(self, principal: Principal, rights: Rights, resource: str) -> None:
        """Raises Denied unless `principal` has what the method asks for on the resource that is meant."""
        if not rights.permission:
            return
        environment = environment_in(rights.resource_field, resource) if rights.resource_field else None
        # A request that was to name an environment and names none could mean any of them.
        wanted = ALL if rights.resource_field and environment is None else environment
        if not self._source.policy.allows(principal, rights.permission, wanted):
            raise denied(principal, rights.permission, wanted)

    def recheck(self, identity: Identity, rights: Rights, resource: str) -> None:
        """Judge a call that lasts again: tokens expire and policies change. Raises Unauthenticated, Denied."""
        gone = identity.proof is Proof.TOKEN and self._source.policy.principal(identity) is None
        if gone or (identity.expires is not None and identity.expires < self._clock.now().timestamp()):
            raise Unauthenticated("the token is no longer valid", reason="TOKEN_EXPIRED")
        self.authorize(self.principal(identity), rights, resource)


def denied(principal: Principal, permission: str, environment: str | None) -> Denied:
    """The refusal, with what an administrator needs to know to grant it."""
    where = "" if environment is None else " in all environments" if environment == ALL else f" in {environment}"
    return Denied(
        f"{principal.name} lacks {permission}{where}",
        reason="PERMISSION_DENIED",
        metadata={"principal": principal.name, "permission": permission, "environment": environment or ""},
    )


def current_principal() -> Principal:
    """The caller of the call in work; `anonymous` for methods open to all. Raises LookupError outside of calls."""
    return current_call().principal
