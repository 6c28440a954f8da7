"""Rollouts of Argo and Canaries of Flagger."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from fakes.foreign_documents import ARGO_BLUE_GREEN, ARGO_CANARY, FLAGGER_BLUE_GREEN, FLAGGER_CANARY

from opsuite_cli.documents import parse
from opsuite_cli.importing import imported_from
from opsuite_cli.imports.reading import Imported

GATE = {"name": "metrics", "traffic": {"max_error_percent": 1.0, "max_latency": "0.5s", "window": "60s"}}


def changed(text: str, **changes: Any) -> Imported:
    """What becomes of a document, parts of which are replaced by their path with "__" for the dot; None removes."""
    documents = list(yaml.safe_load_all(text))
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = documents[0]["spec"]
        for key in outer:
            place = place[key]
        place.pop(last, None)
        place |= {} if value is None else {last: value}
    return imported_from(yaml.safe_dump_all(documents), environment="production")


def rollout(text: str, **changes: Any) -> dict[str, Any]:
    """The rollout of such a document."""
    pipeline = changed(text, **changes).pipeline
    found: dict[str, Any] = pipeline["spec"]["stages"][0]["steps"][0]["rollout"]
    return found


def refused(text: str) -> set[str]:
    return {one.path for one in imported_from(text, environment="production").refused}


def test_a_template_becomes_the_workload() -> None:
    assert rollout(ARGO_CANARY)["workload"] == {
        "workload": "guestbook",
        "platform": "kubernetes",
        "namespace": "shop",
        "replicas": 5,
        "image": "registry.example:5000/argoproj/guestbook:${version}",
        "command": ["serve", "--price=$${x}"],
        "env": {"MODE": "fast"},
        "ports": [{"name": "web", "number": 8080}, {"name": "port-9100", "number": 9100}],
        "cpus": 0.5,
        "memory_bytes": 256 * 1024 * 1024,
        "grace": "45s",
    }


def test_readiness_is_asked_as_the_kubelet_does_where_nothing_else_is_said() -> None:
    health = rollout(ARGO_CANARY)["health"]

    assert health == {"path": "/ready", "port": "web", "interval": "3s", "timeout": "1s", "failure_threshold": 2}
    assert rollout(FLAGGER_CANARY)["health"] == {
        "port": "http",
        "interval": "10s",
        "timeout": "1s",
        "failure_threshold": 3,
    }


def test_steps_of_a_canary_keep_their_order_and_a_person_judges_what_analysis_would() -> None:
    canary = rollout(ARGO_CANARY)["canary"]

    assert canary == {
        "steps": [
            {"set_weight": 50},
            {"pause": {"duration": "3600s"}},
            {"set_replicas": 3},
            {"pause": {}},  # the analysis
            {"set_weight": 400},
            {"pause": {}},
            {"pause": {}},  # the background analysis
        ],
        "dynamic_stable_scale": True,
        "max_surge": "20%",
        "max_unavailable": "1",
        "scale_down_delay": "60s",
        "abort_scale_down_delay": "15s",
        "max_weight": 1000,
    }


def test_only_the_route_of_the_gateway_api_is_kept() -> None:
    istio = {"istio": {"virtualService": {"name": "x"}}}

    assert rollout(ARGO_CANARY)["traffic"] == {"http_route": {"name": "guestbook"}}
    assert "traffic" not in rollout(ARGO_CANARY, strategy__canary__trafficRouting=istio)


def test_a_canary_without_steps_and_router_is_rolling() -> None:
    found = rollout(ARGO_CANARY, strategy={"canary": {"maxSurge": 2, "maxUnavailable": 0}})

    assert found["rolling"] == {"max_surge": "2", "max_unavailable": "0"}


def test_times_of_a_rollout_are_kept() -> None:
    found = rollout(ARGO_CANARY)

    times = (found["min_healthy_time"], found["healthy_deadline"], found["progress_deadline"])
    assert times == ("20s", "299s", "300s")


def test_a_time_to_be_ready_that_is_not_shorter_than_the_deadline_is_refused() -> None:
    found = rollout(ARGO_CANARY, minReadySeconds=300)

    assert found["min_healthy_time"] == "0s"


def test_blue_green_switches_the_active_service_of_the_deployment_that_is_named() -> None:
    found = rollout(ARGO_BLUE_GREEN)

    assert found["workload"]["image"] == "checkout:${version}"
    assert found["traffic"] == {"service": {"name": "checkout"}}
    assert found["blue_green"] == {
        "auto_promotion_enabled": True,
        "auto_promotion_after": "30s",
        "preview_replicas": 1,
        "scale_down_delay": "90s",
    }


@pytest.mark.parametrize(
    ("fields", "is_automatic"),
    [
        ({}, True),
        ({"autoPromotionEnabled": False}, False),
        ({"autoPromotionEnabled": False, "autoPromotionSeconds": 5}, True),
        ({"prePromotionAnalysis": {"templates": []}}, False),
        ({"prePromotionAnalysis": {"templates": []}, "autoPromotionSeconds": 5}, False),
    ],
)
def test_a_person_promotes_where_one_does_there_or_where_analysis_would(
    fields: dict[str, Any], *, is_automatic: bool
) -> None:
    found = rollout(ARGO_BLUE_GREEN, strategy={"blueGreen": {"activeService": "checkout", **fields}})

    assert found["blue_green"]["auto_promotion_enabled"] is is_automatic


def test_other_documents_of_a_file_are_named() -> None:
    assert "Service/checkout" in refused(ARGO_BLUE_GREEN)


def test_weights_grow_until_the_greatest_is_reached_and_metrics_are_looked_at_after_each() -> None:
    known = [
        {"name": "request-success-rate", "thresholdRange": {"min": 99}},
        {"name": "request-duration", "thresholdRange": {"max": 500}},
    ]

    steps = rollout(FLAGGER_CANARY, analysis__metrics=known, analysis__webhooks=None)["canary"]["steps"]

    weights = [{"set_weight": 20}, {"set_weight": 40}, {"set_weight": 60}]
    assert steps == [step for weight in weights for step in (weight, {"gate": GATE})]


def test_a_person_judges_what_is_not_imported_after_each_weight() -> None:
    steps = rollout(FLAGGER_CANARY, analysis__maxWeight=20)["canary"]["steps"]

    assert steps == [{"set_weight": 20}, {"gate": GATE}, {"pause": {}}]


def test_without_a_router_nobody_counts_requests_and_a_person_promotes_each_weight() -> None:
    found = rollout(FLAGGER_CANARY, provider="istio", analysis__maxWeight=20, analysis__webhooks=None)

    assert "traffic" not in found
    assert found["canary"]["steps"] == [{"set_weight": 20}, {"pause": {}}]


def test_listed_weights_are_taken_as_they_are_and_without_metrics_time_passes() -> None:
    analysis = {"interval": "10s", "threshold": 1, "stepWeights": [1, 50]}

    steps = rollout(FLAGGER_CANARY, analysis=analysis)["canary"]["steps"]

    assert steps == [
        {"set_weight": 1},
        {"pause": {"duration": "10s"}},
        {"set_weight": 50},
        {"pause": {"duration": "10s"}},
    ]


def test_intervals_are_never_shorter_than_ten_seconds() -> None:
    analysis = {"interval": "1s", "threshold": 1, "stepWeights": [50]}

    assert rollout(FLAGGER_CANARY, analysis=analysis)["canary"]["steps"][1] == {"pause": {"duration": "10s"}}


def test_testers_are_picked_out_by_a_header_or_a_cookie() -> None:
    traffic = rollout(FLAGGER_CANARY)["traffic"]

    assert traffic == {
        "http_route": {"name": "podinfo"},
        "matches": [{"header": "x-canary", "value": "insider"}, {"cookie": "canary", "value": "always"}],
        "mirror_percent": 10,
    }


def test_the_port_that_gets_the_requests_is_the_first() -> None:
    assert [port["name"] for port in rollout(FLAGGER_CANARY)["workload"]["ports"]] == ["http", "metrics"]


def test_iterations_are_a_preview_of_that_length() -> None:
    found = rollout(FLAGGER_BLUE_GREEN)

    assert found["blue_green"] == {"auto_promotion_enabled": True, "auto_promotion_after": "300s"}


AGAIN = {"attempts": 20, "backoff": "60s", "max_backoff": "60s"}
CALL = {"webhook": {"url": "http://gate.test/approve"}}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("confirm-rollout", [{"name": "ask", "before": "STAGE", "retry": AGAIN, "on_failure": "PAUSE", **CALL}]),
        ("confirm-promotion", [{"name": "ask", "before": "PROMOTION", "retry": AGAIN, "on_failure": "PAUSE", **CALL}]),
        (
            "confirm-traffic-increase",
            [{"name": "ask", "before": "INCREASE", "retry": AGAIN, "on_failure": "PAUSE", **CALL}],
        ),
        ("pre-rollout", [{"name": "ask", "before": "TRAFFIC", **CALL}]),
        (
            "post-rollout",
            [{"name": "ask", "after": "DEPLOYMENT", **CALL}, {"name": "ask-2", "after": "FAILURE", **CALL}],
        ),
        ("rollout", []),
        ("rollback", []),
        ("event", []),
    ],
)
def test_webhooks_become_hooks_and_are_named_since_their_body_differs(
    kind: str, expected: list[dict[str, Any]]
) -> None:
    webhook = {"name": "ask", "type": kind, "url": "http://gate.test/approve"}
    found = changed(FLAGGER_CANARY, analysis__webhooks=[webhook])

    assert found.pipeline["spec"].get("hooks", []) == expected
    named = {one.path for one in found.refused if "webhooks" in one.path}
    assert named == {"spec.analysis.webhooks[0]" + (".type" if expected else "")}
    parse(yaml.safe_dump(dict(found.pipeline)))


def test_what_a_webhook_says_is_kept() -> None:
    webhook = {
        "name": "smoke",
        "type": "pre-rollout",
        "url": "http://tests.test/",
        "timeout": "30s",
        "retries": 2,
        "metadata": {"cmd": "test ${x}", "count": 3},
    }
    (hook,) = changed(FLAGGER_BLUE_GREEN, analysis__webhooks=[webhook]).pipeline["spec"]["hooks"]

    assert hook == {
        "name": "smoke",
        "before": "PROMOTION",
        "timeout": "30s",
        "retry": {"attempts": 3},
        "webhook": {"url": "http://tests.test/", "metadata": {"cmd": "test $${x}", "count": "3"}},
    }


def test_without_a_router_nobody_is_asked_before_each_share() -> None:
    kinds = ("confirm-traffic-increase", "pre-rollout", "confirm-promotion")
    webhooks = [{"name": kind, "type": kind, "url": "http://gate.test/"} for kind in kinds]
    found = changed(FLAGGER_CANARY, provider="istio", analysis__webhooks=webhooks)

    assert [hook["name"] for hook in found.pipeline["spec"]["hooks"]] == ["confirm-promotion"]
    assert {"spec.analysis.webhooks[0]", "spec.analysis.webhooks[1]"} <= {one.path for one in found.refused}


def test_without_its_deployment_what_a_canary_runs_is_refused() -> None:
    assert "spec.targetRef.name" in refused(FLAGGER_BLUE_GREEN)


def test_a_canary_without_analysis_is_rolling() -> None:
    assert rollout(FLAGGER_CANARY, skipAnalysis=True)["rolling"] == {}
