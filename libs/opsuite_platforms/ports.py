"""Which port each replica gets. Pure but for `is_free`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Mapping

from opsuite_kernel.errors import Conflict
from opsuite_platforms.port import WorkloadSpec

Ports = Mapping[int, Mapping[str, int]]


def allocate(
    spec: WorkloadSpec,
    had: Ports,
    taken: Collection[int],
    choice: range,
    is_free: Callable[[int], bool],
    *,
    here: range | None = None,
) -> Ports:
    """Port numbers by name for each replica: those it `had`, else the first ones of `choice` that nobody has.

    `here` are the replicas that live on the machine in question; None: all.

    Raises: Conflict (fixed port with several replicas or of another workload; none left).
    """
    refuse_impossible(spec, had, taken)
    others = set(taken)
    candidates = iter(number for number in choice if number not in others and is_free(number))
    ports = dict[int, dict[str, int]]()
    for replica in range(spec.replicas) if here is None else here:
        ports[replica] = dict[str, int]()
        for port in spec.ports:
            number = port.number or had.get(replica, {}).get(port.name) or next(candidates, None)
            if number is None:
                raise Conflict(f"no port left in {choice.start} to {choice.stop - 1}", reason="PORTS_EXHAUSTED")
            ports[replica][port.name] = number
    return ports


def kept(spec: WorkloadSpec, had: Ports, here: range) -> Ports | None:
    """The ports that each replica `here` has, if it needs no other; None: see what the others have, and `allocate`."""
    names = {port.name for port in spec.ports}
    if any(port.number for port in spec.ports) or any(not names <= had.get(replica, {}).keys() for replica in here):
        return None
    return {replica: {name: had[replica][name] for name in names} for replica in here}


def untaken(spec: WorkloadSpec, had: Ports, down: Collection[int], is_free: Callable[[int], bool]) -> Ports:
    """What each replica `had`, but for what somebody took while it was `down`; fixed ones stay: it has no other."""
    fixed = {port.name for port in spec.ports if port.number is not None}
    return {
        replica: {name: number for name, number in ports.items() if name in fixed or is_free(number)}
        if replica in down
        else ports
        for replica, ports in had.items()
    }


def moved(had: Ports, left: Ports) -> frozenset[int]:
    """The replicas that lost a port."""
    return frozenset(replica for replica, ports in had.items() if ports != left[replica])


def refuse_impossible(spec: WorkloadSpec, had: Ports, taken: Collection[int]) -> None:
    """Raises: Conflict."""
    fixed = {port.number for port in spec.ports if port.number is not None}
    if fixed and spec.replicas > 1:
        raise Conflict(f"{spec.name}: {spec.replicas} replicas cannot share a fixed port", reason="PORT_TAKEN")
    own = {number for ports in had.values() for number in ports.values()}
    if stolen := fixed & (set(taken) - own):
        raise Conflict(f"{spec.name}: another workload has port {min(stolen)}", reason="PORT_TAKEN")


def is_free(number: int) -> bool:
    """Whether nobody listens on that port of this machine now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that is closing is no obstacle
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            return error.errno not in (errno.EADDRINUSE, errno.EACCES)
    return True
