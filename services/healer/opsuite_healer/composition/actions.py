"""Builds what the healer can do: actions on platforms, and on the deployer and the scaler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opsuite_healer.adapters.actions.nobody import NobodyRollsOut
from opsuite_healer.adapters.actions.registry import Registry
from opsuite_healer.adapters.actions.restart import RestartService
from opsuite_healer.adapters.actions.workloads import Workloads
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.actions import Actions
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.recent_rollouts import RecentRollouts
from opsuite_healer.application.runbook_runner import RunbookRunner
from opsuite_healer.composition.house import House
from opsuite_platforms.kubernetes import KubernetesPlatform


@dataclass(frozen=True, slots=True)
class Doing:
    """What can be done."""

    actions: Actions
    rollouts: RecentRollouts


def actions(house: House, messages_of: Callable[[SqlUnit], Messages], runbooks: Callable[[], RunbookRunner]) -> Doing:
    """Build it. `runbooks` is asked for when one is run first: they are built on top of this."""
    workloads = Workloads(
        house.platforms, lambda namespace: KubernetesPlatform(house.cluster, namespace, clock=house.clock)
    )
    return Doing(Registry([RestartService(workloads)]), NobodyRollsOut())
