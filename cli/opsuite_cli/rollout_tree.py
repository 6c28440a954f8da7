"""A rollout as a tree of lines: its versions with their shares and replicas, and the edges. Pure.

A line is a row of pieces, each a text with its style; whoever prints it decides what becomes of the styles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from opsuite.deployer.v1.deployment_pb2 import Deployment, StepRun
from opsuite.deployer.v1.rollout_pb2 import RolloutStatus, RolloutTrack
from opsuite.deployer.v1.workload_pb2 import ReplicaStatus, RouteEdge
from opsuite_cli import words

Line: TypeAlias = "tuple[tuple[str, str], ...]"

COLOURS: Final = {
    "PROGRESSING": "cyan",
    "PROMOTING": "cyan",
    "COMPLETING": "cyan",
    "PAUSED": "yellow",
    "ABORTING": "yellow",
    "SUCCEEDED": "green",
    "FAILED": "red",
}
_BY_AGE: Final = {"stable": "old", "canary": "new"}
"""What the versions are called where none of them is a canary."""
_SIGNS: Final = {"backoff": ("✗", "red"), "failed": ("✗", "red"), "stopped": ("■", "dim")}


@dataclass(frozen=True, slots=True)
class Node:
    """A line with what hangs below it."""

    line: Line
    below: Sequence[Node] = ()


def rollouts_of(deployment: Deployment) -> Iterator[tuple[str, StepRun]]:
    """The steps whose rollout has begun, each with the name of its stage."""
    for stage in deployment.stages:
        yield from ((stage.name, step) for step in stage.steps if step.HasField("rollout"))


def hooks_of(deployment: Deployment, now: datetime, *, rollout: str = "") -> Iterator[Line]:
    """The hooks that have begun, a line for each; with a rollout ("web:shop") only those that it calls for."""
    for stage in deployment.stages:
        for hook in stage.steps if stage.is_hooks and stage.name.endswith(rollout) else ():
            if hook.attempt:
                facts = [words.step_status(hook.status), words.seconds(words.took(hook, now)), hook.message]
                yield (f"hook {stage.name}/{hook.name}  ", ""), ("  ".join(filter(None, facts)), "dim")


def is_under_way(rollout: RolloutStatus) -> bool:
    """Whether it has not ended."""
    return words.rollout_phase(rollout.phase) not in {"SUCCEEDED", "FAILED"}


def whole(stage: str, step: StepRun, now: datetime) -> list[Line]:
    """Everything about the rollout of a step."""
    rollout = step.rollout
    phase = words.rollout_phase(rollout.phase)
    head = [(f"{stage}/{step.name}  {rollout.strategy}  ", ""), (phase, COLOURS.get(phase, ""))]
    if rollout.step and phase in {"PROGRESSING", "PAUSED"}:
        head.append((f"  step {rollout.step} of {rollout.step_count}", ""))
    if is_under_way(rollout) and (since := words.moment(rollout, "since")) is not None:
        head.append((f"  for {words.seconds(now - since)}", "dim"))
    said: list[Line] = [((f"{rollout.message}", "dim"),)] if rollout.message else []
    return [tuple(head), *said, *_drawn([*_tracks(rollout, replicas=True), *_edges(rollout)])]


def compact(rollout: RolloutStatus) -> list[Line]:
    """A line for each version, and one for the edges."""
    edges = ((_edges_in_short(rollout), "dim"),)
    return _drawn([*_tracks(rollout, replicas=False), *([Node(edges)] if rollout.edges else [])])


def in_short(rollout: RolloutStatus) -> str:
    """The versions on one line: `1.0.0 90 % 3/3, 1.1.0 10 % 1/1`."""
    return ", ".join(" ".join([track.version, *_share(rollout, track), _size(track)]) for track in rollout.tracks)


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)


def _tracks(rollout: RolloutStatus, *, replicas: bool) -> Iterator[Node]:
    width = max((len(track.version) for track in rollout.tracks), default=0)
    for track in rollout.tracks:
        pieces = [(f"{_name(rollout, track):<6} ", ""), (track.version.ljust(width), "bold")]
        if share := _share(rollout, track):
            pieces.append((f"  {share[0]:>5}", "" if track.weight_in_force else "yellow"))
            pieces += [(f" {word}", "yellow") for word in share[1:]]
        pieces.append((f"  {_size(track)} replicas", ""))
        if replicas:
            yield Node((*pieces, (f"  {track.revision}", "dim")), [_replica(one) for one in track.replica_statuses])
        else:
            missing = max(0, track.replicas - len(track.replica_statuses))
            signs = [_sign(one) for one in track.replica_statuses]
            yield Node((*pieces, ("  ", ""), *signs, ("○" * missing, "yellow")))


def _name(rollout: RolloutStatus, track: RolloutTrack) -> str:
    """What a version is called: "canary" only as long as it is one beside another."""
    is_first = len(rollout.tracks) == 1
    is_over = words.rollout_phase(rollout.phase) in {"COMPLETING", "SUCCEEDED"}
    if is_first:
        return track.name.replace("canary", "new")
    return _BY_AGE.get(track.name, track.name) if is_over or rollout.strategy != "canary" else track.name


def _size(track: RolloutTrack) -> str:
    """Replicas that are available, and how many are asked for."""
    between = " → " if track.available_replicas > track.replicas else "/"
    return f"{track.available_replicas}{between}{track.replicas}"


def _share(rollout: RolloutStatus, track: RolloutTrack) -> list[str]:
    """The share of a version, and that it is only asked for if so; nothing where nobody routes."""
    if not rollout.edges and not any(one.weight for one in rollout.tracks):
        return []
    return [f"{track.weight} %", *([] if track.weight_in_force or not rollout.edges else ["asked"])]


def _sign(replica: ReplicaStatus) -> tuple[str, str]:
    if replica.available:
        return ("●", "green")
    return _SIGNS.get(replica.phase, ("○", "yellow"))


def _replica(replica: ReplicaStatus) -> Node:
    health = "healthy" if replica.available else "not healthy yet" if replica.phase == "running" else replica.phase
    facts = [health]
    if replica.restarts:
        facts.append("1 restart" if replica.restarts == 1 else f"{replica.restarts} restarts")
    if replica.endpoint:
        facts.append(replica.endpoint)
    if replica.message and replica.phase != "running":
        facts.append(replica.message)
    return Node((_sign(replica), (f" {replica.name}  ", ""), ("  ".join(facts), "dim")))


def _edges(rollout: RolloutStatus) -> Iterator[Node]:
    if rollout.edges:
        yield Node((("edges", ""),), [_edge(edge, rollout) for edge in rollout.edges])


def _edge(edge: RouteEdge, rollout: RolloutStatus) -> Node:
    sign, style, said = _edge_standing(edge, rollout)
    return Node(((sign, style), (f" {edge.id}  ", ""), (said, "dim" if style == "green" else style)))


def _edge_standing(edge: RouteEdge, rollout: RolloutStatus) -> tuple[str, str, str]:
    """A sign, its style, and how the edge stands."""
    if edge.rejection:
        return "✗", "red", f"refuses it: {edge.rejection}"
    if not edge.connected:
        seen = words.moment(edge, "last_seen_time")
        since = f" since {seen.astimezone():%H:%M:%S}" if seen else ""
        return "?", "yellow", f"silent{since}: what it sends where is not known"
    # While shares are only asked for, what an edge has applied is what was asked for before.
    has_it = edge.applied and all(track.weight_in_force for track in rollout.tracks)
    return ("✓", "green", "applied") if has_it else ("○", "yellow", "has not applied it yet")


def _edges_in_short(rollout: RolloutStatus) -> str:
    standings = [(edge.id, *_edge_standing(edge, rollout)) for edge in rollout.edges]
    told = [f"edges  applied by {sum(sign == '✓' for _, sign, _, _ in standings)} of {len(standings)}"]
    told += [f"{name} {said}" for name, sign, _, said in standings if sign in "✗?"]
    return "; ".join(told)


def _drawn(nodes: Sequence[Node], front: str = "") -> list[Line]:
    """The lines of a tree, with its branches in front."""
    lines: list[Line] = []
    for node in nodes:
        is_last = node is nodes[-1]
        lines.append(((front + ("└─ " if is_last else "├─ "), "dim"), *node.line))
        lines += _drawn(node.below, front + ("   " if is_last else "│  "))
    return lines
