"""Requests about remediation that are wrong, in the JSON form of the contract: for each RPC what is refused, and how.

There are the policies "web", which suggests, and "watch", which observes; a remediation that waits for approval, one
that is over, and an incident that is resolved. A request id was used for the policy "web".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fakes.bad_scaling_requests import ABORTED, LONG, MISSING, PAST, REFUSED, Row, bad

ASKED: Final = "{ASKED}"
OVER: Final = "{OVER}"
OPEN: Final = "{OPEN}"
RESOLVED: Final = "{RESOLVED}"
"""These stand for names that the server gave."""
USED: Final = "1f0e8d6c-0000-4000-8000-00000000000a"
NOBODY: Final = "remediations/00000000000000000000000000"
TARGET: Final[Mapping[str, Any]] = {"platform": "process", "workload": "web", "replica": "web-9"}
NOTHING_TO_REFUSE: Final = frozenset({"GetHealer", "ListActions"})
"""RPCs whose requests say nothing."""


def policy(**fields: Any) -> dict[str, Any]:
    """A policy that is right but for these fields."""
    form: dict[str, Any] = {"name": "healingPolicies/other", "steps": [{"action": "RESTART_SERVICE"}]}
    return {name: value for name, value in (form | fields).items() if value is not None}


def with_step(**fields: Any) -> dict[str, Any]:
    """The same with such a step."""
    return {"policy": policy(steps=[{"action": "RESTART_SERVICE"} | fields])}


def gone(form: Mapping[str, Any]) -> Row:
    """What it names does not exist."""
    return Row("it does not exist", form, MISSING, "NOT_FOUND")


def named(nobody: Mapping[str, Any]) -> list[Row]:
    """What every request that names one remediation is refused for."""
    return [
        bad("no name", {}, "name"),
        bad("a name of another kind", {"name": "incidents/1"}, "name"),
        bad("a name that is too short", {"name": "remediations/abc"}, "name"),
        gone(nobody),
    ]


def about_a_policy(kind: str) -> list[Row]:
    """What every request that brings a policy is refused for."""
    step = "policy.steps[0]"
    return [
        bad(f"{kind}: no policy", {}, "policy"),
        bad(f"{kind}: nothing in it", {"policy": {}}, "policy.name", "policy.steps"),
        bad(f"{kind}: a name with capitals", {"policy": policy(name="healingPolicies/Web")}, "policy.name"),
        bad(f"{kind}: no steps", {"policy": policy(steps=[])}, "policy.steps"),
        bad(f"{kind}: an action in lower case", with_step(action="restart"), f"{step}.action"),
        bad(f"{kind}: a mode of the future", {"policy": policy(mode=99)}, "policy.mode"),
        bad(f"{kind}: a condition of the future", with_step(when=99), f"{step}.when"),
        bad(f"{kind}: a risk of the future", {"policy": policy(approval={"fromRisk": 9})}, "policy.approval.from_risk"),
        bad(
            f"{kind}: a severity of the future",
            {"policy": policy(match={"minSeverity": 9})},
            "policy.match.min_severity",
        ),
        bad(f"{kind}: a negative number of tries", with_step(retries=-1), f"{step}.retries"),
        bad(f"{kind}: no time at all", with_step(timeout="0s"), f"{step}.timeout"),
        bad(f"{kind}: a factor that shrinks", with_step(backoff={"factor": 0.5}), f"{step}.backoff.factor"),
        bad(f"{kind}: much jitter", with_step(backoff={"jitter": 2}), f"{step}.backoff.jitter"),
        bad(
            f"{kind}: two kinds of fleet gates",
            {"policy": policy(fleetGate={"minHealthyPercent": 50, "maxUnhealthy": 2})},
            "policy.fleet_gate.max_unhealthy",
        ),
        bad(
            f"{kind}: more than all healthy",
            {"policy": policy(fleetGate={"minHealthyPercent": 101})},
            "policy.fleet_gate.min_healthy_percent",
        ),
        bad(f"{kind}: a receiver of another kind", {"policy": policy(receivers=["ada"])}, "policy.receivers[0]"),
        bad(
            f"{kind}: a label without a name",
            {"policy": policy(match={"labels": {"": "a"}})},
            'policy.match.labels[""]',
        ),
        bad(
            f"{kind}: windows the wrong way round, a pause too long, an action that there is not, all at once",
            {
                "policy": policy(
                    circuit={"window": "7200s", "longWindow": "3600s", "coolDown": "60s", "maxCoolDown": "1s"},
                    steps=[
                        {"action": "UNHEARD_OF"},
                        {"action": "RESTART_SERVICE", "params": {"wrong": "1"}},
                        {"action": "RESTART_SERVICE", "backoff": {"first": "60s", "longest": "1s"}},
                    ],
                )
            },
            "policy.circuit.window",
            "policy.circuit.cool_down",
            "policy.steps[0].kind",
            "policy.steps[1].params",
            "policy.steps[2].backoff.first",
            reason="POLICY_INVALID",
        ),
    ]


def existing(rows: Sequence[Row]) -> list[Row]:
    """The same rows about the policy that there is."""
    return [
        Row(row.why, _renamed(row.form), row.code, row.reason, row.fields)
        for row in rows
        if "policy.name" not in row.fields
    ]


def _renamed(form: Mapping[str, Any]) -> Mapping[str, Any]:
    if "policy" not in form:
        return form
    return {**form, "policy": {**form["policy"], "name": "healingPolicies/web"}}


def pages(*more: Row) -> list[Row]:
    """What every request for a page is refused for."""
    return [
        bad("a negative size", {"pageSize": -1}, "page_size"),
        bad("a token that is none", {"pageToken": "abc"}, "page_token"),
        bad("a token that is too long", {"pageToken": LONG}, "page_token"),
        *more,
    ]


FILTERS: Final = (
    bad("a filter that is none", {"filter": "state ="}, "filter"),
    bad("a field that there is not", {"filter": "colour = 1"}, "filter"),
)
STALE: Final = Row("an etag of the past", {"name": ASKED, "etag": "77"}, ABORTED, "ETAG_MISMATCH")


def answers(verb: str) -> list[Row]:
    """What an approval and a rejection are refused for."""
    return [
        *named({"name": NOBODY}),
        bad("no id", {"name": ASKED, "requestId": "me"}, "request_id"),
        bad("a negative step", {"name": ASKED, "step": -1}, "step"),
        bad("a reason that is too long", {"name": ASKED, "reason": LONG}, "reason"),
        Row("another step is proposed", {"name": ASKED, "step": 1}, REFUSED, "OTHER_STEP"),
        Row(f"nothing to {verb}", {"name": OVER}, REFUSED, "NOT_AWAITING_APPROVAL"),
        STALE,
    ]


HEALING_TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateHealingPolicy": [
        *about_a_policy("create"),
        bad("no id", {"requestId": "me", "policy": policy()}, "request_id"),
        Row("a name that is taken", {"policy": policy(name="healingPolicies/web")}, REFUSED, "POLICY_EXISTS"),
        bad("an id that was used", {"requestId": USED, "policy": policy()}, "request_id", reason="REQUEST_ID_REUSED"),
    ],
    "GetHealingPolicy": [
        bad("no name", {}, "name"),
        bad("a name of another kind", {"name": "pipelines/web"}, "name"),
        gone({"name": "healingPolicies/nobody"}),
    ],
    "ListHealingPolicies": pages(),
    "UpdateHealingPolicy": [
        *existing(about_a_policy("update")),
        bad("a field that there is not", {"policy": policy(), "updateMask": "colour"}, "update_mask"),
        bad("a field that stays", {"policy": policy(), "updateMask": "name"}, "update_mask"),
        gone({"policy": policy(name="healingPolicies/nobody")}),
        Row(
            "an etag of the past",
            {"policy": policy(name="healingPolicies/web", etag="77")},
            ABORTED,
            "ETAG_MISMATCH",
        ),
    ],
    "DeleteHealingPolicy": [
        bad("no name", {}, "name"),
        bad("no id", {"requestId": "me", "name": "healingPolicies/web"}, "request_id"),
        gone({"name": "healingPolicies/nobody"}),
        Row("an etag of the past", {"name": "healingPolicies/web", "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
    ],
    "EvaluateIssue": [
        bad("nothing", {}, "issue"),
        bad("both", {"incident": OPEN, "issue": "UNHEALTHY"}, "issue"),
        bad("an incident and a target", {"incident": OPEN, "target": TARGET}, "issue"),
        bad("a target without a name", {"issue": "A", "target": {"platform": "process"}}, "target.workload"),
        bad("an unknown platform", {"issue": "A", "target": {"platform": "vax", "workload": "a"}}, "target.platform"),
        bad("a severity of the future", {"issue": "A", "severity": 9}, "severity"),
        bad("a policy of another kind", {"issue": "A", "policy": "pipelines/a"}, "policy"),
        gone({"incident": "incidents/nobody"}),
        gone({"issue": "A", "policy": "healingPolicies/nobody"}),
    ],
    "Heal": [
        bad("nothing", {}, "target"),
        bad("both", {"incident": OPEN, "target": TARGET}, "target"),
        bad("no id", {"requestId": "me", "incident": OPEN}, "request_id"),
        bad("a target without a name", {"target": {}}, "target.workload"),
        bad("an incident of another kind", {"incident": "alerts/1"}, "incident"),
        gone({"incident": "incidents/nobody"}),
        gone({"target": TARGET, "policy": "healingPolicies/nobody"}),
        Row("no policy covers it", {"target": TARGET, "issue": "UNHEARD_OF"}, REFUSED, "NO_POLICY"),
        Row("it is over", {"incident": RESOLVED}, REFUSED, "INCIDENT_OVER"),
        Row("it is being mended", {"incident": OPEN}, REFUSED, "REMEDIATION_UNDER_WAY"),
        Row(
            "its target is being mended",
            {"target": {**TARGET, "replica": "web-0"}, "policy": "healingPolicies/web"},
            REFUSED,
            "REMEDIATION_UNDER_WAY",
        ),
    ],
    "GetRemediation": named({"name": NOBODY}),
    "ListRemediations": pages(*FILTERS),
    "WatchRemediations": [
        *named({"name": NOBODY}),
        bad("a token that is none", {"name": "remediations/-", "resumeToken": "abc"}, "resume_token"),
        bad("a heart that races", {"name": "remediations/-", "heartbeat": "0.1s"}, "heartbeat"),
    ],
    "CancelRemediation": [
        *named({"name": NOBODY}),
        bad("no id", {"name": ASKED, "requestId": "me"}, "request_id"),
        bad("a reason that is too long", {"name": ASKED, "reason": LONG}, "reason"),
        Row("it is over", {"name": OVER}, REFUSED, "REMEDIATION_OVER"),
        STALE,
    ],
    "ApproveRemediation": answers("approve"),
    "RejectRemediation": answers("reject"),
    "ListCircuits": pages(
        bad("a filter that is none", {"filter": "action ="}, "filter"),
        bad("a field that there is not", {"filter": "colour = 1"}, "filter"),
    ),
    "ResetCircuit": [
        bad("nothing", {}, "target", "action"),
        bad("an action in lower case", {"target": TARGET, "action": "restart"}, "action"),
        bad("no id", {"requestId": "me", "target": TARGET, "action": "RESTART_SERVICE"}, "request_id"),
        gone({"target": TARGET, "action": "RESTART_SERVICE"}),
    ],
    "EvaluateCircuit": [
        bad("an event without a time", {"events": [{"kind": 1}]}, "events[0].time"),
        bad("an event without a kind", {"events": [{"time": PAST}]}, "events[0].kind"),
        bad(
            "times that go backwards",
            {"events": [{"time": PAST, "kind": 1}, {"time": "2019-01-01T00:00:00Z", "kind": 1}]},
            "events[1].time",
        ),
        bad(
            "windows the wrong way round",
            {"rules": {"window": "7200s", "longWindow": "3600s"}},
            "rules.window",
        ),
        bad("a window of no time", {"rules": {"window": "0s"}}, "rules.window"),
    ],
    "EvaluateBackoff": [
        bad("no tries", {}, "tries"),
        bad("too many tries", {"tries": 1001}, "tries"),
        bad("a first pause that is too long", {"tries": 1, "backoff": {"first": "400s"}}, "backoff.first"),
        bad("a factor that shrinks", {"tries": 1, "backoff": {"factor": 0.5}}, "backoff.factor"),
    ],
    "EvaluateFleetGate": [
        bad("fewer than none", {"healthy": -1, "unhealthy": -1, "unknown": -1}, "healthy", "unhealthy", "unknown"),
        bad("two kinds", {"gate": {"minHealthyPercent": 1, "maxUnhealthy": 2}}, "gate.max_unhealthy"),
        bad("fewer than one", {"gate": {"maxUnhealthy": 0}}, "gate.max_unhealthy"),
    ],
    "PauseHealer": [
        bad("no reason", {}, "reason"),
        bad("a reason that is too long", {"reason": LONG}, "reason"),
        bad("an end in the past", {"reason": "work", "until": PAST}, "until"),
        Row("an end beyond calendars", {"reason": "work"}, fields=frozenset({"until"}), beyond="until"),
        bad("no id", {"requestId": "me", "reason": "work"}, "request_id"),
    ],
    "ResumeHealer": [
        bad("no id", {"requestId": "me"}, "request_id"),
        bad("a reason that is too long", {"reason": LONG}, "reason"),
    ],
    "GetHealer": [],
    "ListActions": [],
}
