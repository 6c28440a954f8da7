"""NOTIFY: tells people, through the receivers that are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opsuite_healer.adapters.actions.action import done, refused
from opsuite_healer.adapters.actions.once import begin
from opsuite_healer.adapters.actions.params import Reader
from opsuite_healer.adapters.unit import SqlStore, SqlUnit
from opsuite_healer.application.actions import ActionCall, ActionResult
from opsuite_healer.application.messages import Messages
from opsuite_healer.application.names import id_of
from opsuite_healer.domain.actions import ActionKind, Parameter, Risk
from opsuite_kernel.clock import Clock
from opsuite_notify.port import TITLE_LIMIT, Message, Severity
from opsuite_telemetry.port import TraceContext


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told to whom."""

    receivers: tuple[str, ...]
    title: str
    text: str
    severity: Severity


class Notify:
    """The message is written together with the mark that it was, so that a repeat writes no second one."""

    kind = ActionKind(
        "NOTIFY",
        "Sends a message to people.",
        Risk.LOW,
        (
            Parameter("receivers", 'Receivers, separated by commas: "receivers/ops,receivers/dba".', is_required=True),
            Parameter("title", "One line; empty means what the action is about."),
            Parameter("text", "The rest; empty means the reason of the action."),
            Parameter("severity", "info, success, warning or error.", default="info"),
        ),
        needs_target=False,
    )

    def __init__(
        self, store: SqlStore, messages_of: Callable[[SqlUnit], Messages], clock: Clock, public_url: str
    ) -> None:
        self._store = store
        self._messages_of = messages_of
        self._clock = clock
        self._public_url = public_url.rstrip("/")

    def read(self, params: Reader) -> Telling:
        """What is told to whom."""
        severity = params.choice("severity", [one.value for one in Severity], Severity.INFO.value)
        title = params.text("title")
        if title and (not title.isprintable() or len(title) > TITLE_LIMIT):
            params.wrong("title", f"must be one printable line of at most {TITLE_LIMIT} characters", "TITLE")
        receivers = tuple(id_of(receiver) for receiver in params.listed("receivers"))
        if not receivers and params.text("receivers"):
            params.wrong("receivers", "must name receivers", "REQUIRED")
        return Telling(receivers, title, params.text("text"), Severity(severity))

    async def prepare(self, call: ActionCall) -> Mapping[str, str]:
        """Nothing."""
        return {}

    async def run(self, call: ActionCall, before: Mapping[str, str]) -> ActionResult:
        """Write the message; it is sent afterwards, as often as it takes."""
        telling = self.read(Reader(call.spec.params))
        message = self._message(telling, call)

        def body(unit: SqlUnit) -> list[str]:
            if not begin(unit, call):
                return []
            return list(self._messages_of(unit).send(telling.receivers, message, about=call.incident or call.actor))

        unknown = await self._store.write(body)
        told = [receiver for receiver in telling.receivers if receiver not in unknown]
        facts = {"receivers": ",".join(told), "unknown": ",".join(unknown)}
        if not told:
            return refused(f"there is no receiver {', '.join(unknown)}", facts | {"reason": "NO_RECEIVER"})
        return done(f"told {', '.join(told)}" + (f"; unknown: {', '.join(unknown)}" if unknown else ""), facts)

    def _message(self, telling: Telling, call: ActionCall) -> Message:
        about = call.target.canonical if call.target else call.incident or call.actor
        trace = TraceContext.parse(call.traceparent)
        fields = {"incident": call.incident, "by": call.actor, "trace": trace.trace_id if trace else ""}
        return Message(
            event="HEALER_MESSAGE",
            title=telling.title or f"About {about}"[:TITLE_LIMIT],
            text=telling.text or call.reason,
            time=self._clock.now(),
            key=call.incident or call.actor,
            severity=telling.severity,
            fields={name: value for name, value in fields.items() if value},
            url=f"{self._public_url}/{call.incident}" if self._public_url and call.incident else "",
        )
