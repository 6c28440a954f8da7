"""What people are told by remediation itself; the rest is told by incidents."""

from __future__ import annotations

from datetime import datetime

from opsuite_healer.domain.remediation.remediation import Decision, Remediation
from opsuite_notify.port import TITLE_LIMIT, Message, Severity


def approval_wanted(remediation: Remediation, decision: Decision, now: datetime) -> Message:
    """Somebody has to approve an action; says how."""
    target = remediation.target.canonical if remediation.target else "no target"
    title = f"Approve {decision.action} on {target}?"[:TITLE_LIMIT]
    fields = {
        "incident": f"incidents/{remediation.incident}" if remediation.incident else "",
        "issue": remediation.issue,
        "target": target,
        "expires": remediation.next_at.isoformat() if remediation.next_at else "",
        "approve": f"opsuite heal approve {remediation.name}",
        "reject": f"opsuite heal reject {remediation.name}",
        "trace": trace_of(remediation.traceparent),
    }
    return Message(
        event="REMEDIATION_APPROVAL_WANTED",
        title="".join(each if each.isprintable() else " " for each in title),
        text=f"The healer proposes {decision.action} for {remediation.issue} on {target}: {decision.message}.",
        time=now,
        key=remediation.name,
        severity=Severity.WARNING,
        fields={name: value for name, value in fields.items() if value},
    )


def trace_of(traceparent: str) -> str:
    """The id of the trace in a W3C trace context; empty where there is none."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""
