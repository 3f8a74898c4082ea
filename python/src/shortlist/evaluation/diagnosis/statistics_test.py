"""Shares of a log that is small enough to count by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shortlist.data.splits import leave_one_out
from shortlist.evaluation.diagnosis.sessions import PAUSE
from shortlist.evaluation.diagnosis.statistics import COLD, HEAD, IN_VISIT, SEEN_BEFORE, SHORT, count_shares, first_meeting
from shortlist.testing.logs import encoded_log

# The second-last event of each user is the validation target: items 3, 1, 4. Items 5 to 9 are never taken.
LOG = encoded_log([[0, 1, 2, 0, 1, 3, 0], [0, 1, 1, 2], [0, 1, 4, 2]], items=10)
SPLIT = leave_one_out(LOG)


def test_first_meetings() -> None:
    assert LOG.item[SPLIT.validation].tolist() == [3, 1, 4]
    assert first_meeting(LOG, SPLIT.validation).tolist() == [True, False, True]


def test_shares_of_targets() -> None:
    shares = count_shares(LOG, SPLIT, SPLIT.validation, clock=False)
    assert IN_VISIT not in shares.values
    assert shares.values[SEEN_BEFORE].tolist() == [0, 1, 0]
    assert shares.values[COLD].tolist() == [1, 0, 1]  # item 1 has four training events, items 3 and 4 none
    assert shares.values[SHORT].tolist() == [0, 1, 1]
    assert shares.users[SHORT].tolist() == [0, 1, 2]


def test_a_target_within_a_visit_follows_without_a_pause() -> None:
    time = np.where(np.arange(len(LOG.item)) == SPLIT.validation[1], 1, 0).cumsum() * (PAUSE + 1)
    shares = count_shares(replace(LOG, time=time), SPLIT, SPLIT.validation, clock=True)
    assert shares.values[IN_VISIT].tolist() == [1, 0, 1]


def test_the_head_is_a_fifth_of_the_items_that_training_knows() -> None:
    shares = count_shares(LOG, SPLIT, SPLIT.validation, clock=False)
    # Three items are known, so the head is one: item 0 or 1, which have four of the nine events each.
    assert shares.values[HEAD].sum() == 4
    assert len(shares.values[HEAD]) == len(shares.users[HEAD]) == 9
