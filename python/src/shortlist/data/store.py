"""Data sets on disk: a folder of Parquet frames, `schema.json` and `report.json`."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.data.schema_json import schema_from_dict, schema_to_dict
from shortlist.errors import DataError

SCHEMA_FILE = "schema.json"
_REPORT_FILE = "report.json"
_FRAMES = ("users", "items", "events")


def save(dataset: Dataset, folder: Path) -> None:
    """Writes a new folder; a half-written one never has its name. Raises DataError when the folder exists."""
    if folder.exists():
        raise DataError(f"{folder} exists", why="data sets are not overwritten", fix="remove it or choose another folder")
    temporary = folder.with_name(f".tmp-{folder.name}-{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        for name in _FRAMES:
            getattr(dataset, name).write_parquet(temporary / f"{name}.parquet")
        if dataset.impressions is not None:
            dataset.impressions.write_parquet(temporary / "impressions.parquet")
        _write(temporary / SCHEMA_FILE, schema_to_dict(dataset.schema))
        _write(temporary / _REPORT_FILE, {"name": dataset.name, "report": dataset.report})
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read(folder: Path) -> Dataset:
    """Reads what `save` wrote. Raises DataError or SchemaError."""
    report = _read(folder / _REPORT_FILE)
    impressions = folder / "impressions.parquet"
    try:
        return Dataset(
            name=report["name"],
            schema=schema_from_dict(_read(folder / SCHEMA_FILE)),
            report=report["report"],
            impressions=_read_frame(impressions) if impressions.exists() else None,
            **{name: _read_frame(folder / f"{name}.parquet") for name in _FRAMES},
        )
    except KeyError as error:
        raise DataError(f"{folder / _REPORT_FILE} lacks {error}", fix="save the data set again") from error


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read", why=str(error), fix="give a folder that `shortlist data` wrote") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is not a JSON object", fix="save the data set again")
    return document


def _read_frame(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read", why=str(error).splitlines()[0], fix="save the data set again") from error
