"""One door to every data set: `load("marketplace")`, `load("ml-1m:../shared/data/ml-1m")`, `load("my/mapping.json")`, a saved folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from shortlist.data import store
from shortlist.data.amazon import load_amazon
from shortlist.data.dataset import Dataset
from shortlist.data.generic import load_generic
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.data.movielens import load_ml_1m, load_ml_100k
from shortlist.errors import ConfigError

_FOLDERS: dict[str, Callable[[Path], Dataset]] = {"ml-1m": load_ml_1m, "ml-100k": load_ml_100k, "amazon-beauty": load_amazon}

FORMS = """\
marketplace[:users=2000,items=1500,events=60000,days=60,logged_requests=200000,seed=0]   synthetic
ml-1m:FOLDER  ml-100k:FOLDER  amazon-beauty:FOLDER                                       public data sets
FILE.json                                                                                a mapping of your own files
FOLDER                                                                                   a saved data set"""


def load(spec: str) -> Dataset:
    """Loads a data set by one of `FORMS`. Raises ConfigError for another spec, DataError for bad data."""
    kind, _, rest = spec.partition(":")
    if kind == "marketplace":
        return make_marketplace(_marketplace(rest))
    if kind in _FOLDERS:
        if not rest:
            raise ConfigError(f"{spec!r} names no folder", fix=f"write {kind}:FOLDER")
        return _FOLDERS[kind](Path(rest))
    path = Path(spec)
    if path.suffix == ".json":
        return load_generic(path)
    if (path / store.SCHEMA_FILE).is_file():
        return store.read(path)
    raise ConfigError(f"{spec!r} is no data set", fix=f"use one of\n{FORMS}")


def _marketplace(settings: str) -> MarketplaceConfig:
    known = {field.name for field in fields(MarketplaceConfig)}
    values: dict[str, int] = {}
    for setting in filter(None, settings.split(",")):
        name, _, value = setting.partition("=")
        if name not in known or not value.isdecimal() or not value.isascii():
            raise ConfigError(f"marketplace: {setting!r} is no setting", fix=f"write one of {sorted(known)}, =, and a whole number")
        values[name] = int(value)
    return MarketplaceConfig(**values)
