"""The hidden state of the synthetic marketplace: what users want and what items are. Models see only its consequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.data import marketplace_words as words

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

CATEGORIES = len(words.CATEGORIES)
SUBCATEGORIES = CATEGORIES * words.SUBCATEGORIES_PER_CATEGORY  # subcategory s belongs to category s // 4
STYLES = 4  # width of the style that only ids and co-occurrence reveal
SUCCESSORS = 3  # subcategories that tend to follow each subcategory
SUCCESSOR_SHARES = (0.6, 0.25, 0.15)


@dataclass(frozen=True)
class Users:
    city: Ints  # [U]
    gender: Ints  # [U], -1 undisclosed
    age_band: Ints  # [U], -1 undisclosed
    cyrillic: npt.NDArray[np.bool_]  # [U] language of queries
    activity: Floats  # [U], mean 1
    price_level: Floats  # [U], in standard deviations of a subcategory's prices
    style: Floats  # [U,STYLES]
    taste: Floats  # [U,SUBCATEGORIES] probabilities


@dataclass(frozen=True)
class Items:
    """Sorted by subcategory, so that every subcategory and category is a range."""

    subcategory: Ints  # [I]
    city: Ints  # [I]
    seller: Ints  # [I]
    price_level: Floats  # [I]
    price: Floats  # [I]
    quality: Floats  # [I]
    style: Floats  # [I,STYLES]
    exposure: Floats  # [I] weight with which the logging policy considers an item
    available_from: Ints  # [I] unix seconds, 0 open
    available_until: Ints  # [I]

    def ranges(self) -> Ints:
        """First item of each subcategory, [SUBCATEGORIES + 1]."""
        return np.searchsorted(self.subcategory, np.arange(SUBCATEGORIES + 1)).astype(np.int64)


def make_users(rng: np.random.Generator, count: int) -> Users:
    gender = rng.choice(len(words.GENDERS), size=count)
    age_band = rng.choice(len(words.AGE_BANDS), size=count, p=(0.18, 0.3, 0.24, 0.16, 0.12))
    by_gender = rng.normal(0, 1.0, (len(words.GENDERS), SUBCATEGORIES))
    by_age = rng.normal(0, 0.8, (len(words.AGE_BANDS), SUBCATEGORIES))
    logits = by_gender[gender] + by_age[age_band] + rng.normal(0, 1.7, (count, SUBCATEGORIES))
    taste = np.exp(logits - logits.max(axis=1, keepdims=True))
    activity = rng.gamma(1.5, 1 / 1.5, count).clip(0.05, 12)
    return Users(
        city=_zipf(rng, len(words.CITIES), count, 0.8),
        gender=np.where(rng.random(count) < 0.08, -1, gender),
        age_band=np.where(rng.random(count) < 0.12, -1, age_band),
        cyrillic=rng.random(count) < 0.6,
        activity=(activity / activity.mean()).astype(np.float32),
        price_level=rng.normal(0, 1, count).astype(np.float32),
        style=rng.normal(0, 1, (count, STYLES)).astype(np.float32),
        taste=(taste / taste.sum(axis=1, keepdims=True)).astype(np.float32),
    )


def make_items(rng: np.random.Generator, count: int, start: int, seconds: int) -> Items:
    sellers = max(1, count // 8)
    seller = _zipf(rng, sellers, count, 0.6)
    seller_city, seller_quality = _zipf(rng, len(words.CITIES), sellers, 0.8), rng.normal(0, 1, sellers)
    subcategory = np.sort(_zipf(rng, SUBCATEGORIES, count, 0.4, shuffled=True))
    typical = np.array([price for category in words.CATEGORIES.values() for *_, price in category])
    price_level = rng.normal(0, 1, count)
    quality = 0.6 * seller_quality[seller] + 0.8 * rng.normal(0, 1, count)
    # Half of the items are there from the beginning; the others arrive evenly. Two thirds are sold or withdrawn after a while.
    arrival = np.where(rng.random(count) < 0.5, 0, start + rng.integers(0, seconds, count))
    life = rng.exponential(0.6 * seconds, count).astype(np.int64) + 86_400
    until = np.where(rng.random(count) < 0.67, np.maximum(arrival, start) + life, 0)
    return Items(
        subcategory=subcategory,
        city=seller_city[seller],
        seller=seller,
        price_level=price_level.astype(np.float32),
        price=np.maximum(50, np.round(typical[subcategory] * np.exp(0.5 * price_level), -1)).astype(np.float32),
        quality=quality.astype(np.float32),
        style=rng.normal(0, 1, (count, STYLES)).astype(np.float32),
        exposure=np.exp(0.5 * quality + rng.normal(0, 0.7, count)).astype(np.float32),
        available_from=arrival,
        available_until=until,
    )


def make_successors(rng: np.random.Generator) -> Ints:
    """[SUBCATEGORIES, SUCCESSORS]: the first is of the same category, the others anywhere."""
    own = np.arange(SUBCATEGORIES)
    width = words.SUBCATEGORIES_PER_CATEGORY
    sibling = own // width * width + (own % width + rng.integers(1, width, SUBCATEGORIES)) % width
    others = (own[:, None] + rng.integers(1, SUBCATEGORIES, (SUBCATEGORIES, SUCCESSORS - 1))) % SUBCATEGORIES
    return np.concatenate([sibling[:, None], others], axis=1)


def _zipf(rng: np.random.Generator, kinds: int, count: int, power: float, *, shuffled: bool = False) -> Ints:
    weights = 1 / np.arange(1, kinds + 1) ** power
    if shuffled:
        weights = rng.permutation(weights)
    drawn: Ints = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(count)).clip(max=kinds - 1).astype(np.int64)
    return drawn
