"""Ways to spoil a release. `sealed` ones have digests that fit the spoilt content, so that only a deeper check can find the fault."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Spoiler:
    """`says` are texts of which the refusal must hold at least one: the file, or the field of the manifest."""

    name: str
    spoil: Callable[[Path, Manifest], None]
    says: tuple[str, ...]
    sealed: bool = False


def beside(good: Path, spoiler: Spoiler | None, day: int) -> str:
    """Put a copy of a release beside it, spoilt (None: not at all), with the date of a later day; its id."""
    copy = good.parent / f".making-{day}"
    shutil.copytree(good, copy)
    manifest: Manifest = json.loads((copy / "manifest.json").read_text())
    created = datetime(2026, 2, day, tzinfo=UTC)
    manifest["created_at"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    if spoiler:
        spoiler.spoil(copy, manifest)
    if spoiler is None or spoiler.sealed:
        seal(copy, manifest)
    identifier = f"{created:%Y%m%dT%H%M%SZ}-{manifest['digest'][:12]}"
    if not (spoiler and spoiler.name == "id-of-another-release"):
        manifest["release_id"] = identifier
    if not (spoiler and spoiler.name.startswith("manifest-is")):
        (copy / "manifest.json").write_text(json.dumps(manifest))
    copy.rename(good.parent / identifier)
    return identifier


def seal(directory: Path, manifest: Manifest) -> None:
    """Make sizes and digests those of the files."""
    lines = []
    for file in manifest["files"]:
        data = (directory / file["path"]).read_bytes()
        file["size"], file["sha256"] = str(len(data)), hashlib.sha256(data).hexdigest()
        lines.append(f"{file['sha256']}  {file['path']}\n")
    manifest["digest"] = hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def flip(path: str) -> Callable[[Path, Manifest], None]:
    """Change one byte in the middle of a file."""

    def spoil(directory: Path, _: Manifest) -> None:
        data = bytearray((directory / path).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (directory / path).write_bytes(bytes(data))

    return spoil


def cut(path: str) -> Callable[[Path, Manifest], None]:
    return lambda directory, _: (directory / path).write_bytes((directory / path).read_bytes()[:-7]) and None


def remove(path: str) -> Callable[[Path, Manifest], None]:
    return lambda directory, _: (directory / path).unlink()


def field(name: str, value: Any) -> Callable[[Path, Manifest], None]:
    return lambda _, manifest: manifest.__setitem__(name, value)


def listed(path: str) -> Callable[[Path, Manifest], None]:
    """Let the manifest's first file have another path."""
    return lambda _, manifest: manifest["files"][0].__setitem__("path", path)


def text(content: str) -> Callable[[Path, Manifest], None]:
    return lambda directory, _: (directory / "manifest.json").write_text(content) and None


def link(directory: Path, _: Manifest) -> None:
    graph = directory / "graphs/ranker.onnx"
    graph.rename(directory.parent / ".elsewhere.onnx")
    graph.symlink_to("../../.elsewhere.onnx")


def extra(directory: Path, _: Manifest) -> None:
    (directory / "graphs/backdoor.onnx").write_bytes(b"hello")


def tensors(path: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Manifest], None]:
    def spoil(directory: Path, _: Manifest) -> None:
        loaded = {name: value.copy() for name, value in load_file(directory / path).items()}
        change(loaded)
        save_file(loaded, directory / path)

    return spoil


def not_a_graph(directory: Path, _: Manifest) -> None:
    (directory / "graphs/preranker.onnx").write_bytes(b"\x08\x09not an ONNX file")


def other_graph(directory: Path, _: Manifest) -> None:
    shutil.copy(directory / "graphs/preranker.onnx", directory / "graphs/query_encoder.onnx")


def no_graph(_: Path, manifest: Manifest) -> None:
    manifest["graphs"] = [graph for graph in manifest["graphs"] if graph["name"] != "ranker"]


def unknown_op(_: Path, manifest: Manifest) -> None:
    manifest["schema"]["context"][0]["op"] = "SENTIMENT"


def answers_of_another_model(loaded: dict[str, Any]) -> None:
    for name in loaded:
        if name.endswith("/logits"):
            loaded[name] = (loaded[name] + 0.01).astype(np.float32)


def shift(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda loaded: loaded.__setitem__(name, (loaded[name] + 0.01).astype(loaded[name].dtype))


SPOILERS = [
    Spoiler("graph-with-a-flipped-byte", flip("graphs/ranker.onnx"), ("graphs/ranker.onnx",)),
    Spoiler("catalog-with-a-flipped-byte", flip("catalog/items.safetensors"), ("catalog/items.safetensors",)),
    Spoiler("golden-with-a-flipped-byte", flip("golden/tensors.safetensors"), ("golden/tensors.safetensors",)),
    Spoiler("file-that-is-cut", cut("index/items.safetensors"), ("index/items.safetensors",)),
    Spoiler("missing-graph-file", remove("graphs/history_encoder.onnx"), ("graphs/history_encoder.onnx",)),
    Spoiler("missing-catalog", remove("catalog/items.safetensors"), ("catalog/items.safetensors",)),
    Spoiler("missing-manifest", lambda directory, _: None, ("manifest.json",)),
    Spoiler("wrong-digest", field("digest", "0" * 64), ("digest",)),
    Spoiler("manifest-from-the-future", field("format_version", 999), ("format_version", "version")),
    Spoiler("manifest-of-an-earlier-format", field("format_version", 1), ("format_version", "version")),
    Spoiler("manifest-is-no-json", text("{"), ("manifest.json",)),
    Spoiler("manifest-is-empty", text(""), ("manifest.json",)),
    Spoiler("id-of-another-release", lambda directory, manifest: None, ("release_id",)),
    Spoiler("path-out-of-the-bundle", listed("../../../etc/passwd"), ("path", "passwd")),
    Spoiler("absolute-path", listed("/etc/passwd"), ("path", "passwd")),
    Spoiler("link-instead-of-a-file", link, ("graphs/ranker.onnx",)),
    Spoiler("file-that-is-not-listed", extra, ("graphs/backdoor.onnx",)),
    Spoiler("graph-that-is-none", not_a_graph, ("preranker",), sealed=True),
    Spoiler("graph-under-another-name", other_graph, ("query_encoder",), sealed=True),
    Spoiler("graph-that-is-not-named", no_graph, ("ranker",), sealed=True),
    Spoiler("operation-of-no-name", unknown_op, ("op", "SENTIMENT"), sealed=True),
    Spoiler("answers-of-another-model", tensors("golden/tensors.safetensors", answers_of_another_model), ("logits",), sealed=True),
    Spoiler("tower-of-another-model", tensors("index/items.safetensors", shift("retrieval_vector")), ("retrieval_vector",), sealed=True),
    Spoiler(
        "catalog-without-a-column", tensors("catalog/items.safetensors", lambda loaded: loaded.pop("input.price")), ("price",), sealed=True
    ),
]
