"""`deploy.yml` of Kamal as a pipeline. Pure.

Each role becomes a rollout of containers on the Docker Engine, the primary role first, since no other may start before
it is healthy. Kamal replaces the container of each host while its proxy holds the requests; that is a rolling rollout
with as many replicas as the role has hosts. Which machines these are belongs into the deployer's settings.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from opsuite_cli.imports.pods import quantity
from opsuite_cli.imports.reading import (
    Imported,
    Node,
    Reading,
    document,
    filled,
    leaves,
    parsed_duration,
    plain,
    seconds,
    versioned,
)
from opsuite_cli.init import label

PRIMARY_ROLE: Final = "web"
HTTP_PORT: Final = 80
SHELL: Final = re.compile(r"[;&|<>$`*?\n]|\$\(").search
MEMORY: Final = re.compile(r"(\d+(?:\.\d+)?)([bkmg]?)", re.IGNORECASE).fullmatch
BYTES: Final = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}

HOSTS: Final = "where workloads run is a setting of the deployer, not a part of a pipeline"
SECRETS: Final = "a workload's environment holds plain values: let the program read secrets from where they are kept"
PROXY: Final = "the edge has no such setting"
TLS: Final = "TLS of the edge is a setting of the edge, not a part of a pipeline"
FILES: Final = "containers of workloads have no volumes"
ITS_OWN: Final = "is about Kamal itself"

REFUSED: Final = {
    "labels": "containers carry the labels by which opsuite finds them, and no others",
    "volumes": FILES,
    "asset_path": FILES,
    "error_pages_path": "the edge serves no pages of its own",
    "hooks_path": "hooks are programs in files of their own: write each under `hooks`, docs/importing.md says where",
    "secrets_path": SECRETS,
    "ssh": HOSTS,
    "builder": "images are built elsewhere, or by a step before the rollout",
    "accessories": "what lives longer than a version has a pipeline of its own",
    "logging": "the engine's own log driver is used",
    "loadbalancer": "edges send requests to replicas themselves",
    "rollout": "shares of requests are a canary strategy: write its steps",
}
MEANINGLESS: Final = {
    "allow_empty_roles": ITS_OWN,
    "require_destination": "an environment is always named",
    "retain_containers": "is kept as the server's settings say",
    "minimum_version": ITS_OWN,
    "run_directory": ITS_OWN,
    "sshkit": ITS_OWN,
    "output": ITS_OWN,
    "aliases": ITS_OWN,
    "hooks_output": ITS_OWN,
}
PROXY_REFUSED: Final = {
    "ssl": TLS,
    "certificate_pem": TLS,
    "private_key_pem": TLS,
    "ssl_redirect": TLS,
    "forward_headers": PROXY,
    "response_timeout": PROXY,
    "buffering": PROXY,
    "logging": PROXY,
    "path_prefix": "a route answers to hosts, not to parts of paths",
    "path_prefixes": "a route answers to hosts, not to parts of paths",
    "strip_path_prefix": "a route answers to hosts, not to parts of paths",
    "run": "how edges are started is a setting of the edge",
    "boot": "how edges are started is a setting of the edge",
}
ROLE_REFUSED: Final = {key: REFUSED[key] for key in ("labels", "volumes", "asset_path", "logging")}
APP_PORT: Final = (
    "a container is told its port: let the program listen on ${port}, which stands in PORT of its environment"
)


def pipeline_from(reading: Reading, *, environment: str) -> Imported:
    """The pipeline of a configuration."""
    root = reading.root
    refuse_ruby(reading)
    root.refuse_all(REFUSED)
    root.ignore_all(MEANINGLESS)
    for key in root.names():
        if str(key).startswith("x-"):
            root[key].ignore("only serves to write other parts once")
    service = label(root["service"].text())
    image, version = image_of(root)
    roles = roles_of(root)
    names = {name: service if name == primary_of(root) else label(f"{service}-{name}") for name in roles}
    rollouts = {label(name): rollout_of(root, role, name, names[name], image) for name, role in roles.items()}
    for key in ("readiness_delay", "deploy_timeout", "drain_timeout", "stop_timeout"):
        root[key].take()
    return reading.imported(document(service, environment, rollouts, f"the Kamal service {service}"), version)


def refuse_ruby(reading: Reading) -> None:
    """Values that Ruby would fill in before Kamal reads them."""
    for path in leaves(reading.document):
        node = reading.root
        for part in path:
            node = node[part]
        if "<%" in str(node.value):
            node.refuse("is Ruby: write the value itself")


def image_of(root: Node) -> tuple[str, str]:
    """The image with its registry, and the version at which it stood."""
    registry = root["registry"]
    registry.refuse_all(
        {"username": "the engine is logged in by itself", "password": "the engine is logged in by itself"}
    )
    server = registry["server"].text().rstrip("/")
    image, version = versioned(root["image"].text() or root["service"].text())
    return (f"{plain(server)}/{image}" if server else image), version


def primary_of(root: Node) -> str:
    """Name of the role that comes first."""
    return str(root["primary_role"].take(PRIMARY_ROLE))


def roles_of(root: Node) -> dict[str, Node]:
    """The roles, the primary one first. Servers without a role have the primary one."""
    servers, primary = root["servers"], primary_of(root)
    if not isinstance(servers.value, Mapping):
        return {primary: servers}
    for name in servers.names():
        if not list(hosts_of(servers[name])):
            servers[name].refuse("has no hosts, so nothing of it runs")
    return {name: servers[name] for name in sorted(servers.names(), key=lambda name: name != primary)}


def hosts_of(role: Node) -> Node:
    """The list of hosts of a role."""
    return role["hosts"] if isinstance(role.value, Mapping) else role


def rollout_of(root: Node, role: Node, name: str, workload: str, image: str) -> dict[str, Any]:
    """The rollout of one role."""
    hosts = hosts_of(role)
    replicas = max(1, len(list(hosts)))
    hosts.refuse(f"{HOSTS}; each has become a replica")
    role.refuse_all(ROLE_REFUSED)
    proxy = proxy_of(root, role, is_primary=name == primary_of(root))
    env = environment_of(root["env"]) | environment_of(role["env"])
    if proxy is not None:
        env = {"PORT": "${port}"} | env
    spec = {
        "workload": workload,
        "platform": "docker",
        "image": image,
        "command": command_of(role["cmd"]),
        "env": env,
        "ports": [{"name": "http"}] if proxy is not None else [],
        "replicas": replicas,
        "grace": grace_of(root, has_proxy=proxy is not None),
        **options_of(role["options"]),
    }
    rollout = {"workload": filled(spec), "rolling": batches_of(root["boot"], replicas)}
    return rollout | filled(traffic_of(proxy, root)) | readiness_of(proxy, root)


def proxy_of(root: Node, role: Node, *, is_primary: bool) -> Node | None:
    """The settings of a role's proxy: its own, else the general ones; None if requests do not reach the role."""
    own = role["proxy"]
    if isinstance(own.value, bool):
        return root["proxy"] if own.take() else None
    if own:
        return own
    general = root["proxy"]
    if isinstance(general.value, bool):
        return general if general.take() and is_primary else None
    return general if is_primary else None


def traffic_of(proxy: Node | None, root: Node) -> dict[str, Any]:
    """Who sends requests: edges, on the port of Kamal's proxy."""
    if proxy is None:
        return {}
    proxy.refuse_all(PROXY_REFUSED)
    proxy["app_port"].refuse(APP_PORT)
    hosts = [host.text() for host in proxy["hosts"]]
    if proxy["host"]:
        hosts += [host.strip() for host in proxy["host"].text().split(",")]
    edge = filled({"listen_port": HTTP_PORT, "hosts": hosts})
    return {"traffic": {"edge": edge, "drain": root["drain_timeout"].duration("30s")}}


def readiness_of(proxy: Node | None, root: Node) -> dict[str, Any]:
    """How replicas are asked, and how long they may take; a container without a proxy has to run for a while."""
    ready = parsed_duration(root["deploy_timeout"].value) or timedelta(seconds=30)
    steady = parsed_duration(root["readiness_delay"].value) or timedelta(seconds=7)
    if proxy is None:
        return {"min_healthy_time": seconds(steady)} | deadlines(ready + steady)
    check = proxy["healthcheck"]
    health = {
        "path": check["path"].text("/up"),
        "interval": check["interval"].duration("1s"),
        "timeout": check["timeout"].duration("5s"),
    }
    for key in ("port", "max_attempts", "cmd", "cord"):
        check[key].refuse("replicas are asked by HTTP at the port that gets the requests")
    return {"health": health, "min_healthy_time": "0s"} | deadlines(ready)


def deadlines(healthy: timedelta) -> dict[str, str]:
    """The time in which a replica has to be healthy, and a longer one for progress if ours is not."""
    progress = max(timedelta(minutes=10), healthy + timedelta(seconds=1))
    return {"healthy_deadline": seconds(healthy), "progress_deadline": seconds(progress)}


def grace_of(root: Node, *, has_proxy: bool) -> str | None:
    """Time to stop: after its requests have drained, or the whole time to drain where there are none."""
    if root["stop_timeout"]:
        return root["stop_timeout"].duration()
    return "10s" if has_proxy else root["drain_timeout"].duration("30s")


def batches_of(boot: Node, replicas: int) -> dict[str, Any]:
    """How many hosts at once: all, a number, or a percentage of the hosts."""
    strategy = {"max_surge": "100%", "max_unavailable": "0"}
    limit = boot["limit"].value
    if isinstance(limit, str) and limit.endswith("%") and limit[:-1].isdecimal():
        boot["limit"].take()
        return strategy | {"max_parallel": max(1, replicas * int(limit[:-1]) // 100)} | pause_of(boot)
    if boot["limit"]:
        return strategy | {"max_parallel": boot["limit"].number(replicas or 1, 1, 1000)} | pause_of(boot)
    boot["wait"].ignore("without a limit all hosts start at once")
    return strategy


def pause_of(boot: Node) -> dict[str, Any]:
    """Time between two batches."""
    boot["parallel_roles"].unless((False,), "roles follow one another", "roles follow one another")
    return {"pause_between_batches": boot["wait"].duration()} if boot["wait"] else {}


def command_of(command: Node) -> list[str]:
    """The arguments of the container; what needs a shell is refused."""
    text = str(command.value or "")
    if SHELL(text):
        command.refuse("needs a shell: build it into the image")
        return []
    try:
        words = shlex.split(text)
    except ValueError:
        command.refuse("has quotes that do not end")
        return []
    command.take()
    return [plain(word) for word in words]


def environment_of(env: Node) -> dict[str, str]:
    """The plain variables."""
    env["secret"].refuse(SECRETS)
    env["tags"].refuse("all replicas of a workload have the same environment")
    has_parts = any(env[part] for part in ("clear", "secret", "tags"))
    clear = env["clear"] if has_parts else env
    return {name: plain(clear[name].text()) for name in clear.names()}


def options_of(options: Node) -> dict[str, Any]:
    """Options of `docker run`, of which processors and memory are known."""
    found = dict[str, Any]()
    for key in options.names():
        option, value = options[key], str(options[key].value)
        if key == "cpus" and (cpus := quantity(option.value)) is not None:
            found["cpus"] = cpus if option.take() else None
        elif key == "memory" and (amount := MEMORY(value)) is not None:
            found["memory_bytes"] = int(float(amount[1]) * BYTES[amount[2].lower()]) if option.take() else None
        else:
            option.refuse("a workload states processors and memory only")
    return found
