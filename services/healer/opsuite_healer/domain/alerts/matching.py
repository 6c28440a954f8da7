"""What is asked of labels: matchers, as Alertmanager and its clients write them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from opsuite_healer.domain.alerts.patterns import BadPattern, compiled
from opsuite_kernel.errors import Violation


class Operator(Enum):
    """How a matcher compares. Expressions match the whole value."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    NOT_MATCHES = "!~"


@dataclass(frozen=True, slots=True)
class Matcher:
    """What is asked of one label; one that is absent has an empty value."""

    label: str
    operator: Operator
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels are as it asks. Raises BadPattern, for a matcher that was not checked."""
        found = labels.get(self.label, "")
        match self.operator:
            case Operator.EQUAL:
                return found == self.value
            case Operator.NOT_EQUAL:
                return found != self.value
            case Operator.MATCHES:
                return compiled(self.value).matches(found)
            case Operator.NOT_MATCHES:
                return not compiled(self.value).matches(found)

    def problem(self) -> str:
        """What is wrong with it, for people; empty when nothing is."""
        if self.operator in {Operator.MATCHES, Operator.NOT_MATCHES}:
            try:
                compiled(self.value)
            except BadPattern as error:
                return f"{self.value[:100]!r} is no expression: {error}"
        return ""

    def __str__(self) -> str:
        """As Alertmanager writes it: `job=~"api|web"`."""
        return f"{self.label}{self.operator.value}{json.dumps(self.value, ensure_ascii=False)}"


_MATCHER: Final = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


def parse(text: str) -> Matcher:
    """The matcher of `name="value"`, `name=~value` and so on, with or without braces around it. Raises ValueError."""
    found = _MATCHER.fullmatch(text.removeprefix("{").removesuffix("}"))
    if found is None:
        raise ValueError(f'{text[:200]!r} is no matcher such as severity=~"critical|page"')
    name, operator, value = found.groups()
    if value.startswith('"'):
        try:
            value = json.loads(value, strict=False)
        except ValueError as error:
            raise ValueError(f"{text[:200]!r}: the value is not quoted well") from error
    matcher = Matcher(name, Operator(operator), str(value))
    if problem := matcher.problem():
        raise ValueError(problem)
    return matcher


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher is satisfied; none asks for nothing."""
    for matcher in matchers:  # noqa: SIM110 - all() takes twice as long, and every alert is asked by every route
        if not matcher.matches(labels):
            return False
    return True


def problems(matchers: Sequence[Matcher], field: str) -> list[Violation]:
    """What is wrong with matchers, by their places."""
    found = ((index, matcher.problem()) for index, matcher in enumerate(matchers))
    return [Violation(f"{field}[{index}].value", problem, "PATTERN") for index, problem in found if problem]


def matches_nothing_absent(matchers: Iterable[Matcher]) -> bool:
    """Whether at least one asks for a label to be there: without that they match everything there is."""
    return any(not matcher.matches({}) for matcher in matchers)
