"""What a scrape tells."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from opsuite_telemetry.metrics import RpcMetrics, new_registry, render

LABELS = {"service": "things.v1.ThingService", "method": "Get"}


def test_calls_are_counted_by_code_and_timed() -> None:
    registry = new_registry()
    method = RpcMetrics(registry).of(LABELS["service"], LABELS["method"])

    for code in ("OK", "OK", "NOT_FOUND"):
        method.ended(method.began(), code)

    calls = {
        code: registry.get_sample_value("bitcraps_rpc_requests_total", {**LABELS, "code": code})
        for code in ("OK", "NOT_FOUND")
    }
    assert calls == {"OK": 2, "NOT_FOUND": 1}
    assert registry.get_sample_value("bitcraps_rpc_duration_seconds_count", LABELS) == 3
    assert registry.get_sample_value("bitcraps_rpc_in_flight", LABELS) == 0


def test_calls_in_work_are_told() -> None:
    registry = new_registry()
    method = RpcMetrics(registry).of(LABELS["service"], LABELS["method"])

    method.began()

    assert registry.get_sample_value("bitcraps_rpc_in_flight", LABELS) == 1


def test_streams_are_counted_and_not_timed() -> None:
    registry = new_registry()
    method = RpcMetrics(registry).of(LABELS["service"], LABELS["method"], timed=False)

    method.ended(method.began(), "OK")

    assert registry.get_sample_value("bitcraps_rpc_requests_total", {**LABELS, "code": "OK"}) == 1
    assert registry.get_sample_value("bitcraps_rpc_duration_seconds_count", LABELS) is None


def test_the_namespace_is_a_setting() -> None:
    registry = new_registry()
    RpcMetrics(registry, "fleet").of("s", "m").began()

    assert registry.get_sample_value("fleet_rpc_in_flight", {"service": "s", "method": "m"}) == 1


def test_the_page_reads_as_prometheus_text_and_tells_of_the_process() -> None:
    registry = new_registry()
    RpcMetrics(registry)

    body, content_type = render(registry)

    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert content_type.startswith("text/plain; version=")
    assert {"process_resident_memory_bytes", "python_gc_collections", "python_info", "bitcraps_rpc_in_flight"} <= names


def test_two_services_in_one_process_have_registries_of_their_own() -> None:
    RpcMetrics(new_registry())
    RpcMetrics(new_registry())
