from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse

from shortlist.data.splits import training_mask
from shortlist.errors import ConfigError
from shortlist.models import ials
from shortlist.models.ials import Ials, IalsConfig
from shortlist.testing.logs import encoded_log, leave_one_out, random_log

SMALL = IalsConfig(factors=4, alpha=5.0, regularization=0.5, iterations=10)


def closed_form(factors: np.ndarray, confidence: np.ndarray, regularization: float) -> np.ndarray:
    """Minimises sum_i c_i (p_i - x.y_i)^2 + regularization |x|^2 with c = 1, p = 0 where nothing was taken: the paper's equation 4."""
    weight = np.where(confidence > 0, confidence, 1.0)
    left = factors.T @ np.diag(weight) @ factors + regularization * np.eye(factors.shape[1])
    return np.linalg.solve(left, factors.T @ (weight * (confidence > 0)))


def test_fold_in_is_the_closed_form_and_the_library_s() -> None:
    log = random_log()
    repeats = np.array([3, 4, 3, 9, 4, 3])
    model = Ials.fit(log, leave_one_out(log), SMALL)
    (found,) = model.user_factors([repeats])
    confidence = SMALL.alpha * np.bincount(repeats, minlength=30)
    np.testing.assert_allclose(found, closed_form(model.item_factors.astype(np.float64), confidence, SMALL.regularization), rtol=1e-6)

    library = AlternatingLeastSquares(factors=4, regularization=0.5, alpha=5.0, num_threads=1, use_cg=False)
    library.item_factors = model.item_factors
    theirs = library.recalculate_user(0, sparse.csr_matrix(np.bincount(repeats, minlength=30)[None].astype(np.float32)))
    np.testing.assert_allclose(found, np.ravel(theirs), rtol=1e-3)


def test_item_factors_solve_the_paper_s_objective() -> None:
    """At a fixed point the item factors are the least squares of the users' factors, and the other way round."""
    log = random_log(users=12, items=30)
    split = leave_one_out(log)
    model = Ials.fit(log, split, replace(SMALL, iterations=300))
    users = [log.item[begin:end] for begin, end in zip(log.ptr[:-1], split.train_end, strict=True)]
    user_factors = model.user_factors(users)
    taken = np.zeros((len(users), 30))
    for user, items in enumerate(users):
        np.add.at(taken[user], items, SMALL.alpha)
    for item in range(30):
        np.testing.assert_allclose(model.item_factors[item], closed_form(user_factors, taken[:, item], SMALL.regularization), atol=2e-3)


def test_decay_weighs_events_by_age_and_zero_weight_never_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log()
    model = Ials.fit(log, leave_one_out(log), SMALL)
    forgetful = replace(model, config=replace(SMALL, decay=0.0))  # only the newest event
    np.testing.assert_allclose(forgetful.user_factors([np.array([5, 6, 7])]), model.user_factors([np.array([7])]), rtol=1e-9)
    short = replace(model, config=replace(SMALL, history_events=2))
    targets = log.ptr[1:] - 1
    expected = model.user_factors([log.item[target - 2 : target] for target in targets]).astype(np.float32) @ model.item_factors.T
    monkeypatch.setattr(ials, "_CELLS_AT_ONCE", 100)
    np.testing.assert_allclose(short.score_events(log, targets), expected, rtol=1e-4, atol=1e-6)
    assert not model.score_events(log, log.ptr[:1]).any()  # no history, no preference


def test_equal_seeds_give_equal_factors() -> None:
    log = random_log()
    first, second, other = (Ials.fit(log, leave_one_out(log), replace(SMALL, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.item_factors, second.item_factors)
    assert not np.array_equal(first.item_factors, other.item_factors)


@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_nothing_from_the_held_out_events_on_is_used(seed: int) -> None:
    log = random_log()
    split = leave_one_out(log)
    held_out = ~training_mask(log, split)
    changed = replace(log, item=np.where(held_out, np.random.default_rng(seed).integers(0, 30, len(log.item)), log.item))
    first, second = Ials.fit(log, split, SMALL), Ials.fit(changed, split, SMALL)
    np.testing.assert_array_equal(first.item_factors, second.item_factors)
    np.testing.assert_array_equal(first.score_events(log, split.validation), second.score_events(changed, split.validation))


def test_finds_the_groups_of_items() -> None:
    random = np.random.default_rng(0)
    sequences = [random.permutation(6)[:5] + 6 * (user % 2) for user in range(40)]
    log = encoded_log([sequence.tolist() for sequence in sequences], items=12)
    split = leave_one_out(log)
    scores = Ials.fit(log, split, replace(SMALL, factors=2)).score_events(log, split.test)
    own = (np.arange(12) // 6)[None] == (np.arange(40) % 2)[:, None]
    assert (np.where(own, scores, np.inf).min(1) > np.where(own, -np.inf, scores).max(1)).all()


@pytest.mark.parametrize(
    ("field", "value"), [("factors", 0), ("alpha", 0.5), ("regularization", 0.0), ("decay", 1.5), ("history_events", -1), ("iterations", 0)]
)
def test_bad_settings_are_refused_by_name(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"IalsConfig\.{field} is"):
        IalsConfig(**{field: value})  # type: ignore[arg-type]
