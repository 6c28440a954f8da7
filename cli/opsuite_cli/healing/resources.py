"""What is written down for the healer: documents of every kind are applied alike, and lists look alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opsuite_cli import screen
from opsuite_cli.healing.calls import Client, talk
from opsuite_cli.healing.words import short
from opsuite_cli.importing import documents_in, text_of
from opsuite_cli.resource_documents import Kind
from opsuite_cli.scaling_calls import refuse
from opsuite_kernel.errors import InvalidInput, NotFound, OpsuiteError, Violation

Name = Annotated[str, typer.Argument(metavar="NAME", help="Which one.")]
_OWN: Final = frozenset({"name", "etag", "create_time", "update_time", "created_by"})


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of resource, and the methods that look after it."""

    kind: Kind
    service: str
    verb_noun: str
    """What follows Create, Get, Update and Delete in the names of methods: "HealingPolicy"."""
    plural: str
    """What follows List: "HealingPolicies"."""
    items: str
    """Field of a page: "policies"."""

    async def get(self, client: Client, name: str) -> Any:
        """The resource of a name. Raises NotFound, Unavailable."""
        answer = await client.call(self.service, f"Get{self.verb_noun}", name=self.kind.full(name))
        return getattr(answer, self.kind.field)

    async def apply(self, client: Client, message: Any) -> tuple[str, Any]:
        """Make it so: what was done, and the resource. What is wrong is told by its path in the document."""
        field = self.kind.field
        try:
            try:
                known = await self.get(client, message.name)
            except NotFound:
                answer = await client.call(self.service, f"Create{self.verb_noun}", **{field: message})
                return "created", getattr(answer, field)
            if self.kind.written(known)["spec"] == self.kind.written(message)["spec"]:
                return "unchanged", known
            message.etag = known.etag
            answer = await client.call(self.service, f"Update{self.verb_noun}", **{field: message})
            changed = getattr(answer, field)
            # What a document leaves out the server may have filled in.
            same = self.kind.written(changed) == self.kind.written(known)
            return "unchanged" if same else "updated", changed
        except InvalidInput as error:
            told = [self.kind.in_document(one) for one in error.violations]
            raise InvalidInput(told, reason=error.reason) from error


HEALTH_CHECK: Final = Resource(
    Kind(
        "HealthCheck",
        "opsuite.healer.v1.check_pb2",
        "healthChecks/",
        "check",
        "check",
        _OWN | {"health"},
        type_name="Check",
    ),
    "health_check_service",
    "Check",
    "Checks",
    "checks",
)
HEALING_POLICY: Final = Resource(
    Kind("HealingPolicy", "opsuite.healer.v1.healing_policy_pb2", "healingPolicies/", "policy", "healing policy", _OWN),
    "healing_service",
    "HealingPolicy",
    "HealingPolicies",
    "policies",
)
RECEIVER: Final = Resource(
    Kind("Receiver", "opsuite.healer.v1.escalation_pb2", "receivers/", "receiver", "receiver", _OWN),
    "escalation_service",
    "Receiver",
    "Receivers",
    "receivers",
)
ESCALATION_POLICY: Final = Resource(
    Kind(
        "EscalationPolicy",
        "opsuite.healer.v1.escalation_pb2",
        "escalationPolicies/",
        "policy",
        "escalation policy",
        _OWN,
    ),
    "escalation_service",
    "EscalationPolicy",
    "EscalationPolicies",
    "policies",
)
RUNBOOK: Final = Resource(
    Kind("Runbook", "opsuite.healer.v1.runbook_pb2", "runbooks/", "runbook", "runbook", _OWN),
    "runbook_service",
    "Runbook",
    "Runbooks",
    "runbooks",
)
ALL: Final = (RECEIVER, ESCALATION_POLICY, HEALTH_CHECK, RUNBOOK, HEALING_POLICY)
"""Each before those that name it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource as a document of a file has it."""

    resource: Resource
    message: Any
    place: str
    """Which document of several: "[2]."."""

    async def apply(self, client: Client) -> tuple[str, Any]:
        """Make it so; what is wrong is told by its place in the file."""
        try:
            return await self.resource.apply(client, self.message)
        except InvalidInput as error:
            raise InvalidInput(_placed(error, self.place), reason=error.reason) from error


def applied(file: Path) -> None:
    """Make everything in a file so, each kind before those that name it, and say what was done."""
    try:
        wanted = _read(documents_in(text_of(file)))
    except OpsuiteError as error:
        refuse(error)

    async def work(client: Client) -> list[tuple[Resource, str, Any]]:
        return [(one.resource, *await one.apply(client)) for one in wanted]

    done = talk(work)
    if not screen.wants_table():
        screen.document([message for _, _, message in done])
        return
    for resource, what, message in done:
        screen.say(f"{resource.kind.noun} {short(message.name)}: {what}")


def add_to(app: typer.Typer, resource: Resource, head: Sequence[str], row: Callable[[Any], Sequence[str]]) -> None:
    """Add list, get and delete for a kind of resource; `row` are the cells below `head`."""
    noun = resource.kind.noun

    def list_() -> None:
        found = talk(lambda client: client.every(resource.service, f"List{resource.plural}", resource.items))
        if screen.wants_table():
            screen.table(head, [[*row(one)] for one in found])
        else:
            screen.document(found)

    def get(name: Name) -> None:
        found = resource.kind.written(talk(lambda client: resource.get(client, name)))
        if not screen.wants_table():
            screen.write(found)
            return
        import yaml

        screen.say(yaml.safe_dump(found, sort_keys=False, allow_unicode=True).rstrip())

    def delete(name: Name) -> None:
        full = resource.kind.full(name)
        talk(lambda client: client.call(resource.service, f"Delete{resource.verb_noun}", name=full))
        screen.say(f"{noun} {short(full)}: deleted")

    app.command("list", help=f"List every {noun}.")(list_)
    app.command("get", help=f"Print a {noun} as a document.")(get)
    app.command("delete", help=f"Forget a {noun}.")(delete)


def _read(documents: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """The resources of documents, in the order in which they can be applied. Raises InvalidInput with every mistake."""
    known = {one.kind.name: one for one in ALL}
    found: list[Wanted] = []
    wrong: list[Violation] = []
    for number, document in enumerate(documents):
        place = f"[{number}]." if len(documents) > 1 else ""
        resource = known.get(str(document.get("kind")))
        if resource is None:
            wrong.append(Violation(f"{place}kind", f"must be one of {', '.join(known)}"))
            continue
        try:
            found.append(Wanted(resource, resource.kind.read(document), place))
        except InvalidInput as error:
            wrong += _placed(error, place)
    if not documents:
        wrong.append(Violation("kind", "the file holds no document"))
    if wrong:
        raise InvalidInput(wrong, reason="DOCUMENT_INVALID")
    return sorted(found, key=lambda one: ALL.index(one.resource))


def _placed(error: InvalidInput, place: str) -> list[Violation]:
    return [Violation(f"{place}{one.field}", one.description, one.reason) for one in error.violations]
