"""Item titles of a release, for people who read a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path


def titles(models: Path, release_id: str, items: Sequence[int] | Sequence[str]) -> dict[int | str, str]:
    """Titles of `items` from the catalog of a release under `models`; empty where the release or its titles are not there."""
    import numpy as np
    from safetensors import safe_open

    for path in models.glob(f"*/{release_id}/catalog/items.safetensors"):
        with safe_open(path, framework="numpy") as tensors:
            names = set(tensors.keys())
            if "title.bytes" not in names:
                return {}
            text, offsets = tensors.get_tensor("title.bytes").tobytes(), tensors.get_tensor("title.offsets")
            if "id" in names:
                ids = tensors.get_tensor("id")
                rows = {item: int(np.searchsorted(ids, item)) for item in items}
                rows = {item: row for item, row in rows.items() if row < len(ids) and ids[row] == item}
            else:
                id_text, id_offsets = tensors.get_tensor("id.bytes").tobytes(), tensors.get_tensor("id.offsets")
                row_of = {id_text[start:end].decode(): row for row, (start, end) in enumerate(pairwise(id_offsets))}
                rows = {item: row_of[str(item)] for item in items if str(item) in row_of}
        return {item: text[offsets[row] : offsets[row + 1]].decode() for item, row in rows.items()}
    return {}
