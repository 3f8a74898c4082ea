"""Task labels of events, for logs (or models) that do not use impressions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.schema import Schema


def event_labels(schema: Schema, action: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Labels [E,T] of encoded actions [E] (0 is padding: no label).

    Actions and tasks are both ordered by depth: the i-th action fulfils the first i tasks (a contact is a click too).
    """
    return (action[:, None] > np.arange(len(schema.tasks))).astype(np.float32)
