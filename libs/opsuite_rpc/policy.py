"""Who may do what, where: one YAML file, default deny.

    roles:                          # beside the built-in ones; a name given here replaces a built-in role
      releaser: [deployments.*, pipelines.read]
    principals:
      - name: ci
        token_sha256: 9f86d081…     # or jwt_subject, or spiffe_id
        roles:
          operator: [staging]       # environments; "*" means all
          viewer: ["*"]

A permission that is asked for without an environment needs a role held for "*", unless it ends in `.read`: reading
what belongs to no environment is open to whoever may read anywhere, while changing it would reach all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

import yaml

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_rpc.identity import Identity, Proof

ALL: Final = "*"
BUILT_IN_ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "viewer": ("*.read",),
        "operator": ("*.read", "*.start", "*.control", "*.rollback"),
        "approver": ("*.read", "*.approve"),
        # Whoever registers a pipeline decides which commands run, so it is nobody's by the way.
        "registrar": ("*.read", "pipelines.register", "pipelines.delete"),
        "edge": ("edges.connect",),
        "admin": (ALL,),
    }
)
PROOFS: Final = MappingProxyType(
    {"token_sha256": Proof.TOKEN, "jwt_subject": Proof.JWT, "spiffe_id": Proof.SPIFFE}  # field of the file: proof
)
_PERMISSION: Final = re.compile(r"\*|([a-z][a-z0-9_]*|\*)\.([a-z][a-z0-9_]*|\*)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/-]{0,253}")
_RESERVED: Final = frozenset({"local", "anonymous"})
_STRANGERS: Final = tuple(f"{proof.value}:" for proof in Proof)
"""Beginnings of the names of those who are proved but not listed."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller, as the policy knows them."""

    name: str
    grants: Mapping[str, frozenset[str]] = field(default_factory=dict, hash=False)
    """Role to the environments it is held for; `*` among them means all."""

    @property
    def roles(self) -> frozenset[str]:
        """Names of the roles held anywhere."""
        return frozenset(self.grants)


ANONYMOUS: Final = Principal("anonymous")
LOCAL_ADMIN: Final = Principal("local", MappingProxyType({"admin": frozenset({ALL})}))


class Policy:
    """Roles and principals at one moment; a changed file makes a new one."""

    def __init__(
        self,
        roles: Mapping[str, tuple[str, ...]] = BUILT_IN_ROLES,
        principals: Mapping[Identity, Principal] = MappingProxyType({}),
    ) -> None:
        self._roles = roles
        self._principals = principals
        self._granted: dict[tuple[str, str], frozenset[str]] = {}  # (principal, permission): environments

    @property
    def knows_tokens(self) -> bool:
        """Whether anybody is recognised by a static token."""
        return any(identity.proof is Proof.TOKEN for identity in self._principals)

    def principal(self, identity: Identity) -> Principal | None:
        """Who that is; None when the policy does not know them."""
        return LOCAL_ADMIN if identity.proof is Proof.LOCAL else self._principals.get(identity)

    def allows(self, principal: Principal, permission: str, environment: str | None) -> bool:
        """Whether `principal` has `permission` in `environment`: `*` is all of them, None none in particular."""
        granted = self._environments(principal, permission)
        if ALL in granted:
            return True
        if environment is None:
            return bool(granted) and permission.endswith(".read")
        return environment in granted

    def _environments(self, principal: Principal, permission: str) -> frozenset[str]:
        if not principal.grants:
            return frozenset()  # strangers may be many: never remembered
        key = (principal.name, permission)
        if (known := self._granted.get(key)) is None:
            held = [
                environments
                for role, environments in principal.grants.items()
                if any(matches(pattern, permission) for pattern in self._roles.get(role, ()))
            ]
            known = self._granted[key] = frozenset().union(*held)
        return known


def matches(pattern: str, permission: str) -> bool:
    """Whether `pattern` (`*`, `noun.*`, `*.verb`, `noun.verb`) covers `permission` (`noun.verb`)."""
    if pattern == ALL:
        return True
    wanted, given = pattern.split("."), permission.split(".")
    return len(wanted) == len(given) and all(part in (ALL, other) for part, other in zip(wanted, given, strict=True))


def parse_policy(text: str) -> Policy:
    """The policy written in `text`. Raises InvalidInput with every violation, by its path in the file."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput([Violation("", f"is not YAML: {error}")]) from error
    reader = _Reader()
    policy = reader.policy(document)
    if reader.violations:
        raise InvalidInput(reader.violations)
    return policy


class _Reader:
    """Collects violations while it builds."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def policy(self, document: Any) -> Policy:
        sections = self._mapping("", _or(document, {}), allowed={"roles", "principals"})
        roles = dict(BUILT_IN_ROLES)
        for name, patterns in self._mapping("roles", _or(sections.get("roles"), {})).items():
            roles[str(name)] = self._patterns(f"roles.{name}", patterns)
        principals: dict[Identity, Principal] = {}
        names: set[str] = set()
        for index, entry in enumerate(self._list("principals", _or(sections.get("principals"), []))):
            self._principal(f"principals[{index}]", entry, roles, principals, names)
        return Policy(roles, principals)

    def _principal(
        self,
        path: str,
        entry: Any,
        roles: Mapping[str, tuple[str, ...]],
        principals: dict[Identity, Principal],
        names: set[str],
    ) -> None:
        fields = self._mapping(path, entry, allowed={"name", "roles", *PROOFS})
        name = self._name(f"{path}.name", fields.get("name"), names)
        grants = {
            str(role): self._environments(f"{path}.roles.{role}", environments)
            for role, environments in self._mapping(f"{path}.roles", _or(fields.get("roles"), {})).items()
        }
        for role in grants.keys() - roles.keys():
            self._fail(f"{path}.roles.{role}", "is not a role")
        identities = [self._identity(path, key, fields[key]) for key in PROOFS if key in fields]
        if not identities:
            self._fail(path, f"needs one of {', '.join(PROOFS)}")
        for identity in identities:
            if identity in principals:
                self._fail(path, f"{principals[identity].name} is identified by the same {identity.proof.value}")
            principals[identity] = Principal(name, grants)

    def _identity(self, path: str, key: str, value: Any) -> Identity:
        text = value.strip() if isinstance(value, str) else ""
        if not text:
            self._fail(f"{path}.{key}", "must be a text that is not empty")
        elif key == "token_sha256" and not _SHA256.fullmatch(text):
            self._fail(f"{path}.{key}", "must be a SHA-256 in 64 lower-case hex digits, not the token itself")
        elif key == "spiffe_id" and not text.startswith("spiffe://"):
            self._fail(f"{path}.{key}", "must start with spiffe://")
        return Identity(PROOFS[key], text)

    def _name(self, path: str, value: Any, names: set[str]) -> str:
        name = str(value)
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            self._fail(path, "must be a name of letters, digits and ._@:/-")
        elif name in _RESERVED or name.startswith(_STRANGERS):
            self._fail(path, f"{name} is reserved")
        elif name in names:
            self._fail(path, f"{name} stands there twice")
        names.add(name)
        return name

    def _environments(self, path: str, value: Any) -> frozenset[str]:
        found = self._list(path, value)
        for index, environment in enumerate(found):
            if not isinstance(environment, str) or not environment:
                self._fail(f"{path}[{index}]", "must be the name of an environment, or *")
        if not found:
            self._fail(path, "lists no environment")
        return frozenset(str(environment) for environment in found)

    def _patterns(self, path: str, value: Any) -> tuple[str, ...]:
        found = self._list(path, value)
        for index, pattern in enumerate(found):
            if not isinstance(pattern, str) or not _PERMISSION.fullmatch(pattern):
                self._fail(f"{path}[{index}]", "must be a permission: noun.verb, noun.*, *.verb or *")
        return tuple(str(pattern) for pattern in found)

    def _mapping(self, path: str, value: Any, allowed: set[str] | None = None) -> dict[Any, Any]:
        if not isinstance(value, dict):
            self._fail(path, "must be a mapping")
            return {}
        for key in sorted(map(str, value)):
            if allowed is not None and key not in allowed:
                self._fail(f"{path}.{key}" if path else key, f"is unknown; known are {', '.join(sorted(allowed))}")
        return value

    def _list(self, path: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            self._fail(path, "must be a list")
            return []
        return value

    def _fail(self, path: str, description: str) -> None:
        self.violations.append(Violation(path, description))


def _or(value: Any, absent: Any) -> Any:
    """A key without a value reads as None in YAML, which means the same as no key."""
    return absent if value is None else value
