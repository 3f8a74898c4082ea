"""Configurations as JSON and as texts from the command line."""

from __future__ import annotations

import json

import pytest

from shortlist.errors import ConfigError
from shortlist.training.config import RunConfig, from_json, override, to_json
from shortlist.training.recipe import RECIPES, load_recipe

NAMES = sorted(path.stem for path in RECIPES.glob("*.py") if path.stem != "plain_loop" and not path.stem.endswith("_test"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_survives_json(name: str) -> None:
    config = load_recipe(name)
    assert from_json(RunConfig, json.loads(json.dumps(to_json(config)))) == config


def test_recipes_may_be_written_with_dashes_or_as_a_path() -> None:
    assert load_recipe("ml-1m") == load_recipe(str(RECIPES / "ml_1m.py"))


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="marketplace_demo"):
        load_recipe("nothing")


def test_a_file_without_a_recipe_is_refused(tmp_path: object) -> None:
    path = f"{tmp_path}/empty.py"
    with open(path, "w") as file:
        file.write("x = 1\n")
    with pytest.raises(ConfigError, match="no function recipe"):
        load_recipe(path)


def test_overrides_reach_nested_values_of_every_kind() -> None:
    config = override(
        load_recipe("marketplace_demo"),
        {
            "seed": "7",
            "split": "leave-one-out",
            "two_tower.optimisation.learning_rate": "3e-4",
            "two_tower.action_weights": "1, 2.5, 4",
            "ranker.pretrained_items": "false",
            "preranker.model.ablate": "session, heads",
        },
    )
    assert config.preranker.model.ablate == ("session", "heads")
    assert (config.seed, config.split, config.ranker.pretrained_items) == (7, "leave-one-out", False)
    assert config.two_tower.optimisation.learning_rate == 3e-4
    assert config.two_tower.action_weights == (1.0, 2.5, 4.0)


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("two_tower.optimisation.epoch", "3", "has no field epoch"),
        ("two_tower.optimisation", "3", "is a group of settings"),
        ("seed", "one", "seed=one is not a int"),
        ("ranker.pretrained_items", "yes", "is not a bool"),
        ("split", "random", "use one of leave-one-out, time"),
        ("seed.more", "1", "not a group"),
    ],
)
def test_bad_overrides_name_the_setting(name: str, text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        override(load_recipe("marketplace_demo"), {name: text})


def test_stored_configurations_with_unknown_or_missing_fields_are_refused() -> None:
    values = to_json(load_recipe("marketplace_demo"))
    with pytest.raises(ConfigError, match=r"two_tower\.model\.depth"):
        from_json(RunConfig, {**values, "two_tower": {**values["two_tower"], "model": {"depth": 3}}})
    with pytest.raises(ConfigError, match="incomplete"):
        from_json(RunConfig, {"name": "x"})
