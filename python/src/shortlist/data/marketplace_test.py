"""The synthetic marketplace is repeatable, valid, consistent in time, and has something to learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from shortlist.data.dataset import Dataset, EncodedLog
from shortlist.data.encode import encode
from shortlist.data.marketplace import TASKS, MarketplaceConfig, make_marketplace
from shortlist.data.marketplace_traffic import REQUEST_SECONDS, SECONDS_PER_ITEM, SHOWN
from shortlist.data.splits import by_time, event_users, split_requests, training_mask
from shortlist.errors import ConfigError
from shortlist.features import normalise

CONFIG = MarketplaceConfig(users=500, items=600, events=15_000, seed=3)


@pytest.fixture(scope="module")
def market() -> Dataset:
    return make_marketplace(CONFIG)


@pytest.fixture(scope="module")
def log(market: Dataset) -> EncodedLog:
    return encode(market)


def test_equal_configs_make_equal_data_and_seeds_differ(market: Dataset) -> None:
    again = make_marketplace(CONFIG)
    assert again.schema == market.schema
    for name in ("users", "items", "events", "impressions"):
        assert getattr(again, name).equals(getattr(market, name)), name
    assert not make_marketplace(MarketplaceConfig(users=500, items=600, events=15_000, seed=4)).events.equals(market.events)


def test_size_is_about_what_was_asked(market: Dataset) -> None:
    assert len(market.users) == CONFIG.users
    assert len(market.items) == CONFIG.items
    assert 0.85 < len(market.events) / CONFIG.events < 1.15


def test_events_are_what_pages_say_was_clicked(market: Dataset) -> None:
    pages = market.impressions
    assert pages is not None
    clicked = pages.filter(pl.col("click") == 1).select("user_id", "item_id", depth=sum(pl.col(task).cast(pl.Int64) for task in TASKS))
    engaged = market.events.select(
        "user_id", "item_id", depth=pl.col("action").cast(pl.String).replace_strict(list(TASKS), [1, 2, 3], return_dtype=pl.Int64)
    )
    assert clicked.sort(pl.all()).equals(engaged.sort(pl.all()))
    assert market.events.select("user_id", "item_id").is_duplicated().sum() == 0
    assert pages.filter(pl.col("contact") > pl.col("click")).is_empty()
    assert pages.filter(pl.col("purchase") > pl.col("contact")).is_empty()


def test_users_meet_only_available_items_they_have_not_engaged_with(market: Dataset, log: EncodedLog) -> None:
    shown = market.impressions
    assert shown is not None
    joined = shown.join(market.items, on="item_id")
    assert (joined["available_from"] <= joined["time"]).all()
    assert ((joined["available_until"] == 0) | (joined["available_until"] > joined["time"])).all()
    assert shown.select("request_id", "item_id").is_duplicated().sum() == 0
    pages = log.impressions
    assert pages is not None
    for request in range(0, len(pages.user), 97):
        history = log.item[log.ptr[pages.user[request]] : pages.history_end[request]]
        assert not np.isin(pages.item[pages.ptr[request] : pages.ptr[request + 1]], history).any()


def test_a_page_is_over_before_the_next_request(market: Dataset) -> None:
    pages = market.impressions
    assert pages is not None
    requests = pages.unique("request_id", maintain_order=True).select("user_id", "time")
    gaps = requests.select(pl.col("time").diff().over("user_id")).drop_nulls()["time"]
    assert len(gaps) > CONFIG.users
    assert gaps.to_numpy().min() >= REQUEST_SECONDS > SHOWN * SECONDS_PER_ITEM


def test_money_is_the_price_of_what_was_purchased(market: Dataset) -> None:
    events = market.events.join(market.items.select("item_id", "price"), on="item_id", maintain_order="left")
    purchased = events["action"].cast(pl.String) == "purchase"
    assert 0.05 < purchased.sum() / len(purchased) < 0.5
    assert events.filter(purchased).select((pl.col("value") == pl.col("price")).all()).item()
    assert (events.filter(~purchased)["value"] == 0).all()


def test_queries_name_the_subcategory_in_two_scripts(market: Dataset) -> None:
    texts = market.events["query"].cast(pl.String)
    assert market.events.filter(pl.col("surface").cast(pl.String) == "home")["query"].null_count() == texts.null_count() > 0
    found = texts.drop_nulls().unique().to_list()
    assert any("диван" in normalise(text) for text in found)
    assert any("sofa" in normalise(text) for text in found)
    assert len({normalise(text) for text in found}) < len(found)  # spellings fall together


def test_positions_bias_clicks(market: Dataset) -> None:
    pages = market.impressions
    assert pages is not None
    rates = pages.group_by("position").agg(pl.col("click").mean()).sort("position")["click"].to_list()
    assert rates[0] > 2 * rates[-1] > 0
    assert sum(left > right for left, right in pairwise(rates)) >= 7


def test_personal_scores_beat_popularity(market: Dataset, log: EncodedLog) -> None:
    """On test pages: AUC within a page of (a) counts of training events, (b) city, the user's subcategories and the newest one."""
    pages, split = log.impressions, by_time(log, CONFIG.validation_start, CONFIG.test_start)
    assert pages is not None
    _, _, test = split_requests(pages, split)
    train = training_mask(log, split)
    popularity = np.bincount(log.item[train], minlength=CONFIG.items)
    subcategory, city = log.items["subcategory"], log.items["city"]
    liked = np.zeros((CONFIG.users, subcategory.max() + 1))
    np.add.at(liked, (event_users(log)[train], subcategory[log.item[train]]), 1)
    by_popularity, personal = [], []
    for request in test:
        part, user = slice(pages.ptr[request], pages.ptr[request + 1]), pages.user[request]
        rows, clicked = pages.item[part], pages.labels[part, 0] > 0
        newest = subcategory[log.item[pages.history_end[request] - 1]] if pages.history_end[request] > log.ptr[user] else -1
        if clicked.any() and not clicked.all():
            wanted = np.log1p(liked[user, subcategory[rows]]) + (subcategory[rows] == newest)
            by_popularity.append(_auc(popularity[rows], clicked))
            personal.append(_auc(wanted + (city[rows] == log.users["city"][user]), clicked))
    assert len(personal) > 300
    assert np.mean(personal) > np.mean(by_popularity) + 0.04


@pytest.mark.parametrize("change", [{"users": 0}, {"items": 10}, {"events": 0}, {"days": 1}, {"logged_requests": -1}, {"seed": -1}])
def test_impossible_sizes_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        MarketplaceConfig(**change)


def test_pages_can_be_logged_for_a_sample_or_not_at_all() -> None:
    sampled = make_marketplace(MarketplaceConfig(users=100, items=200, events=1_000, logged_requests=50))
    assert sampled.impressions is not None
    assert 0 < sampled.impressions["request_id"].n_unique() <= 50
    assert sampled.report["requests without logged page"] == sampled.report["requests"] - 50
    assert make_marketplace(MarketplaceConfig(users=100, items=200, events=1_000, logged_requests=0)).impressions is None


def _auc(scores: npt.NDArray[np.generic], positive: npt.NDArray[np.bool_]) -> float:
    difference = scores[positive][:, None].astype(float) - scores[~positive][None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
