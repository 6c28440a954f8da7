"""All that can be wrong with a runbook, or with what an execution is told, beyond the shape of single fields. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from opsuite_healer.domain.actions import ActionSpec
from opsuite_healer.domain.runbooks.runbook import OnFailure, Runbook, RunbookStep
from opsuite_healer.domain.runbooks.templates import ROOTS, references
from opsuite_kernel.errors import InvalidInput, Violation
from opsuite_validation.values import matching

JudgeAction = Callable[[ActionSpec, str], Sequence[Violation]]
"""All that is wrong with an action; the text is where it stands."""
NamesIn = Callable[[str], Collection[str]]
"""Names that a condition uses. Raises InvalidInput, with violations at an empty path."""

CONDITION_NAMES: Final = frozenset({"params", "target", "incident", "steps", "execution", "answers"})
TARGET_FIELDS: Final = frozenset({"platform", "workload", "replica", "namespace"})
STEP_FIELDS: Final = frozenset({"status", "message"})


def violations(runbook: Runbook, judge: JudgeAction, names_in: NamesIn) -> list[Violation]:
    """All that is wrong with a runbook."""
    found = [
        *_patterns((f"parameters[{index}].pattern", one.pattern) for index, one in enumerate(runbook.parameters)),
        *_unfit_defaults(runbook),
    ]
    for index, step in enumerate(runbook.steps):
        found += [violation.below(f"steps[{index}]") for violation in _step(runbook, step, judge, names_in)]
    return found


def misfits(runbook: Runbook, params: Mapping[str, str]) -> list[Violation]:
    """All that is wrong with what an execution is told."""
    known = {one.name: one for one in runbook.parameters}
    found = [
        Violation(f'params["{name[:64]}"]', f"is no parameter of {runbook.name}", "UNKNOWN_PARAMETER")
        for name in params
        if name not in known
    ]
    for one in runbook.parameters:
        value = params.get(one.name) or one.default
        if not value and one.is_required:
            found.append(Violation(f'params["{one.name}"]', "is required", "REQUIRED"))
        elif value and one.pattern and (why := matching(one.pattern)(value)):
            found.append(Violation(f'params["{one.name}"]', why, "PATTERN"))
    return found


def _step(runbook: Runbook, step: RunbookStep, judge: JudgeAction, names_in: NamesIn) -> Iterator[Violation]:
    names = {one.name for one in runbook.steps}
    if step.action is None and step.inquiry is None:
        yield Violation("action", "a step needs an action or an inquiry", "REQUIRED")
    if step.on_failure is OnFailure.GOTO and step.goto not in names:
        yield Violation("goto_step", "must name a step of the runbook", "UNKNOWN_STEP")
    if step.on_failure is not OnFailure.GOTO and step.goto:
        yield Violation("goto_step", "belongs to ON_FAILURE_GOTO alone", "MISFIT")
    if step.compensate is not None and step.action is None:
        yield Violation("compensate", "there is no action to take back", "MISFIT")
    if step.retry.delay > step.retry.max_delay:
        yield Violation("retry.delay", "is longer than max_delay", "RANGE")
    yield from _condition(step.when, names_in)
    for field, action in (("action", step.action), ("compensate", step.compensate)):
        if action is not None:
            yield from _action(runbook, action, field, judge)
    if step.inquiry is not None:
        yield from _patterns(
            (f"inquiry.fields[{index}].pattern", one.pattern) for index, one in enumerate(step.inquiry.fields)
        )


def _condition(when: str, names_in: NamesIn) -> Iterator[Violation]:
    if not when:
        return
    try:
        unknown = sorted(set(names_in(when)) - CONDITION_NAMES)
    except InvalidInput as error:
        yield from (Violation("when", one.description, one.reason) for one in error.violations)
        return
    if unknown:
        known = ", ".join(sorted(CONDITION_NAMES))
        yield Violation("when", f"names {', '.join(unknown)}; what it knows is {known}", "UNKNOWN_NAME")


def _action(runbook: Runbook, action: ActionSpec, field: str, judge: JudgeAction) -> Iterator[Violation]:
    """What a parameter is once it is filled in nobody knows yet, so that it is judged when it is."""
    open_ones = {name for name, value in action.params.items() if "${" in value}
    for violation in judge(action, field):
        if not any(violation.field == f'{field}.params["{name[:64]}"]' for name in open_ones):
            yield violation
    for name in sorted(open_ones):
        for reference in references(action.params[name]):
            if why := _wrong_reference(runbook, reference):
                yield Violation(f'{field}.params["{name[:64]}"]', f"${{{reference[:64]}}} {why}", "TEMPLATE")


def _wrong_reference(runbook: Runbook, reference: str) -> str:
    """Why a reference can never lead anywhere; empty if it may."""
    root, *words = reference.split(".")
    steps = {one.name: one for one in runbook.steps}
    match root, words:
        case "params", [name] if name in {one.name for one in runbook.parameters}:
            return ""
        case "target", [name] if name in TARGET_FIELDS:
            return ""
        case (("incident" | "execution"), []):
            return ""
        case "steps", [name, field] if name in steps and field in STEP_FIELDS:
            return ""
        case "steps", [name, "facts", _, *_] if name in steps:
            return ""
        case "answers", [name, field] if name in steps and field in _answers(steps[name]):
            return ""
        case "steps", [name, "answers", field] if name in steps and field in _answers(steps[name]):
            return ""
        case _ if root not in ROOTS:
            return f"is not known; references begin with {', '.join(ROOTS)}"
        case _:
            return "leads nowhere"


def _answers(step: RunbookStep) -> set[str]:
    return {one.name for one in step.inquiry.fields} if step.inquiry else set()


def _patterns(patterns: Iterator[tuple[str, str]]) -> Iterator[Violation]:
    for field, pattern in patterns:
        try:
            if pattern:
                matching(pattern)
        except ValueError as error:
            yield Violation(field, str(error), "PATTERN")


def _unfit_defaults(runbook: Runbook) -> Iterator[Violation]:
    for index, one in enumerate(runbook.parameters):
        try:
            why = matching(one.pattern)(one.default) if one.pattern and one.default else None
        except ValueError:
            why = None  # the pattern itself is told
        if why:
            yield Violation(f"parameters[{index}].default_value", why, "PATTERN")
