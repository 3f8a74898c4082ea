"""Recipes by name: `python/recipes/<name>.py` defines `recipe() -> RunConfig`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from shortlist.errors import ConfigError
from shortlist.training.config import RunConfig

# Recipes age faster than the library, so they live beside it and not in it.
RECIPES = Path(__file__).resolve().parents[3] / "recipes"


def load_recipe(name: str) -> RunConfig:
    """The configuration of a recipe, by its name (dashes allowed) or by the path of a .py file. Raises ConfigError."""
    path = Path(name) if name.endswith(".py") else RECIPES / f"{name.replace('-', '_')}.py"
    known = sorted(file.stem for file in RECIPES.glob("*.py") if not file.stem.endswith("_test") and file.stem != "plain_loop")
    if not path.is_file():
        raise ConfigError(f"there is no recipe {name!r}", why=f"{path} does not exist", fix=f"use a .py file or one of {', '.join(known)}")
    spec = importlib.util.spec_from_file_location(f"recipe_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.recipe() if hasattr(module, "recipe") else None
    if not isinstance(config, RunConfig):
        raise ConfigError(f"{path} is no recipe", why="it has no function recipe() that returns a RunConfig")
    return config
