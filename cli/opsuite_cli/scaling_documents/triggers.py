"""Triggers of ScaledObjects (KEDA 2.20) as metrics. Pure.

Addresses and credentials are no part of a policy: they belong to the metric source, which a policy names. It is called
like the trigger's type unless the caller says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opsuite_cli.imports.reading import Node
from opsuite_cli.scaling_documents.cron_windows import window_of
from opsuite_cli.scaling_documents.hpa import resource_metric
from opsuite_cli.scaling_documents.naming import IS_NAME, metric_name
from opsuite_cli.scaling_documents.quantities import number_of, plain

ADDRESS: Final = "belongs to the metric source: configure it there"
CREDENTIALS: Final = "credentials belong to the metric source: configure it there"
UNKNOWN_TYPE: Final = "is no trigger that a metric source here answers"
ADDRESSES: Final = (
    "serverAddress", "address", "addresses", "host", "hosts", "port", "ports", "hostFromEnv", "addressFromEnv",
    "connection", "connectionFromEnv", "userName", "username", "password", "passwordFromEnv", "usernameFromEnv",
    "dbName", "sslmode", "databaseIndex", "enableTLS", "unsafeSsl", "vhostName", "protocol", "authModes", "namespace",
    "customHeaders", "timeout", "queryParameters",
)  # fmt: skip
TARGET_TYPES: Final = {
    "AverageValue": "TARGET_TYPE_AVERAGE_VALUE",
    "Value": "TARGET_TYPE_VALUE",
    None: "TARGET_TYPE_AVERAGE_VALUE",
}


@dataclass(slots=True)
class Found:
    """What the triggers of a ScaledObject come to."""

    sources: Mapping[str, str] = field(default_factory=dict)
    """Metric source by type of trigger, where it is not called like it."""
    external_target: float | None = None
    """Value that is wanted of external scalers: there a server names it, here the policy does."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    overlays: list[dict[str, Any]] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Names of metrics that are taken."""
        return [one["name"] for one in self.metrics]


def read_trigger(node: Node, found: Found) -> None:
    """Add what a trigger comes to."""
    kind = node["type"].value
    reader = READERS.get(str(kind))
    if reader is None:
        node.refuse(UNKNOWN_TYPE)
        return
    node["authenticationRef"].refuse(CREDENTIALS)
    node["useCachedMetrics"].ignore("each metric is asked once for each look")
    reader(node, found)


def _resource(node: Node, found: Found) -> None:
    """CPU and memory: KEDA hands them to HPA."""
    kind, metadata = node["type"], node["metadata"]
    word = node["metricType"].value or metadata["type"].value or "Utilization"
    container = metadata["containerName"].text()
    is_percent = word == "Utilization"
    value: Any = metadata["value"].value
    target = {
        "type": word,
        "averageUtilization" if is_percent else "averageValue": _whole(value) if is_percent else value,
    }
    metric = resource_metric(_stand_in(node, kind.value), _stand_in(node, target), container, found.names)
    if metric is None:
        metadata["value"].refuse("is no wanted value")
        return
    for one in (kind, node["metricType"], metadata["type"], metadata["value"]):
        one.take()
    _add(node, metric, found)


def _stand_in(node: Node, value: Any) -> Node:
    """A field that is spelt otherwise, with a document of its own: what becomes of it is said by the caller."""
    from opsuite_cli.imports.reading import Reading

    return Node(Reading(value), (), value)


def _asked(query: Callable[[Node], str], target: str, activation: str) -> Callable[[Node, Found], None]:
    """A trigger that asks a source: how its query is made, and which of its metadata say how much is wanted."""

    def read(node: Node, found: Found) -> None:
        metadata, kind = node["metadata"], str(node["type"].value)
        asked = query(metadata)
        wanted = number_of(metadata[target].value)
        if not asked or wanted is None or wanted <= 0 or node["metricType"].value not in TARGET_TYPES:
            node.refuse(f"has no query, or no {target} above 0, or a metricType that is none of AverageValue and Value")
            return
        metadata[target].take()
        node["type"].take()
        source = {"source": found.sources.get(kind, SOURCES.get(kind, kind)), "query": asked}
        custom = {
            "target": plain(wanted),
            "target_type": TARGET_TYPES[node["metricType"].take()],
            "source": source,
        }
        metadata["ignoreNullValues"].unless(
            ("false", False), "what is missing is never taken for 0", "what is missing is never taken for 0"
        )
        _refuse_addresses(metadata)
        _add(node, {"name": metric_name(kind, found.names), "custom": custom} | _active(metadata[activation]), found)

    return read


def _active(node: Node) -> dict[str, Any]:
    """The value above which a target at zero starts."""
    above = number_of(node.value)
    if above is None or above < 0:
        node.refuse("is no number from 0 on")
        return {}
    node.take()
    return {"activation": plain(above)} if above else {}


def _refuse_addresses(metadata: Node) -> None:
    for name in ADDRESSES:
        metadata[name].refuse(ADDRESS)


def _external(node: Node, found: Found) -> None:
    """A server of KEDA's own contract: asked as it is."""
    metadata = node["metadata"]
    if found.external_target is None:
        node.refuse("the server names the wanted value by itself, and a policy has to: give one for external scalers")
        return
    node["metricType"].unless(("AverageValue",), "a server's value is compared as an average", "is how it is compared")
    if node["type"].value == "external-push":
        node["type"].refuse("the server is asked at every look, rather than telling by itself")
    else:
        node["type"].take()
    metadata["unsafeSsl"].refuse("certificates are always verified")
    for name in ("caCert", "tlsClientCert", "tlsClientKey"):
        metadata[name].refuse(CREDENTIALS)
    told = {key: metadata[key].text() for key in metadata.names() if key not in ("scalerAddress", "enableTLS")}
    scaler = {
        "address": metadata["scalerAddress"].text(),
        "tls": str(metadata["enableTLS"].take("false")).lower() == "true",
        "metadata": told,
    }
    external = {key: value for key, value in scaler.items() if value}
    custom = {"target": plain(found.external_target), "external_scaler": external}
    _add(node, {"name": metric_name("external", found.names), "custom": custom}, found)


def _cron(node: Node, found: Found) -> None:
    """A schedule raises the floor for a time."""
    metadata = node["metadata"]
    window = window_of(str(metadata["start"].value), str(metadata["end"].value))
    replicas = str(metadata["desiredReplicas"].value)
    if window is None or not replicas.isdecimal() or node["name"]:
        node.refuse("is no time of one length on the days that it begins, or has a name that a formula may use")
        return
    for one in (node["type"], node["metricType"], *(metadata[key] for key in ("start", "end", "desiredReplicas"))):
        one.take()
    found.overlays.append(
        {
            "name": f"cron-{len(found.overlays) + 1}",
            "cron": window[0],
            "duration": f"{window[1] * 60}s",
            "time_zone": metadata["timezone"].text("UTC"),
            "min_replicas": int(replicas),
        }
    )


def _add(node: Node, metric: dict[str, Any], found: Found) -> None:
    """Keep a metric under the name that its trigger has, if it has one that may be used."""
    wanted = node["name"].value
    if node["name"] and isinstance(wanted, str) and IS_NAME(wanted) and wanted not in found.names:
        metric["name"] = node["name"].take()
    else:
        node["name"].refuse("is no name of letters, digits and underscores that no other metric has")
    found.metrics.append(metric)


def _redis_list(metadata: Node) -> str:
    return f"LLEN {_word(metadata['listName'])}"


def _redis_stream(metadata: Node) -> str:
    stream = _word(metadata["stream"])
    if metadata["consumerGroup"]:
        verb = "XLAG" if metadata["lagCount"] else "XPENDING"
        return f"{verb} {stream} {_word(metadata['consumerGroup'])}"
    return f"XLEN {stream}"


def _word(node: Node) -> str:
    import shlex

    return shlex.quote(node.text())


def _stream_target(node: Node, found: Found) -> None:
    metadata = node["metadata"]
    field = next(
        (name for name in ("lagCount", "pendingEntriesCount", "streamLength") if metadata[name]), "streamLength"
    )
    activation = "activationLagCount" if field == "lagCount" else "activationValue"
    _asked(_redis_stream, field, activation)(node, found)


def _rabbitmq(metadata: Node) -> str:
    if metadata["mode"].value not in (None, "QueueLength"):
        return ""  # a rate is not asked for
    metadata["mode"].take()
    return metadata["queueName"].text()


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


SOURCES: Final = {"redis-streams": "redis"}
READERS: Final[Mapping[str, Callable[[Node, Found], None]]] = {
    "cpu": _resource,
    "memory": _resource,
    "prometheus": _asked(lambda metadata: metadata["query"].text(), "threshold", "activationThreshold"),
    "redis": _asked(_redis_list, "listLength", "activationListLength"),
    "redis-streams": _stream_target,
    "rabbitmq": _asked(_rabbitmq, "value", "activationValue"),
    "postgresql": _asked(lambda metadata: metadata["query"].text(), "targetQueryValue", "activationTargetQueryValue"),
    "external": _external,
    "external-push": _external,
    "cron": _cron,
}
