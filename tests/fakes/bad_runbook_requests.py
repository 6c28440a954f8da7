"""Requests about runbooks that are wrong: for each RPC what is refused, and how.

There is the runbook "fix", which has the parameters "path" (required, has to begin with /) and "other", an execution of
it that waits for the answer to a question in step "ask" ($WAITING), one that is over ($OVER), and a request with the id
USED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import grpc
from fakes.bad_scaling_requests import ABORTED, LONG, MISSING, REFUSED, Row, bad
from fakes.healer_runbooks import step

WAITING: Final = "$WAITING"
OVER: Final = "$OVER"
USED: Final = "7b8d6c1e-52a1-4b55-9a63-0a2f5b7c1d11"
NO_EXECUTION: Final = "runbooks/fix/executions/01hzzzzzzzzzzzzzzzzzzzzzzz"
DENIED: Final = grpc.StatusCode.PERMISSION_DENIED
FIX: Final[Mapping[str, Any]] = {
    "name": "runbooks/fix",
    "issues": ["DISK_FULL"],
    "parameters": [{"name": "path", "required": True, "pattern": "/.*"}, {"name": "other"}],
    "steps": [
        {
            "name": "ask",
            "inquiry": {
                "question": "Sure?",
                "fields": [{"name": "size", "required": True, "choices": ["s", "m"]}],
                "notRequester": False,
            },
        },
        step("clear"),
    ],
}


def runbook(*steps: Any, **fields: Any) -> dict[str, Any]:
    """A runbook that is right but for these."""
    form: dict[str, Any] = {"name": "runbooks/other", "steps": list(steps) or [step("one")]}
    return {name: value for name, value in (form | fields).items() if value is not None}


def gone(form: Mapping[str, Any]) -> Row:
    """What it names does not exist."""
    return Row("it does not exist", form, MISSING, "NOT_FOUND")


def wrong_runbook(why: str, form: Mapping[str, Any], *fields: str) -> tuple[str, Mapping[str, Any], tuple[str, ...]]:
    """A runbook and where it is wrong."""
    return why, form, fields


RUNBOOKS: Final = [
    wrong_runbook("nothing in it", {}, "name", "steps"),
    wrong_runbook("a name of another kind", runbook(name="alerts/x"), "name"),
    wrong_runbook("a step without a name", runbook(step("")), "steps[0].name"),
    wrong_runbook("two steps of one name", runbook(step("a"), step("a")), "steps[1].name"),
    wrong_runbook("a step that does nothing", runbook({"name": "a"}), "steps[0].action"),
    wrong_runbook("an action of no kind", runbook({"name": "a", "action": {}}), "steps[0].action.kind"),
    wrong_runbook("an unknown action", runbook({"name": "a", "action": {"kind": "EXPLODE"}}), "steps[0].action.kind"),
    wrong_runbook(
        "an unknown compensation", runbook(step("a", compensate={"kind": "EXPLODE"})), "steps[0].compensate.kind"
    ),
    wrong_runbook(
        "a compensation of nothing",
        runbook({"name": "a", "inquiry": {"question": "?"}, "compensate": {"kind": "STAGE"}}),
        "steps[0].compensate",
    ),
    wrong_runbook("a goto to nowhere", runbook(step("a", onFailure="ON_FAILURE_GOTO")), "steps[0].goto_step"),
    wrong_runbook("a goto that nothing leads to", runbook(step("a", gotoStep="a")), "steps[0].goto_step"),
    wrong_runbook("a condition that is none", runbook(step("a", when="a &&")), "steps[0].when"),
    wrong_runbook("a condition over unknown names", runbook(step("a", when="secrets.x == '1'")), "steps[0].when"),
    wrong_runbook("a condition without end", runbook(step("a", when="x" * 2049)), "steps[0].when"),
    wrong_runbook("a question about nothing", runbook({"name": "a", "inquiry": {}}), "steps[0].inquiry.question"),
    wrong_runbook(
        "a field whose pattern is none",
        runbook({"name": "a", "inquiry": {"question": "?", "fields": [{"name": "x", "pattern": "("}]}}),
        "steps[0].inquiry.fields[0].pattern",
    ),
    wrong_runbook("too many tries", runbook(step("a", retry={"attempts": 21})), "steps[0].retry.attempts"),
    wrong_runbook(
        "a pause above the longest", runbook(step("a", retry={"delay": "9s", "maxDelay": "1s"})), "steps[0].retry.delay"
    ),
    wrong_runbook("no time at all", runbook(step("a", timeout="0.1s")), "steps[0].timeout"),
    wrong_runbook("too much time", runbook(maxDuration="604801s"), "max_duration"),
    wrong_runbook("a parameter twice", runbook(parameters=[{"name": "x"}, {"name": "x"}]), "parameters[1].name"),
    wrong_runbook(
        "a default that does not fit",
        runbook(parameters=[{"name": "x", "pattern": "[0-9]+", "defaultValue": "a"}]),
        "parameters[0].default_value",
    ),
    *(
        wrong_runbook(
            f"a template that leads nowhere: {text}",
            runbook({"name": "a", "action": {"kind": "STAGE", "params": {"name": text}}}),
            'steps[0].action.params["name"]',
        )
        for text in ("${params.x}", "${env.HOME}", "${steps.b.message}", "${steps.a.nothing}", "${answers.a.x}", "${}")
    ),
    wrong_runbook(
        "many things at once",
        runbook(step("a", timeout="0.1s"), step("B"), maxDuration="0s", issues=[""]),
        "steps[0].timeout",
        "steps[1].name",
        "max_duration",
        "issues[0]",
    ),
]
"""Runbooks that cannot be recorded, and where they are wrong."""


def written(form: Mapping[str, Any]) -> list[Row]:
    """What every request that writes a runbook is refused for; `form` is the rest of it."""
    return [
        bad("no runbook", {**form}, "source"),
        bad("no UUID", {"requestId": "1", "runbook": runbook(), **form}, "request_id"),
        *(
            bad(why, {"runbook": wrong, **form}, *(f"runbook.{field}" for field in fields))
            for why, wrong, fields in RUNBOOKS
        ),
        bad("YAML that is none", {"yaml": "a: [", **form}, "yaml"),
        bad("YAML that is no mapping", {"yaml": "- 1", **form}, "yaml"),
        bad("YAML with an unknown field", {"yaml": "nam: x", **form}, "yaml"),
        bad("YAML that makes an object", {"yaml": "!!python/object/apply:os.getcwd []", **form}, "yaml"),
        bad("YAML that is wrong as a runbook", {"yaml": "name: runbooks/x", **form}, "yaml.steps"),
        bad(
            "YAML that grows beyond bounds",
            {"yaml": "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + bomb(), **form},
            "yaml",
        ),
        bad("YAML of an endless size", {"yaml": "#" * 262145, **form}, "yaml"),
    ]


def bomb() -> str:
    """Aliases upon aliases."""
    names = "abcdefgh"
    return "\n".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(names))


def named(name: str = "", **more: Any) -> list[Row]:
    """What every request that names an execution is refused for."""
    return [
        bad("no name", more, "name"),
        bad("a name of a runbook", {"name": "runbooks/fix"} | more, "name"),
        bad("an id that no execution has", {"name": "runbooks/fix/executions/1"} | more, "name"),
        gone({"name": NO_EXECUTION} | more),
        gone({"name": name or f"runbooks/other/executions/{WAITING}"} | more),
    ]


def steered(reason: str) -> list[Row]:
    """What every request that changes an execution is refused for; `reason` is for one that is over."""
    return [
        *named(),
        bad("no UUID", {"name": f"runbooks/fix/executions/{WAITING}", "requestId": "1"}, "request_id"),
        bad("a reason that never ends", {"name": f"runbooks/fix/executions/{WAITING}", "reason": LONG}, "reason"),
        bad("a reason with a bell", {"name": f"runbooks/fix/executions/{WAITING}", "reason": "\a"}, "reason"),
        bad("no name, and a bad etag", {"etag": LONG}, "name", "etag"),
        Row(
            "an etag of the past",
            {"name": f"runbooks/fix/executions/{WAITING}", "etag": "77"},
            ABORTED,
            "ETAG_MISMATCH",
        ),
        Row("it is over", {"name": f"runbooks/fix/executions/{OVER}"}, REFUSED, reason),
    ]


def paged(**more: Any) -> list[Row]:
    """What every request for a page is refused for."""
    return [
        bad("a negative size", {"pageSize": -1} | more, "page_size"),
        bad("a token of nobody", {"pageToken": "abc"} | more, "page_token"),
        bad("a token that never ends", {"pageToken": LONG} | more, "page_token"),
    ]


_ANSWER: Final = {"name": f"runbooks/fix/executions/{WAITING}", "step": "ask"}

TABLES: Final[Mapping[str, Sequence[Row]]] = {
    "CreateRunbook": [
        *written({}),
        Row("it exists", {"runbook": FIX}, REFUSED, "RUNBOOK_EXISTS"),
        bad("an id that was used", {"requestId": USED, "runbook": runbook()}, "request_id", reason="REQUEST_ID_REUSED"),
    ],
    "UpdateRunbook": [
        *written({}),
        gone({"runbook": runbook()}),
        Row("an etag of the past", {"runbook": {**FIX, "etag": "77"}}, ABORTED, "ETAG_MISMATCH"),
    ],
    "ValidateRunbook": [
        bad("nothing", {}, "source"),
        bad("YAML of an endless size", {"yaml": "#" * 262145}, "yaml"),
    ],
    "GetRunbook": [
        bad("no name", {}, "name"),
        bad("a name of another kind", {"name": "alerts/fix"}, "name"),
        gone({"name": "runbooks/nobody"}),
    ],
    "ListRunbooks": [*paged(), bad("an issue with a bell", {"issue": "\a"}, "issue")],
    "DeleteRunbook": [
        bad("no name, no UUID", {"requestId": "1"}, "name", "request_id"),
        gone({"name": "runbooks/nobody"}),
        Row("an etag of the past", {"name": "runbooks/fix", "etag": "77"}, ABORTED, "ETAG_MISMATCH"),
    ],
    "ExecuteRunbook": [
        bad("no name, no UUID", {"requestId": "1"}, "name", "request_id"),
        gone({"name": "runbooks/nobody"}),
        bad("a parameter is missing", {"name": "runbooks/fix"}, 'params["path"]'),
        bad(
            "a parameter that does not fit, and one too many",
            {"name": "runbooks/fix", "params": {"path": "var", "more": "x"}},
            'params["path"]',
            'params["more"]',
        ),
        bad("a parameter with a bell", {"name": "runbooks/fix", "params": {"path": "\a"}}, 'params["path"]'),
        bad("a target of nothing", {"name": "runbooks/fix", "target": {}}, "target.workload"),
        bad("an incident of another kind", {"name": "runbooks/fix", "incident": "alerts/1"}, "incident"),
        Row(
            "an incident that nobody knows",
            {"name": "runbooks/fix", "params": {"path": "/var"}, "incident": "incidents/1"},
            MISSING,
            "NOT_FOUND",
        ),
    ],
    "GetExecution": named(),
    "ListExecutions": [
        bad("no parent", {}, "parent"),
        bad("a parent of another kind", {"parent": "alerts/-"}, "parent"),
        *paged(parent="runbooks/-"),
        bad("an incident of another kind", {"parent": "runbooks/-", "incident": "alerts/1"}, "incident"),
    ],
    "WatchExecution": [
        *named(),
        bad(
            "a token of nobody",
            {"name": f"runbooks/fix/executions/{WAITING}", "resumeToken": "abc"},
            "resume_token",
        ),
        bad("no pause", {"name": f"runbooks/fix/executions/{WAITING}", "heartbeat": "0.01s"}, "heartbeat"),
    ],
    "PauseExecution": steered("EXECUTION_OVER"),
    "ResumeExecution": [
        *steered("EXECUTION_NOT_PAUSED"),
        Row("it goes on", {"name": f"runbooks/fix/executions/{WAITING}"}, REFUSED, "EXECUTION_NOT_PAUSED"),
    ],
    "CancelExecution": steered("EXECUTION_OVER"),
    "RespondInquiry": [
        *named(step="ask"),
        bad("no step, no UUID", {"name": _ANSWER["name"], "requestId": "1"}, "step", "request_id"),
        Row("another step", {**_ANSWER, "step": "clear", "approved": True}, REFUSED, "NO_INQUIRY"),
        Row("it is over", {**_ANSWER, "name": f"runbooks/fix/executions/{OVER}"}, REFUSED, "NO_INQUIRY"),
        bad("nothing is told", {**_ANSWER, "approved": True}, 'answers["size"]'),
        bad(
            "wrong things are told",
            {**_ANSWER, "approved": True, "answers": {"size": "xl", "more": "x"}},
            'answers["size"]',
            'answers["more"]',
        ),
        bad("a comment that never ends", {**_ANSWER, "comment": LONG}, "comment"),
    ],
}
