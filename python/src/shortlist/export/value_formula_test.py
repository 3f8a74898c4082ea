"""Value formulas as text."""

from __future__ import annotations

import pytest

from shortlist.errors import ConfigError
from shortlist.export.value_formula import parse, to_text
from shortlist.testing.toy_data import toy_dataset

SCHEMA = toy_dataset().schema


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("click", [("click", 1.0, 1.0, "")]),
        ("click + 0.5*purchase^0.5*price", [("click", 1.0, 1.0, ""), ("purchase", 0.5, 0.5, "price")]),
        ("2*click*3+-1*purchase", [("click", 6.0, 1.0, ""), ("purchase", -1.0, 1.0, "")]),
        ("1e+3*price*click", [("click", 1000.0, 1.0, "price")]),
    ],
)
def test_formulas_are_read_and_written(text: str, terms: list[tuple[str, float, float, str]]) -> None:
    formula = parse(text, SCHEMA)
    assert [(term.task, term.weight, term.exponent, term.item_column) for term in formula.terms] == terms
    assert parse(to_text(formula), SCHEMA) == formula


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("", "no task|neither"), ("0.5*price", "no task"), ("clicks", "clicks"), ("click*category", "category"), ("click*(2)", r"\(2\)")],
)
def test_faults_are_quoted(text: str, quoted: str) -> None:
    with pytest.raises(ConfigError, match=quoted):
        parse(text, SCHEMA)
