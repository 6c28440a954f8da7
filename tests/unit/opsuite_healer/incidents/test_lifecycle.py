"""What becomes of an incident when somebody tells something of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from fakes.clock import NOON
from fakes.healer_incidents import CHECKOUT, a_policy, after, an_incident, minutes, trouble
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.incidents import lifecycle, passing
from opsuite_healer.domain.incidents.changes import Changed, IllegalStep
from opsuite_healer.domain.incidents.due import Tell, Wait, due
from opsuite_healer.domain.incidents.escalation import Progress
from opsuite_healer.domain.incidents.incident import TRANSITIONS, EntryKind, Incident, Resolver, Status, Step
from opsuite_healer.domain.trouble import Severity


def kinds(changed: Changed) -> list[EntryKind]:
    return [entry.kind for entry in changed.entries]


ACTS: dict[Step, Callable[[Incident], Changed]] = {
    Step.ACKNOWLEDGE: lambda one: lifecycle.acknowledged(one, "ann", "", after(1)),
    Step.ACK_EXPIRES: lambda one: passing.ack_expired(one, after(1)),
    Step.ESCALATE: lambda one: lifecycle.escalated(one, "ann", "now", after(1)),
    Step.SNOOZE: lambda one: lifecycle.snoozed(one, after(9), "ann", "", after(1)),
    Step.ABSORB: lambda one: lifecycle.absorbed(one, an_incident(key="k2"), "ann", "", after(1)),
    Step.RESOLVE: lambda one: lifecycle.resolved(one, Resolver.HUMAN, "ann", "", after(1)),
    Step.REOPEN: lambda one: lifecycle.reopened(one, "ann", "", after(1)),
}


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("step", Step)
def test_every_step_leads_where_the_table_says_or_changes_nothing(status: Status, step: Step) -> None:
    incident = replace(an_incident(), status=status)

    if (status, step) in TRANSITIONS:
        assert ACTS[step](incident).incident.status is TRANSITIONS[status, step]
    else:
        with pytest.raises(IllegalStep) as told:
            ACTS[step](incident)
        assert (told.value.incident, told.value.step) == (incident, step)


def test_trouble_opens_an_incident_that_knows_all_of_it() -> None:
    found = trouble(
        annotations={"deployment": "pipelines/shop/environments/live/deployments/01d"}, traceparent="00-a-b-01"
    )
    policy = a_policy()

    incident = lifecycle.opened("01abc", found, policy).incident

    assert (incident.name, incident.key, incident.keys) == ("incidents/01abc", "k1", ("k1",))
    assert (incident.target, incident.severity, incident.opened_at) == (CHECKOUT, Severity.ERROR, NOON)
    assert incident.deployment == "pipelines/shop/environments/live/deployments/01d"
    assert (incident.policy, incident.traceparent, incident.etag) == (policy, "00-a-b-01", "1")


def test_trouble_that_goes_on_is_counted_and_is_no_news() -> None:
    changed = lifecycle.seen_again(an_incident(), trouble(at=after(3)))

    assert (changed.incident.seen_count, changed.incident.last_seen_at) == (2, after(3))
    assert kinds(changed) == []
    assert changed.incident.etag == "1"


def test_what_is_told_late_does_not_turn_the_clock_back() -> None:
    later = lifecycle.seen_again(an_incident(), trouble(at=after(3))).incident

    assert lifecycle.seen_again(later, trouble(at=after(1))).incident.last_seen_at == after(3)


def test_trouble_that_gets_worse_is_news_and_severity_never_falls() -> None:
    worse = lifecycle.seen_again(an_incident(), trouble(severity=Severity.CRITICAL, summary="all is lost"))

    assert kinds(worse) == [EntryKind.WORSE]
    assert (worse.incident.severity, worse.incident.summary) == (Severity.CRITICAL, "all is lost")
    assert lifecycle.seen_again(worse.incident, trouble()).incident.severity is Severity.CRITICAL


def test_the_label_of_the_severity_rises_with_it() -> None:
    worse = lifecycle.seen_again(an_incident(), trouble(severity=Severity.CRITICAL)).incident

    assert worse.labels["severity"] == "CRITICAL"


def test_what_outgrows_its_policy_is_told_from_the_first_level_of_the_new_one_on() -> None:
    told = passing.told(an_incident(), tell(an_incident()), [], after(1)).incident
    critical = a_policy("boss", id="critical")

    early = lifecycle.outgrown(an_incident(), critical, after(2)).incident
    late = lifecycle.outgrown(replace(told, progress=replace(told.progress, begun_at=after(1))), critical, after(2))

    assert (early.policy, early.progress) == (critical, Progress())
    assert (kinds(late), late.incident.progress) == ([EntryKind.REASSIGNED], Progress(after(1), 0, after(2)))


def test_whoever_was_chosen_by_hand_or_is_chosen_again_stays() -> None:
    by_hand = replace(an_incident(), policy=a_policy("ann", id=""))

    assert lifecycle.outgrown(by_hand, a_policy("boss", id="critical"), after(2)) == Changed(by_hand)
    assert lifecycle.outgrown(an_incident(), a_policy("boss"), after(2)) == Changed(an_incident())


def test_trouble_that_is_gone_clears_the_incident_once_and_coming_back_ends_that() -> None:
    clear = lifecycle.gone(an_incident(), "k1", after(1), "healthy again")
    again = lifecycle.gone(clear.incident, "k1", after(2), "healthy again")
    back = lifecycle.seen_again(clear.incident, trouble(at=after(3)))

    assert (kinds(clear), clear.incident.cleared_at) == ([EntryKind.CLEARED], after(1))
    assert again == Changed(clear.incident)
    assert (kinds(back), back.incident.cleared_at) == ([EntryKind.BACK], None)


def test_a_merged_incident_is_clear_when_all_of_its_trouble_is_gone() -> None:
    both = lifecycle.absorbed(an_incident(), an_incident(key="k2"), "ann", "", after(1)).incident

    first = lifecycle.gone(both, "k2", after(2), "").incident
    second = lifecycle.gone(first, "k1", after(3), "").incident

    assert (first.is_clear, second.cleared_at) == (False, after(3))


def test_merging_takes_severity_counts_and_whoever_was_told() -> None:
    other = replace(an_incident(key="k2", severity=Severity.CRITICAL), id="01other", told=("phone",), seen_count=4)
    into = replace(an_incident(), told=("chat",))

    changed = lifecycle.absorbed(into, other, "ann", "", after(1))
    over = lifecycle.merged_into(other, into, "ann", after(1)).incident

    assert changed.incident.keys == ("k1", "k2")
    assert (changed.incident.severity, changed.incident.seen_count) == (Severity.CRITICAL, 5)
    assert changed.incident.told == ("chat", "phone")
    assert (over.status, over.resolved_by, over.merged_into) == (Status.RESOLVED, Resolver.MERGE, into.id)


def test_a_clear_incident_that_takes_over_trouble_that_goes_on_is_clear_no_longer() -> None:
    clear = lifecycle.gone(an_incident(), "k1", after(1), "").incident

    assert not lifecycle.absorbed(clear, an_incident(key="k2"), "ann", "", after(2)).incident.is_clear


def test_the_first_acknowledgement_is_kept_and_the_last_one_counts() -> None:
    first = lifecycle.acknowledged(an_incident(), "ann", "", after(1)).incident
    second = lifecycle.acknowledged(first, "ben", "", after(9)).incident

    assert (second.first_acknowledged_at, second.acknowledged_at) == (after(1), after(9))
    assert second.acknowledged_by == "ben"


def test_giving_up_twice_escalates_once_and_notes_the_reason() -> None:
    once = lifecycle.given_up(an_incident(), "no action", after(1))
    twice = lifecycle.given_up(once.incident, "circuit open", after(2))

    assert (kinds(once), kinds(twice)) == ([EntryKind.ESCALATED], [EntryKind.NOTE])
    assert twice.incident.progress == once.incident.progress
    over = lifecycle.resolved(once.incident, Resolver.HUMAN, "ann", "", after(3)).incident
    assert lifecycle.given_up(over, "late", after(4)) == Changed(over)


def test_giving_up_does_not_take_an_incident_from_whoever_looks_after_it() -> None:
    looked_after = lifecycle.acknowledged(an_incident(), "ann", "", after(1)).incident

    changed = lifecycle.given_up(looked_after, "no action", after(2))

    assert (kinds(changed), changed.incident.status) == ([EntryKind.NOTE], Status.ACKNOWLEDGED)


def test_a_note_may_say_which_deployment_it_began_with() -> None:
    changed = lifecycle.noted(an_incident(), "healer", "began with a rollout", after(1), {"deployment": "d/1"})

    assert changed.incident.deployment == "d/1"
    assert lifecycle.noted(changed.incident, "ann", "hm", after(2)).incident.deployment == "d/1"


def test_a_remediation_stands_on_the_timeline_from_its_beginning_to_its_end() -> None:
    begun = lifecycle.remediating(an_incident(), "remediations/1", after(1))
    ended = lifecycle.remediating(begun.incident, "", after(2))

    assert (kinds(begun), kinds(ended)) == ([EntryKind.REMEDIATING], [EntryKind.REMEDIATED])
    assert lifecycle.remediating(begun.incident, "remediations/1", after(2)) == Changed(begun.incident)


# --- messages


def tell(incident: Incident) -> Tell:
    begun = replace(incident, progress=Progress().begun(after(1)))
    found = due(begun, after(1))
    assert isinstance(found, Tell)
    return found


def test_a_level_without_anybody_who_exists_is_passed_over_at_once() -> None:
    incident = an_incident(a_policy(["chat", "mail"], "phone"))

    some = passing.told(incident, tell(incident), ["mail"], after(1))
    nobody = passing.told(incident, tell(incident), ["chat", "mail"], after(1))

    assert (kinds(some), some.incident.told) == ([EntryKind.TOLD, EntryKind.UNTOLD], ("chat",))
    assert some.incident.progress.due_at == after(16)
    assert (kinds(nobody), nobody.incident.told) == ([EntryKind.UNTOLD], ())
    assert (nobody.incident.progress.turn, nobody.incident.progress.due_at) == (1, after(1))


def test_a_level_that_could_not_be_reached_is_passed_over_at_once() -> None:
    incident = passing.told(an_incident(), tell(an_incident()), [], after(1)).incident

    lost = passing.delivery_ended(incident, "chat", "HTTP 410", is_level_lost=True, now=after(2))
    kept = passing.delivery_ended(incident, "chat", "HTTP 410", is_level_lost=False, now=after(2))
    seen = replace(incident, status=Status.ACKNOWLEDGED)

    assert kinds(lost) == [EntryKind.UNDELIVERED, EntryKind.UNTOLD]
    assert lost.incident.progress.due_at == after(2)
    assert (kinds(kept), kept.incident.progress.due_at) == ([EntryKind.UNDELIVERED], after(16))
    assert kinds(passing.delivery_ended(seen, "chat", "gone", is_level_lost=True, now=after(2))) == [
        EntryKind.UNDELIVERED
    ]


def test_what_keeps_people_from_being_told_stands_on_the_timeline_once() -> None:
    incident = replace(an_incident(), progress=Progress().begun(after(1)))

    first = passing.hushed(incident, ["silences/1"], minutes(1), after(1))
    second = passing.hushed(first.incident, ["silences/1"], minutes(1), after(2))
    other = passing.hushed(second.incident, ["silences/2"], minutes(1), after(3))

    assert [kinds(one) for one in (first, second, other)] == [[EntryKind.HUSHED], [], [EntryKind.HUSHED]]
    assert due(second.incident, after(2)) == Wait(after(3))


def test_once_somebody_looks_after_it_nothing_keeps_anybody_from_being_told() -> None:
    incident = passing.hushed(an_incident(), ["silences/1"], minutes(1), after(1)).incident

    assert lifecycle.acknowledged(incident, "ann", "", after(2)).incident.hushed == ()
    assert lifecycle.resolved(incident, Resolver.HUMAN, "ann", "", after(2)).incident.hushed == ()


# --- properties

acts = st.lists(st.sampled_from([*Step, "seen", "gone", "told"]), max_size=12)


@given(acts)
def test_whatever_happens_every_entry_counts_and_a_resolved_incident_waits_for_nothing(
    happens: list[Step | str],
) -> None:
    incident, entries = an_incident(), 1
    for number, step in enumerate(happens):
        try:
            changed = _act(incident, step, number + 2)
        except IllegalStep:
            continue
        incident, entries = changed.incident, entries + len(changed.entries)

    assert incident.revision == entries
    assert (incident.resolved_at is None) == incident.is_open
    assert (incident.acknowledged_at is not None) == (incident.status is Status.ACKNOWLEDGED)
    if not incident.is_open:
        assert due(incident, after(10_000)) == Wait(None)


def _act(incident: Incident, step: Step | str, number: int) -> Changed:
    if step == "seen":
        return lifecycle.seen_again(incident, trouble(at=after(number))) if incident.is_open else Changed(incident)
    if step == "gone":
        return lifecycle.gone(incident, "k1", after(number), "")
    if step == "told":
        return passing.told(incident, tell(an_incident()), [], after(number)) if incident.is_open else Changed(incident)
    assert isinstance(step, Step)
    return ACTS[step](incident)
