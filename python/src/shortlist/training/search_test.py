from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shortlist.training.search import Space, sweep


@dataclass(frozen=True)
class Settings:
    x: int = 0
    y: int = 0


def test_each_setting_is_tried_with_the_best_of_those_before() -> None:
    best, tried = sweep(Space(Settings(), {"x": (0, 1, 2), "y": (0, 5)}), lambda s: -abs(s.x - 2) + s.y)
    assert best == Settings(2, 5)
    assert [config for config, _ in tried] == [Settings(), Settings(1), Settings(2), Settings(2, 5)]
    assert [quality for _, quality in tried] == [-2, -1, 0, 5]


def test_without_axes_nothing_is_measured() -> None:
    def refuse(settings: Settings) -> float:
        raise AssertionError(f"{settings} was measured")

    assert sweep(Space(Settings(3)), refuse) == (Settings(3), [])


@given(st.lists(st.integers(-5, 5), min_size=1), st.lists(st.integers(-5, 5), min_size=1), st.integers(-3, 3))
def test_a_sweep_never_ends_below_its_start_and_finds_the_best_of_what_it_tried(xs: list[int], ys: list[int], slope: int) -> None:
    def quality(s: Settings) -> float:
        return float(slope * s.x * s.y - abs(s.x))

    best, tried = sweep(Space(Settings(1, 1), {"x": xs, "y": ys}), quality)
    assert quality(best) == max(found for _, found in tried) >= quality(Settings(1, 1))
    assert next(config for config, found in tried if found == quality(best)) == best  # the first of equals
    assert len({config for config, _ in tried}) == len(tried)
