"""Small encoded logs for tests: random but seeded, with a user and a context column."""

from __future__ import annotations

import numpy as np

from shortlist.data.dataset import EncodedLog, Split
from shortlist.schema import Column, Op, Schema

GENDER = Column(name="gender", op=Op.VOCABULARY, vocabulary=("M", "F"))
SURFACE = Column(name="surface", op=Op.VOCABULARY, vocabulary=("home", "search"))


def encoded_log(sequences: list[list[int]], items: int, *, seed: int = 0) -> EncodedLog:
    """A log of the given item rows per user; time is the position in the sequence, context and user columns are random."""
    random = np.random.default_rng(seed)
    ptr = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    ids = tuple(str(item) for item in range(items))
    schema = Schema(
        item_id="int64",
        user=(GENDER,),
        context=(SURFACE,),
        item=(Column(name="id", op=Op.ITEM_ROW, vocabulary=ids, in_history=True),),
        actions=("view",),
        tasks=("click",),
    )
    return EncodedLog(
        name="sample",
        schema=schema,
        user_ids=np.arange(len(sequences)),
        item_ids=np.arange(items),
        users={"gender": random.integers(0, 3, len(sequences))},
        items={"id": np.arange(1, items + 1)},
        ptr=ptr,
        item=np.array([row for sequence in sequences for row in sequence], dtype=np.int64),
        action=np.ones(ptr[-1], dtype=np.int64),
        time=np.array([position for sequence in sequences for position in range(len(sequence))], dtype=np.int64),
        value=np.zeros(ptr[-1], dtype=np.float32),
        context={"surface": random.integers(0, 3, int(ptr[-1]))},
    )


def random_log(users: int = 40, items: int = 30, *, longest: int = 20, seed: int = 0) -> EncodedLog:
    """Sequences of 3 to `longest` distinct items that walk along the rows, so that co-occurrence has something to find."""
    random = np.random.default_rng(seed)
    sequences = []
    for _ in range(users):
        length, start = int(random.integers(3, longest + 1)), int(random.integers(items))
        steps = np.cumsum(random.integers(1, 3, length))
        sequences.append(list(dict.fromkeys(((start + steps) % items).tolist())))
    return encoded_log(sequences, items, seed=seed)


def leave_one_out(log: EncodedLog) -> Split:
    """The last event of each user tests, the one before validates; users need three events."""
    return Split(train_end=log.ptr[1:] - 2, validation=log.ptr[1:] - 2, test=log.ptr[1:] - 1)
