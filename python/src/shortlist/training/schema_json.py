"""A schema as JSON, for run.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from shortlist.errors import SchemaError
from shortlist.schema import Column, CrossFeature, Op, Schema


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Plain dicts and lists."""
    return dataclasses.asdict(schema)


def schema_from_json(values: Mapping[str, Any]) -> Schema:
    """The schema that `schema_to_json` wrote. Raises SchemaError."""
    try:
        roles = {role: tuple(_column(column) for column in values[role]) for role in ("user", "context", "item")}
        rest = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        arguments: dict[str, Any] = {**rest, **roles, "cross": tuple(CrossFeature(**cross) for cross in values["cross"])}
        return Schema(**arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise SchemaError("the stored schema cannot be read", why=f"{type(error).__name__}: {error}") from error


def _column(values: Mapping[str, Any]) -> Column:
    return Column(**{**values, "op": Op(values["op"]), "vocabulary": tuple(values["vocabulary"])})
