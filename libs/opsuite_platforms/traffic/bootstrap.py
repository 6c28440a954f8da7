"""What an edge is started with: pure functions from where we are to the configuration of Envoy or of a gRPC client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

UNIX: Final = "unix:"
SERVER: Final = "opsuite"
"""Name of the cluster by which Envoy knows us."""
COUNTED: Final = r"cluster\.[^.]+/[^.]+\.(upstream_rq_(completed|5xx|time)|grpc\.[0-9]+)"
"""Statistics that are sent to us: of the clusters of routes, which are called `<route>/<workload>`."""
TYPES: Final = "type.googleapis.com/envoy"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths on the edge's machine."""

    ca: str
    """Certificates that the server's is checked against."""
    certificate: str = ""
    """The edge's own, for mTLS; empty without."""
    key: str = ""


@dataclass(frozen=True, slots=True)
class EdgeBootstrap:
    """How one edge reaches us. Ids have to differ: an edge is known by its id alone."""

    node_id: str
    server: str
    """`host:port`, or `unix:/path`."""
    group: str = "edge"
    """What Envoy calls its cluster, in its own logs and statistics."""
    tls: TlsFiles | None = None
    authorization_file: str = ""
    """File that holds the whole value of the authorization header, `Bearer …` without a line end; empty without."""
    admin_socket: str = ""
    """Path of Envoy's own console; empty without."""
    stats_interval: timedelta = timedelta(seconds=1)


def envoy_bootstrap(edge: EdgeBootstrap) -> dict[str, Any]:
    """Envoy's bootstrap; as JSON or YAML it is what `envoy -c` reads."""
    grpc = {"envoy_grpc": {"cluster_name": SERVER}, "timeout": "0s"}
    over_ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    document: dict[str, Any] = {
        "node": {"id": edge.node_id, "cluster": edge.group},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [grpc],
            },
            "cds_config": over_ads,
            "lds_config": over_ads,
        },
        "static_resources": {"clusters": [_server_cluster(edge)], "secrets": _secrets(edge)},
        "stats_sinks": [_sink()],
        "stats_flush_interval": _duration(edge.stats_interval),
        "stats_config": {"stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": COUNTED}}]}}},
    }
    if edge.admin_socket:
        document["admin"] = {"address": {"pipe": {"path": edge.admin_socket, "mode": 0o600}}}
    return document


def grpc_bootstrap(edge: EdgeBootstrap) -> dict[str, Any]:
    """What a gRPC client reads from GRPC_XDS_BOOTSTRAP_CONFIG (JSON, as it stands) to reach `xds:///<route>`.

    Such a client sends no authorization header: over TCP it is known by its certificate.
    """
    server = {
        "server_uri": edge.server,
        "channel_creds": [_channel_credentials(edge.tls)],
        "server_features": ["xds_v3"],
    }
    return {"xds_servers": [server], "node": {"id": edge.node_id, "cluster": edge.group}}


def as_json(document: dict[str, Any]) -> str:
    """The document as it goes into a file; equal ones are equal texts."""
    return json.dumps(document, indent=2, sort_keys=True)


def _duration(value: timedelta) -> str:
    return f"{value.total_seconds():.3f}s"


def _channel_credentials(tls: TlsFiles | None) -> dict[str, Any]:
    if tls is None:
        return {"type": "insecure"}
    files = {"ca_certificate_file": tls.ca, "certificate_file": tls.certificate, "private_key_file": tls.key}
    return {"type": "tls", "config": {name: path for name, path in files.items() if path}}


def _sink() -> dict[str, Any]:
    return {
        "name": "envoy.stat_sinks.metrics_service",
        "typed_config": {
            "@type": f"{TYPES}.config.metrics.v3.MetricsServiceConfig",
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": SERVER}},
            "emit_tags_as_labels": True,
            # What was counted since the last time: neither side's restart counts anything twice.
            "report_counters_as_deltas": True,
            "histogram_emit_mode": "SUMMARY",
        },
    }


def _server_cluster(edge: EdgeBootstrap) -> dict[str, Any]:
    cluster: dict[str, Any] = {
        "name": SERVER,
        "type": "STATIC" if edge.server.startswith(UNIX) else "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": SERVER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(edge.server)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    # A server that is gone without a word is noticed, and another replica asked.
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
                },
                **_authorization(edge),
            }
        },
    }
    if edge.tls is not None:
        cluster["transport_socket"] = _tls(edge.tls, _host(edge.server))
    return cluster


def _address(server: str) -> dict[str, Any]:
    if server.startswith(UNIX):
        return {"pipe": {"path": server.removeprefix(UNIX)}}
    return {"socket_address": {"address": _host(server), "port_value": int(server.rpartition(":")[2])}}


def _host(server: str) -> str:
    return server.rpartition(":")[0].strip("[]")


def _authorization(edge: EdgeBootstrap) -> dict[str, Any]:
    """Filters on the way to us that put the file's content into each request, so no token stands in the bootstrap."""
    if not edge.authorization_file:
        return {}
    generic = {
        "@type": f"{TYPES}.extensions.http.injected_credentials.generic.v3.Generic",
        "credential": {"name": "authorization"},
    }
    injector = {
        "@type": f"{TYPES}.extensions.filters.http.credential_injector.v3.CredentialInjector",
        "overwrite": True,
        "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
    }
    codec = {"@type": f"{TYPES}.extensions.filters.http.upstream_codec.v3.UpstreamCodec"}
    return {
        "http_filters": [
            {"name": "envoy.filters.http.credential_injector", "typed_config": injector},
            {"name": "envoy.filters.http.upstream_codec", "typed_config": codec},
        ]
    }


def _secrets(edge: EdgeBootstrap) -> list[dict[str, Any]]:
    if not edge.authorization_file:
        return []
    return [{"name": "authorization", "generic_secret": {"secret": {"filename": edge.authorization_file}}}]


def _tls(tls: TlsFiles, host: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "alpn_protocols": ["h2"],
        "validation_context": {"trusted_ca": {"filename": tls.ca}},
    }
    if host:
        names = [{"san_type": kind, "matcher": {"exact": host}} for kind in ("DNS", "IP_ADDRESS")]
        common["validation_context"]["match_typed_subject_alt_names"] = names
    if tls.certificate:
        files = {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
        common["tls_certificates"] = [files]
    context = {"@type": f"{TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context | ({"sni": host} if host else {})}
