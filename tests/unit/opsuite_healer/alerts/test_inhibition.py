"""Which alerts explain which, by a table, and that nothing explains itself away."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from fakes.healer_alerts import a_rule
from hypothesis import given
from hypothesis import strategies as st

from opsuite_healer.domain.alerts.inhibition import InhibitRule, Source, explained, sources_of
from opsuite_healer.domain.alerts.labels import fingerprint

RULE = a_rule('severity="critical"', 'severity=~"warning|info"', "cluster")
BOTH_SIDES = a_rule('s="1"', 't="1"', "e")

Labels = Mapping[str, str]


def explaining(rule: InhibitRule, target: Labels, *firing: Labels) -> list[str]:
    """Fingerprints of those that explain the target."""
    sources: dict[str, list[Source]] = {}
    for labels in firing:
        for source in sources_of([rule], fingerprint(labels), labels):
            sources.setdefault(source.common, []).append(source)
    return [one.by for one in explained([rule], target, lambda common: sources.get(common, ()), fingerprint(target))]


@pytest.mark.parametrize(
    ("rule", "target", "firing", "is_explained"),
    [
        (RULE, {"severity": "warning", "cluster": "a"}, [{"severity": "critical", "cluster": "a"}], True),
        (RULE, {"severity": "warning", "cluster": "a"}, [{"severity": "critical", "cluster": "b"}], False),
        (RULE, {"severity": "error", "cluster": "a"}, [{"severity": "critical", "cluster": "a"}], False),
        (RULE, {"severity": "warning"}, [{"severity": "critical"}], True),  # absent equals absent
        (RULE, {"severity": "warning", "cluster": ""}, [{"severity": "critical"}], True),  # and empty
        (RULE, {"severity": "warning", "cluster": "a"}, [{"severity": "critical"}], False),
        (RULE, {"severity": "warning", "cluster": "a"}, [], False),
        # An alert that matches both sides is not explained by another one that does, as with Alertmanager.
        (BOTH_SIDES, {"s": "1", "t": "1", "e": "1"}, [{"s": "1", "t": "1", "e": "1", "x": "1"}], False),
        (BOTH_SIDES, {"s": "1", "t": "1", "e": "1"}, [{"s": "1", "e": "1"}], True),
        (BOTH_SIDES, {"t": "1", "e": "1"}, [{"s": "1", "t": "1", "e": "1"}], True),
    ],
)
def test_a_source_explains_targets_that_have_the_same_labels(
    rule: InhibitRule, target: Labels, firing: list[Labels], *, is_explained: bool
) -> None:
    assert bool(explaining(rule, target, *firing)) is is_explained


_LABELS = st.dictionaries(st.sampled_from("ste"), st.sampled_from(["", "1"]))


@given(_LABELS)
def test_nothing_explains_itself(labels: Labels) -> None:
    assert not explaining(BOTH_SIDES, labels, labels)


@given(_LABELS, _LABELS)
def test_two_alerts_never_explain_one_another(one: Labels, other: Labels) -> None:
    assert not (explaining(BOTH_SIDES, one, other) and explaining(BOTH_SIDES, other, one))
