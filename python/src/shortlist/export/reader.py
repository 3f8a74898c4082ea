"""Reads a release and trusts nothing: the file list, sizes and digests must be those of the manifest, and tables must fit each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from google.protobuf import json_format
from safetensors import SafetensorError
from safetensors.numpy import load

from shortlist.errors import BundleError, SchemaError
from shortlist.export import layout
from shortlist.export.catalog import Catalog
from shortlist.export.compare import Tolerance
from shortlist.export.content import Content
from shortlist.export.hnsw import Graph
from shortlist.export.manifest import MANIFEST, read_manifest, schema_from_proto
from shortlist.export.small_vectors import KINDS, SmallVectors, read_small
from shortlist.export.tables import Counter, Floats, Neighbours, PopularLists, Tensors, take
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import LAST_ITEM, Schema


@dataclass(frozen=True)
class Bundle:
    """A release as read from its directory."""

    directory: Path
    manifest: pb.Manifest
    content: Content
    graphs: dict[str, bytes]
    extra_graphs: dict[str, bytes]  # those beside the seven
    item_vectors: Floats  # [I,K]
    item_tokens: Floats  # [I,D]
    golden: list[wire.RecommendRequest]
    golden_tensors: Tensors
    warmup: list[wire.RecommendRequest]
    small_vectors: dict[str, SmallVectors]  # by kind, those that the release has
    hnsw: dict[str, Graph]  # by source, of those that search by one

    @property
    def tolerance(self) -> Tolerance:
        return Tolerance(self.manifest.tolerance.absolute, self.manifest.tolerance.relative)


def read(directory: Path) -> Bundle:
    """Reads and checks a release. Raises BundleError that names the file."""
    manifest = read_manifest(directory)
    if directory.resolve().name.removeprefix(layout.TEMPORARY) != manifest.release_id:
        raise BundleError(f"{directory} holds the release {manifest.release_id}", why="its directory must have that name", fix="rename it")
    return parse(directory, manifest, read_files(directory, manifest))


def parse(directory: Path, manifest: pb.Manifest, contents: Mapping[str, bytes]) -> Bundle:
    """The release that files make. Raises BundleError where they contradict each other; `directory` is for messages."""
    files = _Files(directory, contents)
    schema = schema_from_proto(manifest)
    content = _content(files, manifest, schema)
    items = len(content.catalog)
    index = files.tensors(layout.INDEX)
    vectors = take(index, "retrieval_vector", np.float32, (items, None)).astype(np.float32)
    golden = files.requests(manifest.golden.requests)
    if len(golden) != manifest.golden.cases:
        raise BundleError(f"{manifest.golden.requests} has {len(golden)} requests", why=f"the manifest says {manifest.golden.cases}")
    return Bundle(
        directory=directory,
        manifest=manifest,
        content=content,
        graphs={graph.name: files.data(graph.path) for graph in manifest.graphs},
        extra_graphs={graph.name: files.data(graph.path) for graph in manifest.extra_graphs},
        item_vectors=vectors,
        item_tokens=take(index, "ranker_token", np.float32, (items, None)).astype(np.float32),
        golden=golden,
        golden_tensors=files.tensors(manifest.golden.tensors),
        warmup=files.requests(manifest.golden.warmup),
        small_vectors=files.small_vectors(items, vectors.shape[1]),
        hnsw={source.name: files.hnsw(source.hnsw, items) for source in manifest.funnel.sources if source.HasField("hnsw")},
    )


def read_files(directory: Path, manifest: pb.Manifest) -> dict[str, bytes]:
    """The bytes of all files by path. Raises BundleError for a missing, added, altered or linked file."""
    listed = {file.path: file for file in manifest.files}
    for path in listed:
        parts = PurePosixPath(path).parts
        if not parts or PurePosixPath(path).is_absolute() or ".." in parts or "\\" in path or str(PurePosixPath(path)) != path:
            raise BundleError(f"the manifest lists {path!r}", why="paths are relative and plain", fix="do not load this bundle")
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_symlink() or not path.is_dir()}
    found.pop(MANIFEST, None)
    if links := sorted(name for name, path in found.items() if path.is_symlink() or not path.is_file()):
        raise BundleError(
            f"{directory / links[0]} is a link or no plain file", why="a bundle holds plain files", fix="copy the bundle again"
        )
    if missing := sorted(set(listed) - set(found)):
        raise BundleError(
            f"{directory / missing[0]} is missing", why=f"the manifest lists it ({len(missing)} missing)", fix="copy it again"
        )
    if extra := sorted(set(found) - set(listed)):
        raise BundleError(f"{directory / extra[0]} is not in the manifest", why="a release is never changed", fix="remove the file")
    files = {}
    for name, file in listed.items():
        data = found[name].read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if len(data) != file.size or digest != file.sha256:
            raise BundleError(
                f"{directory / name} was altered",
                why=f"it has {len(data)} bytes and sha256 {digest[:12]}…, the manifest says {file.size} and {file.sha256[:12]}…",
                fix="copy the bundle again from where it was made",
            )
        files[name] = data
    return files


class _Files:
    """Files of a bundle by path; every error names the file."""

    def __init__(self, directory: Path, files: Mapping[str, bytes]) -> None:
        self._directory, self._files = directory, files

    def data(self, path: str) -> bytes:
        if path not in self._files:
            raise BundleError(f"the manifest names {path!r}", why="it is not in its file list", fix="export the release again")
        return self._files[path]

    def tensors(self, path: str) -> Tensors:
        try:
            return dict(load(self.data(path)))
        except SafetensorError as error:
            raise BundleError(f"{self._directory / path} is not a safetensors file", why=str(error), fix="export it again") from error

    def small_vectors(self, items: int, width: int) -> dict[str, SmallVectors]:
        found = {}
        for kind in KINDS:
            if (path := layout.small_vectors_path(kind)) in self._files:
                try:
                    found[kind] = read_small(kind, self.tensors(path), items=items, width=width)
                except BundleError as error:
                    raise self.named(path, error) from error
        return found

    def hnsw(self, spec: pb.Hnsw, items: int) -> Graph:
        try:
            return Graph.read(self.tensors(spec.path), items=items, m=spec.m)
        except BundleError as error:
            raise self.named(spec.path, error) from error

    def requests(self, path: str) -> list[wire.RecommendRequest]:
        lines = self.data(path).decode().splitlines()
        try:
            return [json_format.Parse(line, wire.RecommendRequest()) for line in lines]
        except json_format.ParseError as error:
            raise BundleError(f"{self._directory / path} holds a malformed request", why=str(error), fix="export it again") from error

    def named(self, path: str, error: BundleError) -> BundleError:
        return BundleError(f"{self._directory / path}: {error.what}", why=error.why, fix=error.fix)


def _content(files: _Files, manifest: pb.Manifest, schema: Schema) -> Content:
    path = layout.CATALOG
    try:
        catalog = Catalog.read(files.tensors(path), schema)
        items = len(catalog)
        counters: dict[str, Counter] = {}
        for cross in manifest.cross:
            path = cross.path
            counters[cross.name] = Counter.read(files.tensors(path), by_row=cross.segment == LAST_ITEM, items=items)
        sources: dict[str, Neighbours | PopularLists] = {}
        for source in manifest.funnel.sources:
            path = source.path
            if source.kind == pb.COOCCURRENCE:
                sources[source.name] = Neighbours.read(files.tensors(path), items=items)
            elif source.kind == pb.POPULAR:
                sources[source.name] = PopularLists.read(files.tensors(path), segmented=bool(source.segment), items=items)
    except BundleError as error:
        raise files.named(path, error) from error
    content = Content(schema, manifest.funnel, manifest.value_formula, catalog, counters, sources)
    try:
        content.check()
    except SchemaError as error:
        raise BundleError(f"{MANIFEST}: {error.what}", why=error.why, fix=error.fix) from error
    return content
