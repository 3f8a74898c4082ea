"""Damaged bundles are refused, and the error names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from shortlist.errors import BundleError
from shortlist.export import layout, reader
from shortlist.export.manifest import MANIFEST


def flip_a_bit(release: Path) -> None:
    path = release / "graphs/ranker.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove_a_file(release: Path) -> None:
    (release / "counters/last_item.safetensors").unlink()


def add_a_file(release: Path) -> None:
    (release / "graphs/extra.onnx").write_bytes(b"x")


def link_a_file(release: Path) -> None:
    path = release / "warmup/requests.jsonl"
    outside = release.parent / "outside.jsonl"
    outside.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside)


def truncate_a_file(release: Path) -> None:
    path = release / "golden/tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def edit(change: Callable[[dict], None]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def apply(release: Path) -> None:
        path = release / MANIFEST
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return apply


def test_the_tracked_toy_is_read(tracked: reader.Bundle) -> None:
    assert len(tracked.content.catalog) == 60
    assert len(tracked.golden) == tracked.manifest.golden.cases >= 12
    assert {source.kind for source in tracked.manifest.funnel.sources} == {1, 2, 3}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (flip_a_bit, "graphs/ranker.onnx was altered"),
        (remove_a_file, "counters/last_item.safetensors is missing"),
        (add_a_file, "graphs/extra.onnx is not in the manifest"),
        (link_a_file, "warmup/requests.jsonl is a link"),
        (truncate_a_file, "golden/tensors.safetensors was altered"),
        (edit(lambda m: m.update(format_version=1)), "export it again"),
        (edit(lambda m: m.update(format_version=3)), "format version 3"),
        (edit(lambda m: m.update(digest="0" * 64)), "digest"),
        (edit(lambda m: m["files"][0].update(sha256="0" * 64)), "digest"),
        (edit(lambda m: m["files"].pop()), "digest"),
        (edit(lambda m: m.update(release_id="../evil")), "release_id"),
        (edit(lambda m: m["graphs"].pop()), "graphs"),
        (edit(lambda m: m["schema"]["user"][0].update(op=99)), "op"),
        (edit(lambda m: m["funnel"]["sources"][0].update(kind="SOURCE_KIND_UNSPECIFIED")), "kind"),
        (edit(lambda m: m["value_formula"]["terms"][0].update(task="sleep")), "sleep"),
        (edit(lambda m: m["cross"][0].update(path="counters/none.safetensors")), "counters/none.safetensors"),
        (edit(lambda m: m["golden"].update(cases=3)), "golden/requests.jsonl"),
        (lambda release: (release / MANIFEST).write_text("{"), "is not a manifest"),
        (lambda release: (release / MANIFEST).unlink(), "manifest.json is missing"),
    ],
)
def test_damage_is_refused(copied: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(copied)
    with pytest.raises(BundleError, match=named):
        reader.read(copied)


def test_a_renamed_release_is_refused(copied: Path) -> None:
    other = copied.rename(copied.parent / "20200101T000000Z-000000000000")
    with pytest.raises(BundleError, match="its directory must have that name"):
        reader.read(other)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a\\b", "a//b", "./a", ""])
def test_listed_paths_stay_inside(copied: Path, path: str) -> None:
    manifest = reader.read(copied).manifest
    manifest.files[0].path = path
    with pytest.raises(BundleError, match="the manifest lists"):
        reader.read_files(copied, manifest)


@pytest.mark.parametrize(
    ("path", "tensor", "value", "named"),
    [
        ("catalog/items.safetensors", "input.price", np.zeros(3, np.float32), "input.price"),
        ("catalog/items.safetensors", "raw.tags.rows", np.zeros(61, np.int64), "raw.tags.rows"),
        ("catalog/items.safetensors", "id.offsets", np.arange(61), "id.offsets"),
        ("sources/popular.safetensors", "default.rows", np.full(20, 60), "default.rows"),
        ("sources/cooccurrence.safetensors", "weights", None, "weights"),
        ("counters/query_item.safetensors", "rates", np.array([np.nan], np.float32), "rates"),
    ],
)
def test_tables_that_contradict_themselves(tracked: reader.Bundle, path: str, tensor: str, value: np.ndarray | None, named: str) -> None:
    """What a digest cannot catch: a faulty writer."""
    contents = reader.read_files(tracked.directory, tracked.manifest)
    tensors = dict(load(contents[path]))
    del tensors[tensor]
    if value is not None:
        tensors[tensor] = value
    contents[path] = save(tensors)
    with pytest.raises(BundleError, match=f"{path}: .*{named}"):
        reader.parse(tracked.directory, tracked.manifest, contents)


def test_current_names_a_release(copied: Path) -> None:
    model = copied.parent
    with pytest.raises(BundleError, match="current is missing"):
        layout.current(model)
    layout.set_current(model, copied.name)
    assert layout.current(model) == copied
    assert (model / "current").read_text() == f"{copied.name}\n"
    assert layout.releases(model) == [copied.name]
    with pytest.raises(BundleError, match="is no release"):
        layout.set_current(model, "20200101T000000Z-000000000000")
    (model / "current").write_text("../elsewhere\n")
    with pytest.raises(BundleError, match="must be a release id"):
        layout.current(model)
