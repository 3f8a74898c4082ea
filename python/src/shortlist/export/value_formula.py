"""Value formulas as text: "click + 0.5*purchase^0.5*price" is click's probability plus half the root of purchase's times the price."""

from __future__ import annotations

import re

from shortlist.errors import ConfigError
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.schema import Op, Schema

_PLUS = re.compile(r"(?<!\de)\+")  # not the sign of an exponent: 1e+3
_FACTOR = re.compile(r"(?P<number>-?\d+(\.\d+)?(e[+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)(\^(?P<exponent>\d+(\.\d+)?))?")


def parse(text: str, schema: Schema) -> pb.ValueFormula:
    """A sum of products of one task (with an exponent), an optional weight and an optional item column of numbers.

    Raises ConfigError that quotes the part it cannot read.
    """
    return pb.ValueFormula(terms=[_term(part.strip(), schema) for part in _PLUS.split(text)])


def to_text(formula: pb.ValueFormula) -> str:
    """The text that `parse` reads."""
    return " + ".join(_term_text(term) for term in formula.terms)


def _term(part: str, schema: Schema) -> pb.ValueTerm:
    columns = {column.name for column in schema.item if column.op is Op.NUMBER}
    term = pb.ValueTerm(weight=1.0, exponent=1.0)
    for factor in (factor.strip() for factor in part.split("*")):
        match = _FACTOR.fullmatch(factor)
        if match is None:
            raise _error(part, f"{factor!r} is neither a number nor a name")
        if match["number"]:
            term.weight *= float(match["number"])
        elif match["name"] in schema.tasks and not term.task:
            term.task, term.exponent = match["name"], float(match["exponent"] or 1.0)
        elif match["name"] in columns and not term.item_column and match["exponent"] is None:
            term.item_column = match["name"]
        else:
            raise _error(part, f"{factor!r} is no task ({', '.join(schema.tasks)}) and no item number ({', '.join(sorted(columns))})")
    if not term.task:
        raise _error(part, "it names no task")
    return term


def _term_text(term: pb.ValueTerm) -> str:
    factors = [f"{term.weight:.12g}"] if term.weight != 1 else []
    factors.append(term.task if term.exponent == 1 else f"{term.task}^{term.exponent:.12g}")
    return "*".join([*factors, *([term.item_column] if term.item_column else [])])


def _error(part: str, why: str) -> ConfigError:
    return ConfigError(f"the value formula has the term {part!r}", why=why, fix='write for example "click + 0.5*purchase^0.5*price"')
