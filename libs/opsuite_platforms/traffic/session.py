"""What one xDS stream has asked for and been sent, and what goes out next. Pure: no network, no clock.

State of the world: each response holds everything of its kind that the client asked for. Listeners and routes wait
until the client has settled clusters and endpoints, so that a route never names what the client does not have yet
(Envoy settles a cluster when it has its endpoints). What a client refused is sent again only when it has changed.

A client that comes back, from a server that may have died before it said all, goes by routes that we do not know. If it
has all clusters that its routes need now, it gets those routes first: else it would lose clusters that it still uses.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_platforms.traffic.messages import message_class
from opsuite_platforms.traffic.resources import KINDS, Kind, Resource, Resources

BY_NAME: Final = frozenset({Kind.ENDPOINTS, Kind.ROUTES})
"""Kinds of which a client without names wants none; of the others it wants all."""
AFTER: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.CLUSTER: (),
    Kind.ENDPOINTS: (),
    Kind.LISTENER: (Kind.CLUSTER, Kind.ENDPOINTS),
    Kind.ROUTES: (Kind.CLUSTER, Kind.ENDPOINTS),
}
"""Kinds that have to be settled before one is sent."""
KEPT_BACK: Final = frozenset({Kind.CLUSTER, Kind.LISTENER})
"""Kinds that wait until a client that has come back goes by the routes of now."""
ORDER: Final[Mapping[Kind, int]] = {kind: place for place, kind in enumerate(Kind)}
EVERYTHING: Final = "*"


class Snapshot:
    """Everything that there is to send at one version. What is sent to many is made once."""

    def __init__(self, version: int, resources: Resources, routes: Mapping[str, int]) -> None:
        """`routes`: the version at which each route changed last."""
        self.version = version
        self.resources = resources
        self.routes = routes
        self._heads: dict[Kind, bytes] = {}
        self._bodies: dict[tuple[Kind, frozenset[str] | None], bytes] = {}
        self._needed: dict[Kind, frozenset[str]] = {}

    def wanted(self, kind: Kind, names: frozenset[str] | None) -> Iterable[Resource]:
        """Resources of those names that exist, in order; None means all that edges get."""
        if names is None:
            return self.resources.edges[kind].values()
        found = self.resources.named[kind]
        return [found[name] for name in sorted(names) if name in found]

    def used(self, names: frozenset[str]) -> Collection[str]:
        """Clusters that requests can come to by the route configurations of those names."""
        routes = {route for resource in self.wanted(Kind.ROUTES, names) for route in resource.routes}
        return {cluster for route in routes for cluster in self.resources.used.get(route, ())}

    def body(self, kind: Kind, names: frozenset[str] | None) -> bytes:
        """The resources as they go into a response."""
        key = (kind, names)
        if (body := self._bodies.get(key)) is None:
            body = self._bodies[key] = b"".join(resource.wire for resource in self.wanted(kind, names))
        return body

    def needed(self, kind: Kind, version: int, refused: Collection[str]) -> Collection[str]:
        """Names that a proxy has to have asked for before it can have every route up to `version`."""
        if version < self.version or refused:
            late = {route for route, changed in self.routes.items() if changed > version}
            resources = self.resources.edges[kind].values()
            return [each.name for each in resources if each.routes.isdisjoint(refused) and not each.routes <= late]
        if (names := self._needed.get(kind)) is None:
            names = self._needed[kind] = frozenset(self.resources.edges[kind])
        return names

    def head(self, kind: Kind) -> bytes:
        """The rest of a response but its nonce: serialised messages that are joined are merged."""
        if (head := self._heads.get(kind)) is None:
            response = _response(version_info=str(self.version), type_url=kind.type_url)
            head = self._heads[kind] = response.SerializeToString()
        return head


@dataclass(slots=True)
class _Subscription:
    """One kind of resource on one stream."""

    names: frozenset[str] | None
    """None: all."""
    is_owed: bool = True
    """Whether an answer is due even if nothing has changed."""
    is_settled: bool = True
    """Whether the client has taken or refused what it was sent last."""
    body: bytes | None = None
    """What it was sent last."""
    nonce: str = ""
    sent: Snapshot | None = None
    compared: Snapshot | None = None
    """Snapshot that it was last compared with: of that one there is nothing more to send, unless an answer is due."""
    settled: int = 0
    """Version up to which the client has taken or refused all of this kind."""
    taken: int = 0
    """Version up to which it has taken all, and refused nothing."""
    refusals: dict[str, str] = field(default_factory=dict)


class Session:
    """One stream, from its first request to its end."""

    def __init__(self) -> None:
        self.node = ""
        """The id that the client gave itself; empty before its first request."""
        self.version = 0
        """Everything up to this version has been taken, or refused by name."""
        self.refusals: dict[str, str] = {}
        """Route to the client's words, for what it refused and has not taken since."""
        self._kinds: dict[Kind, _Subscription] = {}
        self._nonces = 0
        self._has_come_back = False
        """Whether it has been sent something before this stream."""

    @property
    def scopes(self) -> frozenset[str]:
        """Routes that the client asked for by name; `*` for a client that takes all. Empty before it has asked."""
        listeners = self._kinds.get(Kind.LISTENER)
        if listeners is None:
            everything = Kind.CLUSTER in self._kinds and self._kinds[Kind.CLUSTER].names is None
            return frozenset({EVERYTHING}) if everything else frozenset()
        return frozenset({EVERYTHING}) if listeners.names is None else listeners.names

    @property
    def has_said_all(self) -> bool:
        """Whether it has said what it goes by: who comes back asks for everything again, routes last."""
        return bool(self.node) and (not self._has_come_back or Kind.ROUTES in self._kinds)

    def routes_version(self) -> int:
        """Version of the route configurations that the client goes by: it may still use clusters of that version."""
        routes = self._kinds.get(Kind.ROUTES)
        return self.version if routes is None else routes.taken

    # ---- what comes in ----------------------------------------------------------------------------------------------

    def receive(self, request: Any) -> None:
        """Take in one DiscoveryRequest; kinds that we do not have are passed over. Raises: InvalidInput (no id)."""
        self.node = self.node or request.node.id
        if not self.node:
            raise InvalidInput([Violation("node.id", "must say which edge this is", "REQUIRED")])
        if (kind := KINDS.get(request.type_url)) is None:
            return
        subscription = self._kinds.get(kind)
        if subscription is None:
            self._has_come_back |= bool(request.version_info)
            self._kinds[kind] = _Subscription(_names(kind, request, None))
            self._kinds = dict(sorted(self._kinds.items(), key=_in_order))
        elif request.response_nonce == subscription.nonce:
            self._settle(kind, subscription, request)
        # Otherwise the client had not yet seen what it was sent last; its answer to that will say all again.

    def _settle(self, kind: Kind, subscription: _Subscription, request: Any) -> None:
        names = _names(kind, request, subscription)
        # Who speaks without having been sent anything asks for it: again, or under other names.
        subscription.is_owed |= subscription.is_settled or names != subscription.names
        if not subscription.is_settled and subscription.sent is not None:
            subscription.settled = subscription.sent.version
            if request.HasField("error_detail"):
                _refused(kind, subscription, subscription.sent, request.error_detail.message)
            else:
                subscription.refusals = {}
                subscription.taken = subscription.sent.version
        subscription.is_settled = True
        if names is not None and not names <= (subscription.names or frozenset()):
            subscription.settled = 0  # of what it wants as well it has nothing yet
            if kind is Kind.LISTENER:
                self.version = 0
        subscription.names = names
        self.refusals = {route: words for each in self._kinds.values() for route, words in each.refusals.items()}

    # ---- what goes out ----------------------------------------------------------------------------------------------

    def due(self, snapshot: Snapshot) -> bytes | None:
        """The response to send now, serialised; None when nothing is to be said before the client has spoken."""
        kept_back = KEPT_BACK if self._needs_routes_first(snapshot) else ()
        for kind, subscription in self._kinds.items():
            if subscription.compared is snapshot and not subscription.is_owed:
                continue
            if kind in kept_back or not subscription.is_settled or not self._are_settled(AFTER[kind]):
                continue
            subscription.compared = snapshot
            is_wanted = kind not in BY_NAME or subscription.names
            body = snapshot.body(kind, subscription.names)
            if is_wanted and (subscription.is_owed or body != subscription.body):
                return self._send(kind, subscription, snapshot, body)
            subscription.settled = snapshot.version
            if not subscription.refusals:
                subscription.taken = snapshot.version
        self._note_progress(snapshot)
        return None

    def _needs_routes_first(self, snapshot: Snapshot) -> bool:
        """Whether it has come back, and does not go by the routes of now yet although it has all that they need."""
        clusters, endpoints, routes = (self._kinds.get(one) for one in (Kind.CLUSTER, Kind.ENDPOINTS, Kind.ROUTES))
        if not self._has_come_back or clusters is None or endpoints is None or routes is None or not routes.names:
            return False
        if clusters.sent is not None or (routes.sent is not None and routes.is_settled):
            return False
        return self._covers(Kind.ENDPOINTS, snapshot.used(routes.names))

    def _are_settled(self, kinds: Iterable[Kind]) -> bool:
        return all(self._kinds[kind].is_settled for kind in kinds if kind in self._kinds)

    def _send(self, kind: Kind, subscription: _Subscription, snapshot: Snapshot, body: bytes) -> bytes:
        self._nonces += 1
        subscription.nonce = str(self._nonces)
        subscription.body, subscription.sent = body, snapshot
        subscription.is_owed = subscription.is_settled = False
        return snapshot.head(kind) + body + bytes(_response(nonce=subscription.nonce).SerializeToString())

    def _note_progress(self, snapshot: Snapshot) -> None:
        """Up to which version all that was asked for is settled, if all that this version needs was asked for."""
        version = min((each.settled for each in self._kinds.values()), default=0)
        if version <= self.version:
            return
        refused, scopes = self.refusals.keys(), self.scopes
        if EVERYTHING in scopes:
            is_complete = self._has_all(snapshot, version, refused)
        else:
            is_complete = bool(scopes) and all(self._has_route(snapshot, name) for name in scopes - refused)
        if is_complete:
            self.version = version

    def _has_all(self, snapshot: Snapshot, version: int, refused: Collection[str]) -> bool:
        """Whether a proxy has asked for the endpoints of all clusters and the routes of all ports."""
        return {Kind.CLUSTER, Kind.LISTENER} <= self._kinds.keys() and all(
            self._covers(kind, snapshot.needed(kind, version, refused)) for kind in (Kind.ENDPOINTS, Kind.ROUTES)
        )

    def _has_route(self, snapshot: Snapshot, name: str) -> bool:
        """Whether a client that asked for this route knows where it leads; one that does not exist leads nowhere."""
        used = snapshot.resources.used.get(name)
        if used is None:
            return True
        return (
            self._covers(Kind.ROUTES, (name,))
            and self._covers(Kind.CLUSTER, used)
            and self._covers(Kind.ENDPOINTS, used)
        )

    def _covers(self, kind: Kind, names: Iterable[str]) -> bool:
        subscription = self._kinds.get(kind)
        asked_for: frozenset[str] | None = frozenset() if subscription is None else subscription.names
        return asked_for is None or asked_for.issuperset(names)


def _in_order(item: tuple[Kind, _Subscription]) -> int:
    return ORDER[item[0]]


def _response(**fields: str) -> Any:
    return message_class("envoy.service.discovery.v3.DiscoveryResponse")(**fields)


def _names(kind: Kind, request: Any, before: _Subscription | None) -> frozenset[str] | None:
    """Names that a client wants; None for all, which only a stream that never gave names can mean by giving none."""
    names = frozenset(request.resource_names)
    if kind in BY_NAME:
        return names
    never_named = before is None or before.names is None
    return None if EVERYTHING in names or (not names and never_named) else names


def _refused(kind: Kind, subscription: _Subscription, snapshot: Snapshot, words: str) -> None:
    """Note which routes a refusal is about.

    Envoy takes clusters and listeners one by one and names those that it refuses. Where it names none, every route
    that has changed since the client last took this kind may be meant.
    """
    resources = list(snapshot.wanted(kind, subscription.names))
    named = [resource for resource in resources if _mentions(words, resource.name)]
    if kind in BY_NAME or not named:
        routes = {route for resource in resources for route in resource.routes}
        routes = {route for route in routes if snapshot.routes.get(route, 0) > subscription.taken} or routes
    else:
        routes = {route for resource in named for route in resource.routes}
        subscription.refusals.clear()  # the rest of it was taken
    subscription.refusals.update(dict.fromkeys(routes, words))


def _mentions(words: str, name: str) -> bool:
    return re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w./-])", words) is not None
