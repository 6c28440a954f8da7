"""Who may do what, where; and what is wrong with a policy file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsuite_kernel.errors import InvalidInput
from opsuite_rpc.identity import LOCAL, Identity, Proof, token_hash
from opsuite_rpc.policy import ALL, Policy, Principal, matches, parse_policy

WORD = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


def holding(**grants: str) -> Principal:
    """A principal with roles in comma-separated environments."""
    return Principal("ann", {role: frozenset(where.split(",")) for role, where in grants.items()})


@pytest.mark.parametrize(
    ("pattern", "permission", "covered"),
    [
        ("*", "deployments.start", True),
        ("deployments.*", "deployments.start", True),
        ("*.read", "deployments.read", True),
        ("deployments.start", "deployments.start", True),
        ("*.*", "deployments.start", True),
        ("deployments.*", "deployments_of_others.start", False),
        ("*.read", "deployments.readable", False),
        ("deployments.start", "deployments.started", False),
        ("pipelines.*", "deployments.start", False),
    ],
)
def test_a_pattern_covers_whole_words_only(pattern: str, permission: str, covered: bool) -> None:
    assert matches(pattern, permission) is covered


@given(WORD, WORD, WORD, WORD)
def test_without_a_star_a_pattern_covers_exactly_itself(noun: str, verb: str, other: str, another: str) -> None:
    assert matches(f"{noun}.{verb}", f"{other}.{another}") is ((noun, verb) == (other, another))


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", {"deployments.read"}),
        ("operator", {"deployments.read", "deployments.start", "deployments.control", "deployments.rollback"}),
        ("approver", {"deployments.read", "deployments.approve"}),
        ("registrar", {"deployments.read", "pipelines.register", "pipelines.delete"}),
    ],
)
def test_each_built_in_role_may_this_and_nothing_else(role: str, may: set[str]) -> None:
    asked = {"deployments.read", "deployments.start", "deployments.control", "deployments.rollback"}
    asked |= {"deployments.approve", "pipelines.register", "pipelines.delete", "channelz.inspect", "anything.else"}
    principal, admin = holding(**{role: "*"}), holding(admin="*")

    assert {permission for permission in asked if Policy().allows(principal, permission, "staging")} == may
    assert all(Policy().allows(admin, permission, ALL) for permission in asked)


@pytest.mark.parametrize(
    ("where", "environment", "allowed"),
    [
        ("staging", "staging", True),
        ("staging", "production", False),
        ("staging,production", "production", True),
        ("staging", ALL, False),
        ("staging,production", ALL, False),
        ("*", ALL, True),
        ("*", "production", True),
    ],
)
def test_a_role_holds_in_its_environments_and_all_of_them_only_by_a_star(
    where: str, environment: str, allowed: bool
) -> None:
    assert Policy().allows(holding(operator=where), "deployments.start", environment) is allowed


@pytest.mark.parametrize(
    ("role", "where", "permission", "allowed"),
    [
        ("viewer", "staging", "pipelines.read", True),
        ("registrar", "staging", "pipelines.register", False),
        ("registrar", "*", "pipelines.register", True),
        ("operator", "*", "pipelines.register", False),
    ],
)
def test_what_belongs_to_no_environment_is_read_by_any_reader_and_changed_only_with_a_star(
    role: str, where: str, permission: str, allowed: bool
) -> None:
    assert Policy().allows(holding(**{role: where}), permission, None) is allowed


def test_roles_add_up() -> None:
    principal = holding(viewer="*", operator="staging")

    assert Policy().allows(principal, "deployments.start", "staging")
    assert not Policy().allows(principal, "deployments.start", "production")
    assert Policy().allows(principal, "deployments.read", "production")


def test_a_stranger_may_nothing() -> None:
    assert not Policy().allows(Principal("jwt:eve"), "deployments.read", None)


def test_local_is_admin_without_any_file() -> None:
    principal = Policy().principal(LOCAL)

    assert principal is not None
    assert (principal.name, principal.roles) == ("local", frozenset({"admin"}))


def test_a_file_names_roles_and_principals_by_every_kind_of_proof() -> None:
    policy = parse_policy(f"""
roles:
  releaser: [deployments.*]
  viewer: [deployments.read]
principals:
  - {{name: ci, token_sha256: {token_hash("s3cret")}, roles: {{releaser: [staging]}}}}
  - {{name: ann, jwt_subject: ann@example.org, roles: {{viewer: ["*"]}}}}
  - {{name: healer, spiffe_id: "spiffe://fleet/healer", roles: {{operator: ["*"]}}}}
""")
    ci = policy.principal(Identity(Proof.TOKEN, token_hash("s3cret")))
    ann = policy.principal(Identity(Proof.JWT, "ann@example.org"))
    healer = policy.principal(Identity(Proof.SPIFFE, "spiffe://fleet/healer"))

    assert ci is not None
    assert ann is not None
    assert healer is not None
    assert policy.allows(ci, "deployments.rollback", "staging")
    assert not policy.allows(ci, "pipelines.read", "staging")
    assert not policy.allows(ann, "pipelines.read", "staging")  # the file replaced the built-in role
    assert policy.allows(healer, "deployments.start", "production")
    assert policy.principal(Identity(Proof.JWT, "spiffe://fleet/healer")) is None  # a proof of another kind


def test_every_violation_is_told_at_once_by_its_path() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_policy("""
owner: me
roles:
  loose: [deployments, "*.read", 5]
principals:
  - {name: local, jwt_subject: a, roles: {viewer: ["*"]}}
  - {name: ci, token_sha256: hunter2, roles: {nothing: [staging], viewer: []}}
  - {name: ci, jwt_subject: a, roles: {viewer: staging}}
  - {name: "jwt:ann", spiffe_id: healer}
  - {name: nobody}
  - text
""")

    assert {violation.field for violation in caught.value.violations} == {
        "owner",
        "roles.loose[0]",
        "roles.loose[2]",
        "principals[0].name",
        "principals[1].token_sha256",
        "principals[1].roles.nothing",
        "principals[1].roles.viewer",
        "principals[2].name",
        "principals[2]",
        "principals[2].roles.viewer",
        "principals[3].name",
        "principals[3].spiffe_id",
        "principals[4]",
        "principals[5]",
        "principals[5].name",
    }
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a list", "just text", "a: [", "principals: {}", "roles: []"])
def test_what_is_no_policy_at_all_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_policy(text)


@pytest.mark.parametrize("text", ["", "# nothing yet", "principals: []", "roles:"])
def test_an_empty_policy_knows_nobody_but_local(text: str) -> None:
    policy = parse_policy(text)

    assert policy.principal(LOCAL) is not None
    assert not policy.knows_tokens
