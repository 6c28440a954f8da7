"""Formulas in CEL, by the real library."""

from __future__ import annotations

import pytest

from opsuite_kernel.errors import InvalidInput
from opsuite_scaler.adapters.formulas import CelFormulas
from opsuite_scaler.domain.expressions import FormulaFailed

VALUES = {"a": 6.0, "b": 2.0, "dead": None, "gone": None, "a1": 5.0, "e2": 7.0}
FORMULAS = CelFormulas()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", 6),
        ("a + b * 2", 10),
        ("a / 4", 1.5),
        ("5 / 2", 2.5),
        ("-a + 10", 4),
        ("a1 + e2", 12),
        ("1.5e1 + .5 + 1e2 + 2", 117.5),
        ("min(a, b, 3)", 2),
        ("max(a, b, 30)", 30),
        ("avg(a, b, 1)", 3),
        ("clamp(a, 0, 4)", 4),
        ("clamp(a, 7, 9)", 7),
        ("clamp(a, 0, 9)", 6),
        ("a > 5 ? b : 0", 2),
        ("a == 6 && b != 2 ? 1 : 3", 3),
        ("coalesce(dead, b)", 2),
        ("coalesce(dead, gone, 8)", 8),
        ("dead == null ? b : dead", 2),
        ("[a, b][1]", 2),
        ("'1' == '1' ? 4 : 5", 4),
    ],
)
def test_an_expression_gives_a_number(expression: str, expected: float) -> None:
    assert FORMULAS(expression, VALUES) == expected
    assert FORMULAS(expression, VALUES) == expected, "also from the cache"


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("dead + 1", id="something is computed from what has no value"),
        pytest.param("max(a, dead)", id="even by a function"),
        pytest.param("avg(dead)", id="or from it alone"),
        pytest.param("dead", id="it has none itself"),
        pytest.param("coalesce(dead, gone)", id="nothing has one"),
        pytest.param("a > b", id="a truth is no number"),
        pytest.param("'6'", id="a text is none"),
        pytest.param("stranger + 1", id="nobody knows it"),
        pytest.param("a +", id="it does not compile"),
        pytest.param("max()", id="a function of nothing"),
        pytest.param("clamp(a, 1)", id="an argument is missing"),
        pytest.param("a.b", id="numbers have no fields"),
    ],
)
def test_what_has_no_value_is_a_failure_and_never_zero(expression: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FormulaFailed):
        FORMULAS(expression, VALUES)

    assert capfd.readouterr() == ("", ""), "the library prints what goes wrong in functions"


def test_dividing_by_zero_gives_no_finite_number() -> None:
    assert FORMULAS("a / 0", VALUES) == float("inf")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a + b", {"a", "b"}),
        ("max(a, 2) * a", {"a"}),
        ("1 + 2", set()),
        ("coalesce(x, y, 'z' == 'z' ? 1 : 0)", {"x", "y"}),
    ],
)
def test_the_metrics_of_an_expression_are_known_without_evaluating_it(expression: str, expected: set[str]) -> None:
    assert FORMULAS.names(expression) == expected


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("a +", "FORMULA"),
        ("", "FORMULA"),
        ("sqrt(a)", "FORMULA"),
        ("size('aaa')", "FORMULA"),
        ("[1, 2].map(x, x * a)", "FORMULA"),
        ("'a'.matches('a+')", "FORMULA"),
        ("a" * 4097, "MAX_LEN"),
    ],
)
def test_what_is_no_formula_is_refused_before_it_is_used(expression: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        FORMULAS.names(expression)

    assert [(violation.field, violation.reason) for violation in caught.value.violations] == [("", reason)]


def test_the_functions_that_there_are_are_named_when_one_is_missing() -> None:
    with pytest.raises(InvalidInput, match="calls sqrt; known are avg, clamp, coalesce, max, min"):
        FORMULAS.names("sqrt(a)")
