"""Builds what the healer can do: actions on platforms, and on the deployer and the scaler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from opsuite_healer.adapters.actions.cache import ClearCache
from opsuite_healer.adapters.actions.eviction import Eviction
from opsuite_healer.adapters.actions.once import Once
from opsuite_healer.adapters.actions.programs import Command, Commands
from opsuite_healer.adapters.actions.rebalance import RebalanceLoad
from opsuite_healer.adapters.actions.registry import Registry
from opsuite_healer.adapters.actions.restart import RestartService
from opsuite_healer.adapters.actions.roll_back import RollBackDeployment
from opsuite_healer.adapters.actions.run_runbook import RunRunbook
from opsuite_healer.adapters.actions.scale import ScaleBack, ScaleUp, Sizes
from opsuite_healer.adapters.actions.telling import Notify
from opsuite_healer.adapters.actions.traffic import Traffic
from opsuite_healer.adapters.actions.web import Http, Requests
from opsuite_healer.adapters.peers import Peer, peer_of
from opsuite_healer.adapters.rollouts import DeployerRollouts, NobodyRollsOut
from opsuite_healer.adapters.unit import SqlUnit
from opsuite_healer.application.actions import Actions
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.recent_rollouts import RecentRollouts
from opsuite_healer.application.runbook_runner import RunbookRunner
from opsuite_healer.composition.house import House


@dataclass(frozen=True, slots=True)
class Doing:
    """What can be done."""

    actions: Actions
    rollouts: RecentRollouts


def actions(house: House, messages_of: Callable[[SqlUnit], Messages], runbooks: Callable[[], RunbookRunner]) -> Doing:
    """Build it. `runbooks` is asked for when one is run first: they are built on top of this."""
    settings = house.settings
    deployer = _peer(house, "deployer", settings.deployer_address, settings.deployer_token_file)
    scaler = _peer(house, "scaler", settings.scaler_address, settings.scaler_token_file)
    workloads = house.workloads
    rollouts = DeployerRollouts(deployer) if deployer else None
    traffic = Traffic(deployer, rollouts, workloads) if deployer and rollouts else None
    sizes = Sizes(scaler, house.clock) if scaler else None
    requests, commands, once = (
        Requests(house.secrets),
        Commands(house.spawner, house.commands),
        Once(house.store),
    )
    house.stack.push_async_callback(requests.close)
    registry = Registry(
        [
            RestartService(workloads),
            ScaleUp(sizes),
            ScaleBack(sizes),
            ClearCache(house.secrets, requests, commands),
            RebalanceLoad(traffic, Eviction(house.cluster, settings.kubernetes_namespace, workloads)),
            RollBackDeployment(deployer, rollouts, house.clock),
            RunRunbook(runbooks),
            Notify(house.store, messages_of, house.clock, settings.public_url),
            Command(commands, once),
            Http(requests, once),
        ]
    )
    return Doing(registry, rollouts or NobodyRollsOut())


def _peer(house: House, service: str, address: str, token_file: Path | None) -> Peer | None:
    """A service of the suite, if the settings name it."""
    if not address:
        return None
    peer = peer_of(service, address, token_file)
    house.stack.push_async_callback(peer.close)
    return peer
