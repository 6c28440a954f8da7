"""Remediations as people ask for them, approve them, and stop them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opsuite_healer.application.actions import Actions
from opsuite_healer.application.incident_book import IncidentView
from opsuite_healer.application.remediation.considering import brakes_of, case_of
from opsuite_healer.application.remediation.errors import (
    ApprovalExpired,
    EtagMismatch,
    IncidentNotFound,
    IncidentOver,
    NoPolicy,
    NoTarget,
    NotAwaitingApproval,
    OtherStep,
    OwnRequest,
    RemediationNotFound,
    RemediationOver,
    UnderWay,
)
from opsuite_healer.application.remediation.intake import begin as begin_remediation
from opsuite_healer.application.remediation.looking import Looking
from opsuite_healer.application.remediation.observer import Observer
from opsuite_healer.application.remediation.policies import require as require_policy
from opsuite_healer.application.remediation.recording import Loaded, circuit_undecided, finish, note, rested
from opsuite_healer.application.remediation.records import PART, PolicyRecord
from opsuite_healer.application.remediation.store import Store, Tx
from opsuite_healer.application.unit import begin
from opsuite_healer.application.unit import finish as finish_call
from opsuite_healer.domain.remediation.matching import choose
from opsuite_healer.domain.remediation.plan import Verdict, evaluate, plan
from opsuite_healer.domain.remediation.remediation import BUSY, Decision, Remediation, State, follow
from opsuite_healer.domain.targets import TargetRef
from opsuite_healer.domain.trouble import Severity, target_labels
from opsuite_kernel.ids import new_id
from opsuite_runs.port import Call

MANUAL = "MANUAL"
"""Type of the issue where a person names none."""


@dataclass(frozen=True, slots=True)
class Issue:
    """What is to be mended, or evaluated: an incident, or what its fields would be."""

    incident: str = ""
    """Id; empty: there is none."""
    issue: str = MANUAL
    target: TargetRef | None = None
    severity: Severity = Severity.ERROR
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    policy: str = ""
    """Id of the policy that is wanted; empty: the one that covers it."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person says of a proposed action."""

    remediation: str
    step: int | None
    """None: whatever is proposed."""
    reason: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What would be done."""

    record: PolicyRecord | None
    decisions: Sequence[Decision]
    step: int
    """The step that would be taken, or proposed; -1: none."""


class Remediations:
    """The use cases of people."""

    def __init__(self, store: Store, looking: Looking, actions: Actions, observer: Observer) -> None:
        self._store = store
        self._looking = looking
        self._actions = actions
        self._observer = observer

    async def evaluate(self, issue: Issue) -> Evaluation:
        """What would be done now; nothing is recorded. Raises IncidentNotFound, PolicyNotFound."""
        view, record = await self._store.read(lambda tx: _covered(tx, issue))
        if record is None:
            return Evaluation(None, (), -1)
        seen = await self._looking.seen(view.target, view.labels, record.policy.fleet)
        kinds = {kind.name: kind for kind in self._actions.kinds()}

        def body(tx: Tx) -> Evaluation:
            loaded = Loaded(_imagined(view, record), (), view)
            case, brakes = case_of(loaded, record.policy), brakes_of(tx, loaded.remediation, lock=False)
            found = plan(case, seen, brakes, kinds, tx.now())
            step = found.step if found.verdict in {Verdict.ACT, Verdict.ASK} else -1
            return Evaluation(record, evaluate(case, seen, brakes, kinds, tx.now()), step)

        return await self._store.read(body)

    async def heal(self, issue: Issue, call: Call) -> Remediation:
        """Begin a remediation that a person wants.

        Raises IncidentNotFound, IncidentOver, PolicyNotFound, NoPolicy, NoTarget, UnderWay.
        """

        def body(tx: Tx) -> Remediation:
            if (earlier := begin(tx, call)) is not None:
                return require(tx, earlier)
            view, record = _covered(tx, issue)
            if record is None:
                raise NoPolicy(view.issue)
            if issue.incident and not view.is_open:
                raise IncidentOver(issue.incident)
            if view.target is None and not issue.incident:
                raise NoTarget(issue.incident)
            _require_free(tx, view)
            began = self._begin(tx, view, record, call.actor)
            note(tx, began, f"{call.actor} asks for a remediation. {issue.reason}".strip(), actor=call.actor)
            finish_call(tx, call, began.id)
            return began

        return await self._store.write(body)

    async def get(self, remediation: str) -> Remediation:
        """A remediation. Raises RemediationNotFound."""
        return await self._store.read(lambda tx: require(tx, remediation))

    async def cancel(self, remediation: str, reason: str, etag: str, call: Call) -> Remediation:
        """Stop a remediation before its next action. Raises RemediationNotFound, RemediationOver, EtagMismatch."""

        def change(tx: Tx, present: Remediation) -> Remediation:
            if present.is_over:
                raise RemediationOver(present.name, present.state.value)
            note(tx, present, f"{call.actor} stops the remediation. {reason}".strip(), actor=call.actor)
            if present.state is State.ACTING:  # what was begun is not broken off
                return tx.put(replace(present, cancelled_by=call.actor))
            if present.state is State.RESTING:
                return rested(tx, present)
            if present.state is State.VERIFYING:
                circuit_undecided(tx, present, present.steps[present.step].action.kind)
            return finish(tx, present, State.CANCELLED, "CANCELLED", f"stopped by {call.actor}")

        return await self._change(remediation, etag, call, change)

    async def approve(self, approval: Approval, call: Call) -> Remediation:
        """Let the proposed action be taken. Raises what `_require_proposed` does, RemediationNotFound, EtagMismatch."""

        def change(tx: Tx, present: Remediation) -> Remediation:
            _require_proposed(tx, present, approval, call.actor)
            told = f"{call.actor} approves {present.steps[present.step].action.kind}. {approval.reason}".strip()
            note(tx, present, told, actor=call.actor)
            approved = follow(present, State.PENDING, "APPROVED", f"approved by {call.actor}")
            return tx.put(replace(approved, approved_step=present.step, approved_by=call.actor, next_at=None))

        return await self._change(approval.remediation, approval.etag, call, change)

    async def reject(self, approval: Approval, call: Call) -> Remediation:
        """Refuse the proposed action. Raises as `approve` does."""

        def change(tx: Tx, present: Remediation) -> Remediation:
            _require_proposed(tx, present, approval, "")
            told = f"{call.actor} rejects {present.steps[present.step].action.kind}. {approval.reason}".strip()
            return finish(tx, present, State.REJECTED, "REJECTED", told)

        return await self._change(approval.remediation, approval.etag, call, change)

    async def _change(
        self, remediation: str, etag: str, call: Call, change: Callable[[Tx, Remediation], Remediation]
    ) -> Remediation:
        def body(tx: Tx) -> Remediation:
            if begin(tx, call) is not None:
                return require(tx, remediation)
            present = tx.locked(remediation)
            if present is None:
                raise RemediationNotFound(remediation)
            if etag and etag != str(present.revision):
                raise EtagMismatch(present.name, etag, str(present.revision))
            changed = change(tx, present)
            finish_call(tx, call, remediation)
            tx.nudge(PART, remediation)
            return changed

        changed = await self._store.write(body)
        if changed.end and changed.end is not State.SUCCEEDED:
            self._observer.ended(changed)
        return changed

    def _begin(self, tx: Tx, view: IncidentView, record: PolicyRecord, actor: str) -> Remediation:
        if view.id:
            return begin_remediation(tx, view, self._observer, by=actor, record=record)
        trace = self._observer.begun(view.issue, "", "")
        began = tx.add(replace(_imagined(view, record), requested_by=actor, traceparent=trace), record.document)
        tx.nudge(PART, began.id)
        return began


def require(tx: Tx, remediation: str) -> Remediation:
    """A remediation. Raises RemediationNotFound."""
    found = tx.remediation(remediation)
    if found is None:
        raise RemediationNotFound(remediation)
    return found


def _covered(tx: Tx, issue: Issue) -> tuple[IncidentView, PolicyRecord | None]:
    """The incident, or one that is made up, and its policy. Raises IncidentNotFound, PolicyNotFound."""
    view = _view(tx, issue)
    if issue.policy:
        return view, require_policy(tx, issue.policy)
    records = {one.id: one for one in tx.policies()}
    chosen = choose([one.policy for one in records.values()], view.issue, view.severity, view.labels)
    return view, records[chosen.id] if chosen else None


def _view(tx: Tx, issue: Issue) -> IncidentView:
    if issue.incident:
        found = tx.book.incident(issue.incident)
        if found is None:
            raise IncidentNotFound(issue.incident)
        return found
    now = tx.now()
    own = {"issue": issue.issue, "severity": issue.severity.name.lower(), **target_labels(issue.target)}
    return IncidentView(
        id="",
        key="",
        issue=issue.issue,
        severity=issue.severity,
        target=issue.target,
        summary="",
        labels={**issue.labels, **own},
        opened_at=now,
        last_seen_at=now,
        is_open=True,
        is_acknowledged=False,
        is_clear=False,
    )


def _imagined(view: IncidentView, record: PolicyRecord) -> Remediation:
    """What a remediation would be at its beginning."""
    return Remediation(
        id=new_id(view.last_seen_at),
        incident=view.id,
        round=1,
        issue=view.issue,
        target=view.target,
        policy=record.policy,
        policy_number=record.number,
        state=State.PENDING,
        created_at=view.last_seen_at,
        began_at=view.opened_at,
        labels=view.labels,
    )


def _require_free(tx: Tx, view: IncidentView) -> None:
    """Raises UnderWay (for the clear message; the unique index is the judge)."""
    busy = tx.busy_on(view.target.canonical) if view.target else None
    last = tx.last_of([view.id]).get(view.id) if view.id else None
    if busy is None and last is not None and last.state in BUSY:
        busy = last
    if busy is not None:
        raise UnderWay(busy.name)


def _require_proposed(tx: Tx, present: Remediation, approval: Approval, approver: str) -> None:
    """Raises NotAwaitingApproval, OtherStep, ApprovalExpired, OwnRequest."""
    if present.state is not State.AWAITING_APPROVAL:
        raise NotAwaitingApproval(present.name, present.state.value)
    if approval.step is not None and approval.step != present.step:
        raise OtherStep(approval.step, present.step)
    if present.next_at is not None and tx.now() >= present.next_at:
        raise ApprovalExpired(present.name)
    by_somebody_else = present.policy is not None and present.policy.approval.by_somebody_else
    if by_somebody_else and approver == present.requested_by:
        raise OwnRequest(present.name)
