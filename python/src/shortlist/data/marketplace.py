"""A synthetic marketplace with real structure: the data of the demo, the tests and the load benchmarks. Any size, seeded.

Users search or browse for what they want now; wants follow from tastes (by gender and age), and from what they wanted before. A logging
policy shows a page, and users click, contact and purchase by interest, city, price, quality and position. So popularity is a weak
baseline, co-occurrence a better one, and models that combine sequence, query and features win.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist.data import marketplace_words as words
from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary
from shortlist.data.marketplace_traffic import SEARCH, SECONDS_PER_ITEM, Requests, Shown, make_requests, simulate
from shortlist.data.marketplace_world import Items, Users, make_items, make_users
from shortlist.errors import ConfigError
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

ACTIONS = TASKS = ("click", "contact", "purchase")  # an event carries the deepest of them
_START = 1_735_689_600  # 2025-01-01 00:00 UTC
_PILOT_USERS = 400
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketplaceConfig:
    """Size of the market. `events` is approximate. Pages are logged as impressions for at most `logged_requests` requests."""

    users: int = 2_000
    items: int = 1_500
    events: int = 60_000
    days: int = 60
    logged_requests: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("items", 100), ("events", 1), ("days", 5), ("logged_requests", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"marketplace: {name} is {getattr(self, name)}", fix=f"use at least {least}")

    @property
    def validation_start(self) -> int:
        """Unix seconds; the last fifth of the days is for validation and test."""
        return _START + self.days * _DAY * 8 // 10

    @property
    def test_start(self) -> int:
        return _START + self.days * _DAY * 9 // 10


def make_marketplace(config: MarketplaceConfig) -> Dataset:
    """Equal configs make equal data sets."""
    rng = np.random.default_rng(config.seed)
    users = make_users(rng, config.users)
    items = make_items(rng, config.items, _START, config.days * _DAY)
    requests = make_requests(rng, users, _request_count(config, items), _START, config.days)
    count = len(requests.user)
    logged = np.zeros(count, dtype=bool)
    logged[rng.choice(count, size=min(count, config.logged_requests), replace=False)] = True
    engaged, shown = simulate(rng, users, items, requests, logged)
    item_ids = 10_000 + 7 * rng.permutation(config.items)  # neither dense nor telling
    item_frame = _item_frame(rng, items, item_ids)
    queries = _queries(rng, users, requests)
    return Dataset(
        name="marketplace",
        schema=_schema(item_frame["item_id"]),
        users=_user_frame(users),
        items=item_frame,
        events=_event_frame(items, item_ids, requests, engaged, queries),
        impressions=_impression_frame(item_ids, requests, shown, queries) if config.logged_requests else None,
        report={"requests": count, "requests without logged page": count - int(logged.sum())},
    )


def _request_count(config: MarketplaceConfig, items: Items) -> int:
    """Requests that make about `config.events` events: a small pilot tells how many events come of a request."""
    rng = np.random.default_rng((config.seed, _PILOT_USERS))
    users = make_users(rng, _PILOT_USERS)
    guess = config.events // config.users + 1  # of each user
    requests = make_requests(rng, users, guess * _PILOT_USERS, _START, config.days)
    engaged, _ = simulate(rng, users, items, requests, np.zeros(len(requests.user), dtype=bool))
    return max(config.users, round(config.events * len(requests.user) / max(1, len(engaged.item))))


def _schema(item_ids: pl.Series) -> Schema:
    categories = tuple(words.CATEGORIES)
    subcategories = tuple(name for category in words.CATEGORIES.values() for name, *_ in category)
    return Schema(
        item_id="int64",
        user=(
            Column(name="gender", op=Op.VOCABULARY, vocabulary=words.GENDERS),
            Column(name="age_band", op=Op.VOCABULARY, vocabulary=words.AGE_BANDS),
            Column(name="city", op=Op.VOCABULARY, vocabulary=words.CITIES),
        ),
        context=(
            Column(name="query", op=Op.TOKENS, buckets=4_096, width=8),
            Column(name="query_text", op=Op.HASH, buckets=16_384),
            Column(name="hour", op=Op.VOCABULARY, vocabulary=tuple(map(str, range(24)))),
            Column(name="surface", op=Op.VOCABULARY, vocabulary=words.SURFACES),
        ),
        item=(
            Column(name="id", op=Op.ITEM_ROW, vocabulary=id_vocabulary(item_ids), in_history=True),
            Column(name="category", op=Op.VOCABULARY, vocabulary=categories, in_history=True),
            Column(name="subcategory", op=Op.VOCABULARY, vocabulary=subcategories, in_history=True),
            Column(name="city", op=Op.VOCABULARY, vocabulary=words.CITIES, in_history=True),
            Column(name="price", op=Op.NUMBER, minimum=0.0, maximum=1e8, in_history=True),
            Column(name="seller", op=Op.HASH, buckets=8_192),
        ),
        actions=ACTIONS,
        tasks=TASKS,
        cross=(
            CrossFeature(name="query_item", segment="context.query_text"),
            CrossFeature(name="query_item_7d", segment="context.query_text", window=7 * _DAY),
            CrossFeature(name="city_item", segment="user.city"),
            CrossFeature(name="city_item_7d", segment="user.city", window=7 * _DAY),
            CrossFeature(name="gender_item", segment="user.gender"),
            CrossFeature(name="gender_item_7d", segment="user.gender", window=7 * _DAY),
            CrossFeature(name="last_item_item", segment=LAST_ITEM),
        ),
    )


def _texts(codes: npt.NDArray[np.int64], values: tuple[str, ...] | list[str]) -> pl.Series:
    """Texts by code, stored once each; -1 is null."""
    kinds = pl.Series(list(values), dtype=pl.Enum(list(values)))
    return kinds.gather(pl.Series(codes).replace(-1, None))


def _user_frame(users: Users) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "user_id": np.arange(1, len(users.city) + 1),
            "gender": _texts(users.gender, words.GENDERS),
            "age_band": _texts(users.age_band, words.AGE_BANDS),
            "city": _texts(users.city, words.CITIES),
        }
    )


def _item_frame(rng: np.random.Generator, items: Items, item_ids: npt.NDArray[np.int64]) -> pl.DataFrame:
    count = len(items.city)
    flat = [(category, *rest) for category, subcategories in words.CATEGORIES.items() for rest in subcategories]
    brand = items.style[:, :3] > 0  # a brand is what users can tell of a style
    frame = pl.DataFrame(
        {
            "item_id": item_ids,
            "category": _texts(items.subcategory // words.SUBCATEGORIES_PER_CATEGORY, list(words.CATEGORIES)),
            "subcategory": _texts(items.subcategory, [name for _, name, *_ in flat]),
            "city": _texts(items.city, words.CITIES),
            "price": items.price,
            "seller": pl.Series(items.seller).cast(pl.String),
            "available_from": items.available_from,
            "available_until": items.available_until,
            "brand": _texts(brand @ np.array([1, 2, 4]), words.BRANDS),
            "word": _texts(items.subcategory * 2 + rng.integers(0, 2, count), [word for _, _, *pair, _ in flat for word in pair]),
            "condition": _texts(rng.integers(0, len(words.CONDITIONS), count), words.CONDITIONS),
        }
    )
    return frame.with_columns(title=pl.format("{} {}, {}", "brand", "word", "condition")).drop("brand", "word", "condition")


def _queries(rng: np.random.Generator, users: Users, requests: Requests) -> npt.NDArray[np.int64]:
    """Code of each request's query text; -1 on the home page."""
    language = requests.intent * 2 + users.cyrillic[requests.user]
    spelled = language * words.QUERIES_PER_LANGUAGE + rng.integers(0, words.QUERIES_PER_LANGUAGE, len(requests.user))
    return np.where(requests.surface == SEARCH, spelled, -1)


def _context(requests: Requests, rows: npt.NDArray[np.int64], queries: npt.NDArray[np.int64]) -> dict[str, pl.Series]:
    query = _texts(queries[rows], words.queries())
    return {
        "query": query,
        "query_text": query,
        "hour": pl.Series(requests.time[rows] // 3_600 % 24),
        "surface": _texts(requests.surface[rows], words.SURFACES),
    }


def _event_frame(
    items: Items, item_ids: npt.NDArray[np.int64], requests: Requests, engaged: Shown, queries: npt.NDArray[np.int64]
) -> pl.DataFrame:
    rows = engaged.request
    return pl.DataFrame(
        {
            "user_id": requests.user[rows] + 1,
            "item_id": item_ids[engaged.item],
            "action": _texts(engaged.depth - 1, ACTIONS),
            "time": requests.time[rows] + 5 + SECONDS_PER_ITEM * engaged.position,  # users go down the page
            "value": np.where(engaged.depth == len(TASKS), items.price[engaged.item], 0).astype(np.float32),
            **_context(requests, rows, queries),
        }
    )


def _impression_frame(item_ids: npt.NDArray[np.int64], requests: Requests, shown: Shown, queries: npt.NDArray[np.int64]) -> pl.DataFrame:
    rows = shown.request
    return pl.DataFrame(
        {
            "request_id": rows,
            "user_id": requests.user[rows] + 1,
            "item_id": item_ids[shown.item],
            "position": shown.position,
            "time": requests.time[rows],
            **_context(requests, rows, queries),
            **{task: (shown.depth > i).astype(np.int8) for i, task in enumerate(TASKS)},
        }
    )
