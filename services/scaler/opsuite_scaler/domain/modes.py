"""What a mode lets through. A person set it, so it binds corrections too; after its time it is ACTIVE."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from opsuite_scaler.domain.decision import Verdict
from opsuite_scaler.domain.draft import Draft
from opsuite_scaler.domain.policy import Mode, ModeSetting

REASONS: Final[Mapping[Mode, str]] = {
    Mode.PAUSED: "Paused",
    Mode.SCALE_UP_ONLY: "ScaleUpOnly",
    Mode.SCALE_DOWN_ONLY: "ScaleDownOnly",
}


def mode_at(setting: ModeSetting, now: datetime) -> Mode:
    """The mode that holds at `now`; its end is outside of it."""
    if setting.until is not None and now >= setting.until:
        return Mode.ACTIVE
    return setting.mode


def keep_to_mode(draft: Draft) -> None:
    """Withhold what the mode forbids; a pause always says so."""
    mode = mode_at(draft.policy.mode, draft.now)
    forbidden = (
        mode is Mode.PAUSED
        or (mode is Mode.SCALE_UP_ONLY and draft.wanted < draft.current)
        or (mode is Mode.SCALE_DOWN_ONLY and draft.wanted > draft.current)
    )
    if forbidden:
        _withhold(draft, mode)


def rehearse(draft: Draft) -> None:
    """Dry run: the decision is made to the end, and told to be one that nobody acts on."""
    if draft.wanted != draft.current and mode_at(draft.policy.mode, draft.now) is Mode.DRY_RUN:
        draft.note("dry_run", draft.wanted, "DryRun", f"nothing is done: {_told(draft, Mode.DRY_RUN)}", {})


def _withhold(draft: Draft, mode: Mode) -> None:
    message = f"stays at {draft.current}, {draft.wanted} wanted: {_told(draft, mode)}"
    draft.withhold("mode", REASONS[mode], message, Verdict.NO_CHANGE)


def _told(draft: Draft, mode: Mode) -> str:
    setting = draft.policy.mode
    by = f" by {setting.author}" if setting.author else ""
    until = f" until {setting.until.isoformat()}" if setting.until else ""
    why = f": {setting.reason}" if setting.reason else ""
    return f"{mode.value}{by}{until}{why}"
