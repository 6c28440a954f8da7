"""What a test's ServiceAccount may do, by the Role, and what it did, by the API server's own record."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from kube import Cluster

Right = tuple[str, str, str]
"""Group, resource and verb."""


def rights_used(cluster: Cluster) -> Iterator[Right]:
    """Group, resource and verb of everything that was asked for; applying is a patch that may create."""
    for call in cluster.control_plane.calls_of(f"system:serviceaccount:{cluster.namespace}:opsuite-deployer"):
        thing = call["objectRef"]
        resource = "/".join(filter(None, (thing["resource"], thing.get("subresource"))))
        yield thing.get("apiGroup", ""), resource, call["verb"]
        if call["verb"] == "patch" and call["responseStatus"]["code"] == 201:
            yield thing.get("apiGroup", ""), resource, "create"


def rights_granted(text: str) -> Iterator[Right]:
    (role,) = (each for each in yaml.safe_load_all(text) if each["kind"] == "Role")
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield group, resource, verb
