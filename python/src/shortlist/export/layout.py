"""Where the files of a release lie, and the repository of releases around it. docs/bundle.md fixes both."""

from __future__ import annotations

import os
from pathlib import Path

from shortlist.errors import BundleError
from shortlist.export.manifest import MANIFEST, is_release_id

CATALOG = "catalog/items.safetensors"
INDEX = "index/items.safetensors"
HNSW = "index/hnsw.safetensors"
GOLDEN_REQUESTS = "golden/requests.jsonl"
GOLDEN_TENSORS = "golden/tensors.safetensors"
WARMUP = "warmup/requests.jsonl"
HISTOGRAMS = "reference/histograms.json"
MODEL_CARD = "report/model_card.html"

CURRENT = "current"
TEMPORARY = ".tmp-"


def graph_path(graph: str) -> str:
    return f"graphs/{graph}.onnx"


def small_vectors_path(kind: str) -> str:
    return f"index/{kind}.safetensors"


def counter_path(cross: str) -> str:
    return f"counters/{cross}.safetensors"


def source_path(source: str) -> str:
    return f"sources/{source}.safetensors"


def releases(model: Path) -> list[str]:
    """Release ids in models/<name>, oldest first."""
    return sorted(path.name for path in model.iterdir() if is_release_id(path.name)) if model.is_dir() else []


def current(model: Path) -> Path:
    """The release that models/<name>/current names. Raises BundleError."""
    path = model / CURRENT
    try:
        release = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing", why="no release was published", fix="export one first") from error
    if not is_release_id(release):
        raise BundleError(f"{path} holds {release!r}", why="it must be a release id", fix=f"choose one of {releases(model)}")
    return model / release


def set_current(model: Path, release: str) -> None:
    """Points models/<name>/current at a release, in one rename. Raises BundleError when there is no such release."""
    if not is_release_id(release) or not (model / release / MANIFEST).is_file():
        raise BundleError(f"{model / release} is no release", fix=f"choose one of {releases(model)}")
    temporary = model / f"{TEMPORARY}{CURRENT}"
    write_synced(temporary, f"{release}\n".encode())
    os.rename(temporary, model / CURRENT)
    sync_directory(model)


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file that is on disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
