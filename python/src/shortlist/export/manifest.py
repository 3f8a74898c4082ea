"""The manifest of a release: schema to and from protobuf, release ids and digests, reading and checking manifest.json."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from google.protobuf import json_format

from shortlist.errors import BundleError
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.schema import Column, CrossFeature, Op, Schema

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
GRAPHS = ("item_encoder", "sequence_encoder", "query_encoder", "index", "preranker", "history_encoder", "ranker")

_OPS: dict[Op, pb.Op] = {
    Op.NUMBER: pb.NUMBER,
    Op.VOCABULARY: pb.VOCABULARY,
    Op.VOCABULARY_LIST: pb.VOCABULARY_LIST,
    Op.HASH: pb.HASH,
    Op.TOKENS: pb.TOKENS,
    Op.ITEM_ROW: pb.ITEM_ROW,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_RELEASE_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{12}")


def check_name(name: str) -> str:
    """A model's name, which is also a directory's. Raises BundleError."""
    if not _NAME.fullmatch(name):
        raise BundleError(f"model name {name!r} is not allowed", why="it names a directory", fix="use a-z, 0-9, _ and -, at most 64")
    return name


def release_id(created: datetime, digest: str) -> str:
    """<UTC time>-<first 12 digits of the digest>: sorts by age."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest[:12]}"


def is_release_id(name: str) -> bool:
    return _RELEASE_ID.fullmatch(name) is not None


def digest_of(files: Iterable[pb.File]) -> str:
    """sha256 over the lines "<sha256>  <path>\\n", sorted by path."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path.encode()))
    return hashlib.sha256(lines.encode()).hexdigest()


def schema_to_proto(schema: Schema) -> pb.Schema:
    return pb.Schema(
        item_id=pb.INT64 if schema.item_id == "int64" else pb.STRING,
        user=map(_column_to_proto, schema.user),
        context=map(_column_to_proto, schema.context),
        item=[_item_column_to_proto(column, schema) for column in schema.item],
        actions=schema.actions,
        history=pb.HistoryWindow(max_events=schema.history_max_events, step=schema.history_step),
        event_times=schema.event_times,
    )


def schema_from_proto(manifest: pb.Manifest) -> Schema:
    """The schema with the tasks and cross features of the manifest. Raises BundleError for an unknown op."""
    proto = manifest.schema
    if proto.item_id not in (pb.INT64, pb.STRING):
        raise BundleError(f"schema.item_id is {proto.item_id}", why="item ids are INT64 or STRING", fix="export the release again")
    return Schema(
        item_id="int64" if proto.item_id == pb.INT64 else "string",
        user=tuple(map(_column_from_proto, proto.user)),
        context=tuple(map(_column_from_proto, proto.context)),
        item=tuple(map(_column_from_proto, proto.item)),
        actions=tuple(proto.actions),
        tasks=tuple(task.name for task in manifest.tasks),
        cross=tuple(CrossFeature(name=cross.name, segment=cross.segment, prior=cross.prior) for cross in manifest.cross),
        history_max_events=proto.history.max_events,
        history_step=proto.history.step,
        event_times=proto.event_times,
    )


def _column_to_proto(column: Column) -> pb.Column:
    proto = pb.Column(
        name=column.name,
        op=_OPS[column.op],
        raw=pb.FLOAT32 if column.op is Op.NUMBER else pb.STRING,
        vocabulary=column.vocabulary,
        buckets=column.buckets,
        width=column.width,
        default_number=column.default,
        in_history=column.in_history,
    )
    if column.minimum is not None:
        proto.min = column.minimum
    if column.maximum is not None:
        proto.max = column.maximum
    return proto


def _item_column_to_proto(column: Column, schema: Schema) -> pb.Column:
    proto = _column_to_proto(column)
    if column.op is Op.ITEM_ROW and schema.item_id == "int64":
        proto.raw = pb.INT64
    return proto


def _column_from_proto(proto: pb.Column) -> Column:
    op = next((op for op, number in _OPS.items() if number == proto.op), None)
    if op is None:
        raise BundleError(
            f"column {proto.name!r} has the unknown op {proto.op}",
            why="the release was made by a newer version",
            fix="update this program",
        )
    return Column(
        name=proto.name,
        op=op,
        vocabulary=tuple(proto.vocabulary),
        buckets=proto.buckets,
        width=proto.width,
        default=proto.default_number,
        minimum=proto.min if proto.HasField("min") else None,
        maximum=proto.max if proto.HasField("max") else None,
        in_history=proto.in_history,
    )


def to_json(manifest: pb.Manifest) -> str:
    return json_format.MessageToJson(manifest, preserving_proto_field_name=True, indent=1, ensure_ascii=False) + "\n"


def read_manifest(directory: Path) -> pb.Manifest:
    """Reads and checks manifest.json for itself; files are checked by `bundle.read`. Raises BundleError."""
    path = directory / MANIFEST
    try:
        manifest = json_format.Parse(path.read_text(encoding="utf-8"), pb.Manifest(), ignore_unknown_fields=True)
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing", why="the directory holds no release", fix="name models/<name>/<release id>") from error
    except (json_format.ParseError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not a manifest", why=str(error), fix="export the release again") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BundleError(
            f"{path} has format version {manifest.format_version}",
            why=f"this program reads version {FORMAT_VERSION}",
            fix="use the program that belongs to the release, or export it again",
        )
    if not is_release_id(manifest.release_id):
        raise BundleError(f"{path}: release_id {manifest.release_id!r} is malformed", fix="export the release again")
    if manifest.digest != digest_of(manifest.files) or not manifest.release_id.endswith("-" + manifest.digest[:12]):
        raise BundleError(f"{path}: the digest does not belong to the file list", why="the manifest was altered", fix="export it again")
    if sorted(graph.name for graph in manifest.graphs) != sorted(GRAPHS):
        raise BundleError(f"{path}: graphs are {[graph.name for graph in manifest.graphs]}", why=f"a release has {list(GRAPHS)}")
    extra = [graph.name for graph in manifest.extra_graphs]
    if len(set(extra) | set(GRAPHS)) < len(extra) + len(GRAPHS):
        raise BundleError(f"{path}: extra graphs are {extra}", why="a name is taken", fix="give each graph a name of its own")
    return manifest
