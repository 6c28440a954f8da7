"""`behavior` of HPA v2, which ScaledObjects hold too, as that of a policy and back. Pure."""

from __future__ import annotations

from typing import Any, Final

from opsuite_cli.imports.reading import Node
from opsuite_cli.scaling_documents.quantities import number_of, plain, quantity_of

SELECTS: Final = {"Max": "SELECT_POLICY_MAX", "Min": "SELECT_POLICY_MIN", "Disabled": "SELECT_POLICY_DISABLED"}
KINDS: Final = {"Pods": "RATE_KIND_PODS", "Percent": "RATE_KIND_PERCENT"}
_SELECTS_BACK: Final = {ours: theirs for theirs, ours in SELECTS.items()}
_KINDS_BACK: Final = {ours: theirs for theirs, ours in KINDS.items()}
LONGEST_WINDOW, LONGEST_PERIOD = 3600, 1800


def behavior_from(node: Node) -> dict[str, Any]:
    """The behaviour of a policy; empty where the document has none."""
    if not node:
        return {}
    return {ours: _rules(node[theirs]) for theirs, ours in DIRECTIONS.items() if node[theirs]}


DIRECTIONS: Final = {"scaleUp": "scale_up", "scaleDown": "scale_down"}


def _rules(node: Node) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if window := node["stabilizationWindowSeconds"]:
        rules["stabilization_window"] = f"{window.number(0, 0, LONGEST_WINDOW)}s"
    if select := node["selectPolicy"]:
        rules["select_policy"] = choice(select, SELECTS)
    policies = [_policy(one) for one in node["policies"]]
    rules["policies"] = [one for one in policies if one]
    if tolerance := node["tolerance"]:
        share = number_of(tolerance.value)
        if share is None or not 0 <= share <= 10:
            tolerance.refuse("is no share from 0 to 10")
        else:
            tolerance.take()
            rules["tolerance"] = plain(share)
    return {key: value for key, value in rules.items() if value not in (None, [])}


def _policy(node: Node) -> dict[str, Any] | None:
    kind = choice(node["type"], KINDS)
    value = node["value"].number(0, 1, 1_000_000)
    period = node["periodSeconds"].number(0, 1, LONGEST_PERIOD)
    return {"kind": kind, "value": value, "period": f"{period}s"} if kind and value and period else None


def choice(node: Node, words: dict[str, str]) -> str | None:
    """What a word means; any other is refused."""
    if node.value not in words:
        node.refuse(f"is none of {', '.join(words)}")
        return None
    return words[str(node.take())]


# --- back ------------------------------------------------------------------------------------------------------------


def behavior_back(node: Node) -> dict[str, Any]:
    """The same for Kubernetes."""
    return {theirs: _rules_back(node[ours]) for theirs, ours in DIRECTIONS.items() if node[ours]}


def _rules_back(node: Node) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if window := node["stabilization_window"]:
        rules["stabilizationWindowSeconds"] = whole_seconds(window)
    if select := node["select_policy"]:
        rules["selectPolicy"] = choice(select, _SELECTS_BACK)
    rules["policies"] = [
        {
            "type": choice(one["kind"], _KINDS_BACK),
            "value": one["value"].take(),
            "periodSeconds": whole_seconds(one["period"]),
        }
        for one in node["policies"]
    ]
    if tolerance := node["tolerance"]:
        rules["tolerance"] = quantity_of(float(tolerance.take()))
    return {key: value for key, value in rules.items() if value not in (None, [])}


def whole_seconds(node: Node) -> int | None:
    """A duration in whole seconds; one that has parts of them is refused, and None where there is none."""
    if not node:
        return None
    seconds = float(str(node.value).removesuffix("s"))
    if seconds != int(seconds):
        node.refuse("is told in whole seconds there")
        return None
    node.take()
    return int(seconds)
