"""Writes a release: all files under a temporary name, synced to disk, then one rename. Never changed afterwards."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import onnx
import torch
from google.protobuf import json_format
from safetensors.numpy import save

from shortlist.errors import BundleError, ConfigError
from shortlist.export import layout
from shortlist.export.compare import Tolerance
from shortlist.export.content import Content
from shortlist.export.graphs import ExtraGraph, Signature, Spec
from shortlist.export.hnsw import Graph
from shortlist.export.manifest import (
    FORMAT_VERSION,
    GRAPHS,
    MANIFEST,
    check_name,
    digest_of,
    is_release_id,
    read_manifest,
    schema_to_proto,
    to_json,
)
from shortlist.export.manifest import release_id as make_release_id
from shortlist.export.small_vectors import small_vectors
from shortlist.export.tables import Floats, Tensors
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

_DTYPES = {torch.float32: pb.FLOAT32, torch.int64: pb.INT64, torch.bool: pb.BOOL}


@dataclass(frozen=True)
class Draft:
    """All that a release is made of, before it is written."""

    name: str
    content: Content
    graphs: Mapping[str, bytes]
    signatures: Mapping[str, Signature]
    item_vectors: Floats  # [I,K]
    item_tokens: Floats  # [I,D]
    golden: Sequence[wire.RecommendRequest]
    golden_tensors: Tensors
    warmup: Sequence[wire.RecommendRequest]
    histograms: str
    model_card: str
    lineage: pb.Lineage = field(default_factory=pb.Lineage)
    metrics: Sequence[pb.Metric] = ()
    gates: Sequence[pb.Gate] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)
    small_vectors: Sequence[str] = ()  # kinds of small_vectors.py
    extra_graphs: Mapping[str, ExtraGraph] = field(default_factory=dict)
    hnsw: Graph | None = None
    hnsw_sources: Mapping[str, pb.Hnsw] = field(default_factory=dict)  # the sources that search by it


def creation_time() -> datetime:
    """Now, or SOURCE_DATE_EPOCH (seconds) where it is set, so that a release can be made again under the same id."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC).replace(microsecond=0)
    if not epoch.isdecimal():
        raise ConfigError(f"SOURCE_DATE_EPOCH is {epoch!r}", why="it is a number of seconds since 1970", fix="correct or unset it")
    return datetime.fromtimestamp(int(epoch), UTC)


@contextmanager
def staged(repository: Path, draft: Draft, created: datetime) -> Iterator[Path]:
    """The bundle under a temporary name beside its final place, all of it on disk; removed at the end unless `publish` renamed it."""
    files = files_of(draft)
    manifest = manifest_of(draft, files, created)
    directory = repository / draft.name / f"{layout.TEMPORARY}{manifest.release_id}"
    shutil.rmtree(directory, ignore_errors=True)  # left by a run that was killed
    try:
        for path, data in {**files, MANIFEST: to_json(manifest).encode()}.items():
            layout.write_synced(directory / path, data)
        for parent, _, _ in os.walk(directory):
            layout.sync_directory(Path(parent))
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def publish(directory: Path) -> Path:
    """Renames a staged bundle to its release id. An equal release that is already there stays. Raises BundleError."""
    final = directory.parent / directory.name.removeprefix(layout.TEMPORARY)
    if not is_release_id(final.name):
        raise BundleError(f"{directory} is no staged bundle", fix="publish what `staged` yields")
    if final.exists():
        if (final / MANIFEST).read_bytes() != (directory / MANIFEST).read_bytes():
            held = read_manifest(final).digest
            raise BundleError(
                f"{final} exists with another manifest (digest {held[:12]})", why="a release is never changed", fix="wait a second"
            )
        return final
    os.rename(directory, final)
    layout.sync_directory(final.parent)
    return final


def files_of(draft: Draft) -> dict[str, bytes]:
    """Every file of the bundle but the manifest, by path."""
    files = {layout.graph_path(name): data for name, data in draft.graphs.items()} | content_files(draft.content)
    files |= {layout.graph_path(name): graph.data for name, graph in draft.extra_graphs.items()}
    files[layout.INDEX] = save({"retrieval_vector": draft.item_vectors, "ranker_token": draft.item_tokens})
    for kind in draft.small_vectors:
        files[layout.small_vectors_path(kind)] = save(small_vectors(kind, draft.item_vectors).tensors())
    if draft.hnsw is not None:
        files[layout.HNSW] = save(draft.hnsw.tensors())
    files[layout.GOLDEN_REQUESTS] = to_json_lines(draft.golden)
    files[layout.GOLDEN_TENSORS] = save(draft.golden_tensors)
    files[layout.WARMUP] = to_json_lines(draft.warmup)
    files[layout.HISTOGRAMS], files[layout.MODEL_CARD] = draft.histograms.encode(), draft.model_card.encode()
    return files


def content_files(content: Content) -> dict[str, bytes]:
    """Catalog, counters and sources, by path."""
    files = {layout.CATALOG: save(content.catalog.tensors())}
    files |= {layout.counter_path(cross.name): save(content.counters[cross.name].tensors()) for cross in content.schema.cross}
    return files | {layout.source_path(name): save(table.tensors()) for name, table in content.sources.items()}


def to_json_lines(requests: Sequence[wire.RecommendRequest]) -> bytes:
    def line(request: wire.RecommendRequest) -> str:
        # Sorted keys: map fields have no order of their own, and equal requests must give equal bytes.
        return json_format.MessageToJson(request, preserving_proto_field_name=True, indent=None, sort_keys=True, ensure_ascii=False)

    return "".join(f"{line(request)}\n" for request in requests).encode()


def manifest_of(draft: Draft, files: Mapping[str, bytes], created: datetime) -> pb.Manifest:
    listed = [
        pb.File(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for path, data in sorted(files.items(), key=lambda item: item[0].encode())
    ]
    digest = digest_of(listed)
    schema, funnel = draft.content.schema, pb.Funnel()
    funnel.CopyFrom(draft.content.funnel)
    for source in funnel.sources:
        source.path = "" if source.kind == pb.TWO_TOWER else layout.source_path(source.name)
        if source.name in draft.hnsw_sources:
            source.hnsw.CopyFrom(draft.hnsw_sources[source.name])
    return pb.Manifest(
        format_version=FORMAT_VERSION,
        name=check_name(draft.name),
        release_id=make_release_id(created, digest),
        created_at=f"{created.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        digest=digest,
        files=listed,
        schema=schema_to_proto(schema),
        graphs=[_graph_proto(name, draft.graphs[name], draft.signatures[name]) for name in GRAPHS],
        runtime=pb.Runtime(
            onnxruntime=version("onnxruntime-gpu"),
            torch=version("torch"),
            onnx=version("onnx"),
            shortlist=version("shortlist"),
            python=python_version(),
        ),
        tolerance=pb.Tolerance(absolute=draft.tolerance.absolute, relative=draft.tolerance.relative, reason=draft.tolerance.reason),
        funnel=funnel,
        value_formula=draft.content.formula,
        tasks=[pb.Task(name=task) for task in schema.tasks],
        cross=[
            pb.CrossColumn(name=cross.name, segment=cross.segment, path=layout.counter_path(cross.name), prior=cross.prior)
            for cross in schema.cross
        ],
        golden=pb.Golden(requests=layout.GOLDEN_REQUESTS, tensors=layout.GOLDEN_TENSORS, cases=len(draft.golden), warmup=layout.WARMUP),
        lineage=draft.lineage,
        metrics=draft.metrics,
        gates=draft.gates,
        extra_graphs=[_graph_proto(name, graph.data, graph.signature) for name, graph in sorted(draft.extra_graphs.items())],
    )


def _graph_proto(name: str, data: bytes, signature: Signature) -> pb.Graph:
    model = onnx.load_from_string(data)

    def specs(signature: tuple[Spec, ...]) -> list[pb.TensorSpec]:
        return [pb.TensorSpec(name=spec.name, dtype=_DTYPES[spec.dtype], shape=map(str, spec.shape)) for spec in signature]

    return pb.Graph(
        name=name,
        path=layout.graph_path(name),
        inputs=specs(signature.inputs),
        outputs=specs(signature.outputs),
        opset=next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")),
        ir_version=model.ir_version,
        nodes=len(model.graph.node),
    )
