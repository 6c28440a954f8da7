"""What HTTP reaches which method: the table that `google.api.http` annotations make.

Nothing is written by hand for a method: a contract that is in this process is reachable.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from opsuite_gateway.transcoding.paths import Template, template

_HTTP: Final[Any] = annotations_pb2.http  # its types know no extension of options
VERBS: Final = ("get", "put", "post", "delete", "patch")
WHOLE: Final = "*"
"""As `body`: the HTTP body is the request, but for what the path says."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One way by HTTP to one method."""

    method: MethodDescriptor
    verb: str
    """"GET", "POST" …"""
    template: Template
    body: str
    """Field that the HTTP body is; WHOLE; empty: there is none."""

    @property
    def path(self) -> str:
        """The method as gRPC calls it: "/opsuite.deployer.v1.DeploymentService/Deploy"."""
        return f"/{self.method.containing_service.full_name}/{self.method.name}"

    @property
    def request(self) -> type[Message]:
        """Class of the request."""
        return GetMessageClass(self.method.input_type)

    @property
    def response(self) -> type[Message]:
        """Class of the response, or of each of a stream."""
        return GetMessageClass(self.method.output_type)

    @property
    def is_stream(self) -> bool:
        """Whether the server answers with a stream."""
        return bool(self.method.server_streaming)


class Unbindable(ValueError):
    """An annotation that cannot be served: told when the gateway starts, and by a test before that."""


class Bindings:
    """All bindings of one upstream."""

    def __init__(self, bindings: Sequence[Binding]) -> None:
        self._bindings = bindings
        # Templates that end in a verb are more special than those whose last variable could hold a colon.
        self._by_verb: dict[str, list[Binding]] = {}
        for one in sorted(bindings, key=lambda one: (not one.template.verb, -len(one.template.text))):
            self._by_verb.setdefault(one.verb, []).append(one)

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._bindings)

    def find(self, verb: str, path: str) -> tuple[Binding, Mapping[str, str]] | None:
        """The binding that a request means, and the fields that its path, as it was sent, fills."""
        for one in self._by_verb.get(verb, ()):
            if (fields := one.template.match(path)) is not None:
                return one, fields
        return None

    def verbs_of(self, path: str) -> Sequence[str]:
        """The verbs that a path can be asked with; empty: there is no such path."""
        return sorted(verb for verb in self._by_verb if self.find(verb, path))


def contracts(package: str) -> Sequence[FileDescriptor]:
    """The files of a contract, "opsuite.deployer.v1", by name."""
    found = importlib.import_module(package)
    names = sorted(one.name for one in pkgutil.iter_modules(found.__path__) if one.name.endswith("_pb2"))
    return [importlib.import_module(f"{package}.{name}").DESCRIPTOR for name in names]


def bindings_of(files: Sequence[FileDescriptor]) -> Bindings:
    """Every binding of every annotated method. Raises Unbindable."""
    methods = (method for file in files for service in file.services_by_name.values() for method in service.methods)
    return Bindings([binding for method in methods for binding in _of(method)])


def unbound(files: Sequence[FileDescriptor]) -> Sequence[str]:
    """Full names of the methods that have no annotation."""
    return [
        method.full_name
        for file in files
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.GetOptions().HasExtension(_HTTP)
    ]


def field_at(message: Descriptor, path: str) -> FieldDescriptor:
    """The field at a dotted path. Raises KeyError."""
    *parents, last = path.split(".")
    for name in parents:
        inner = message.fields_by_name[name].message_type
        if inner is None:
            raise KeyError(path)
        message = inner
    return message.fields_by_name[last]


def _of(method: MethodDescriptor) -> Iterator[Binding]:
    options = method.GetOptions()
    if not options.HasExtension(_HTTP):
        return
    rule: http_pb2.HttpRule = options.Extensions[_HTTP]
    for one in (rule, *rule.additional_bindings):
        yield _checked(method, one)


def _checked(method: MethodDescriptor, rule: http_pb2.HttpRule) -> Binding:
    verb = rule.WhichOneof("pattern")
    if verb not in VERBS:
        raise Unbindable(f"{method.full_name}: {verb} is not served")
    if method.client_streaming:
        raise Unbindable(f"{method.full_name}: HTTP cannot carry a stream of requests")
    try:
        path = template(getattr(rule, verb))
        for name in (*path.fields, *([rule.body] if rule.body not in {"", WHOLE} else [])):
            field_at(method.input_type, name)
    except (ValueError, KeyError) as error:
        raise Unbindable(f"{method.full_name}: {error}") from error
    return Binding(method, verb.upper(), path, rule.body)
