"""Path templates, and what fits them."""

from __future__ import annotations

import pytest

from opsuite_gateway.transcoding.paths import template


@pytest.mark.parametrize(
    ("text", "path", "fields"),
    [
        ("/v1/server", "/v1/server", {}),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/shop", {"name": "pipelines/shop"}),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/shop/", None),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/", None),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/a/b", None),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/shop:deploy", None),
        ("/v1/{name=workloads/*}:restart", "/v1/workloads/shop:restart", {"name": "workloads/shop"}),
        ("/v1/{name=workloads/*}:restart", "/v1/workloads/shop:restarted", None),
        ("/v1/{a}/{b.c}", "/v1/1/2", {"a": "1", "b.c": "2"}),
        ("/v1/{path=**}", "/v1/a/b/c", {"path": "a/b/c"}),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/a%2Fb%20%C3%BC", {"name": "pipelines/a/b ü"}),
        ("/v1/{name=pipelines/*}", "/v1/pipelines/..%2f..%2fetc", {"name": "pipelines/../../etc"}),
        ("/v1/a.b", "/v1/aXb", None),
    ],
)
def test_a_path_fills_the_fields_of_the_template_that_it_fits(
    text: str, path: str, fields: dict[str, str] | None
) -> None:
    assert template(text).match(path) == fields


@pytest.mark.parametrize("text", ["/v1/{", "/v1/{Name}", "/v1/}", "/v1/{a={b}}", "/v1/x:verb/more", ""])
def test_what_is_no_template_is_refused(text: str) -> None:
    if text:
        with pytest.raises(ValueError, match="no path template"):
            template(text)
    else:
        assert template(text).match("/") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/v1/{name=pipelines/*/environments/*}:lock", "/v1/pipelines/{pipeline}/environments/{environment}:lock"),
        ("/v1/{name=scalingPolicies/*}", "/v1/scalingPolicies/{scalingPolicy}"),
        ("/v1/pipelines", "/v1/pipelines"),
        ("/v1/{a}", "/v1/{a}"),
    ],
)
def test_openapi_has_a_parameter_for_each_wildcard(text: str, told: str) -> None:
    assert template(text).openapi == told
