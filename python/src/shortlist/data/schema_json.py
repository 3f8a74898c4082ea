"""A schema as JSON and back. Fields that have their default may be absent; everything wrong is reported at once."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from typing import Any

from shortlist.errors import SchemaError
from shortlist.schema import Column, CrossFeature, Op, Schema

_COLUMN_LISTS = ("user", "context", "item")
_NAME_LISTS = ("actions", "tasks")
_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "tuple[str, ...]": (list, tuple),
}


def schema_to_dict(schema: Schema) -> dict[str, Any]:
    """Plain JSON values. Defaults of columns are left out."""
    document = asdict(schema)
    for role in _COLUMN_LISTS:
        document[role] = [_column_to_dict(column) for column in getattr(schema, role)]
    return document


def schema_from_dict(document: dict[str, Any]) -> Schema:
    """Raises SchemaError that lists every unknown key, missing key and wrong type."""
    faults: list[str] = []
    known = {field.name for field in fields(Schema)}
    faults += [f"unknown key {key!r}" for key in document if key not in known]
    faults += [f"missing key {field.name!r}" for field in fields(Schema) if field.default is MISSING and field.name not in document]
    values = {key: value for key, value in document.items() if key in known}
    for role in _COLUMN_LISTS:
        values[role] = tuple(_parse(Column, entry, f"{role}[{i}]", faults) for i, entry in enumerate(_listed(values, role, faults)))
    values["cross"] = tuple(_parse(CrossFeature, entry, f"cross[{i}]", faults) for i, entry in enumerate(_listed(values, "cross", faults)))
    for name in _NAME_LISTS:
        values[name] = tuple(_listed(values, name, faults))
        faults += [f"{name} must be texts" for entry in values[name] if not isinstance(entry, str)][:1]
    for name in ("history_max_events", "history_step"):
        if name in values and (not isinstance(values[name], int) or isinstance(values[name], bool)):
            faults.append(f"{name} must be an integer")
    if not isinstance(values.get("event_times", False), bool):
        faults.append("event_times must be true or false")
    if values.get("item_id", "int64") not in ("int64", "string"):
        faults.append(f"item_id must be 'int64' or 'string', not {values['item_id']!r}")
    if faults:
        raise SchemaError("the schema cannot be read:\n- " + "\n- ".join(faults), fix="see docs/guides/data.md")
    return Schema(**values)


def _column_to_dict(column: Column) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(Column)}
    return {name: value for name, value in asdict(column).items() if value != defaults[name]}


def _listed(values: dict[str, Any], name: str, faults: list[str]) -> list[Any]:
    value = values.get(name, [])
    if isinstance(value, list | tuple):
        return list(value)
    faults.append(f"{name} must be a list")
    return []


def _parse(kind: type[Column] | type[CrossFeature], entry: Any, where: str, faults: list[str]) -> Column | CrossFeature | None:
    if not isinstance(entry, dict):
        faults.append(f"{where} must be an object")
        return None
    types = {field.name: str(field.type) for field in fields(kind)}
    found = [f"{where} has the unknown key {key!r}" for key in entry if key not in types]
    found += [f"{where} lacks {field.name!r}" for field in fields(kind) if field.default is MISSING and field.name not in entry]
    values = {}
    for name, value in entry.items():
        if types.get(name) == "Op":
            found += [] if value in list(Op) else [f"{where}.op must be one of {[op.value for op in Op]}, not {value!r}"]
            values[name] = value
        elif name in types:
            fits = isinstance(value, _KINDS[types[name]]) and (isinstance(value, bool) == (types[name] == "bool"))
            listed = not isinstance(value, list | tuple) or all(isinstance(text, str) for text in value)
            found += [] if fits and listed else [f"{where}.{name} must be {types[name]}, not {value!r}"]
            values[name] = tuple(value) if isinstance(value, list) else value
    faults += found
    if found:
        return None
    return kind(**(values | ({"op": Op(values["op"])} if "op" in values else {})))
