"""Between plain Python and the wire. Faults that only this side can see (mixed ids, a bool as a feature) are raised here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from shortlist.client import types
from shortlist.client.errors import FieldViolation, InvalidRequestError
from shortlist.gen.shortlist.v1 import ranking_pb2 as pb
from shortlist.gen.shortlist.v1 import release_pb2

M = TypeVar("M", bound=Message)
MAX_TENANT = 64
_PRIORITIES = {"critical": pb.PRIORITY_CRITICAL, "normal": pb.PRIORITY_NORMAL, "batch": pb.PRIORITY_BATCH}
_RUNGS = tuple(name.removeprefix("RUNG_").lower() for name, rung in pb.Rung.items() if rung != pb.RUNG_UNSPECIFIED)


def request(user: str, options: types.RequestOptions) -> pb.RecommendRequest:
    """The message of one request. Raises InvalidRequestError with the field's path."""
    unknown = sorted(set(options) - set(types.RequestOptions.__annotations__))
    if unknown:
        known = ", ".join(sorted(types.RequestOptions.__annotations__))
        raise _fault(unknown[0], f"there is no such option; the options are {known}")
    message = _make(
        pb.RecommendRequest,
        "request",
        request_id=options.get("request_id", ""),
        user=_make(pb.User, "user", id=user),
        limit=options.get("limit", 0),
        time=options.get("time", 0),
        filters=_filters(options),
    )
    if "priority" in options:
        if options["priority"] not in _PRIORITIES:
            raise _fault("priority", f"is {options['priority']!r}; use critical, normal or batch")
        message.priority = _PRIORITIES[options["priority"]]
    if "history" in options:
        message.user.history.CopyFrom(history(options["history"], "user.history"))
    for name, given in options.get("features", {}).items():
        message.user.features[name].CopyFrom(value(given, f"user.features[{name}]"))
    for name, given in options.get("context", {}).items():
        message.context[name].CopyFrom(value(given, f"context[{name}]"))
    if "candidates" in options:
        message.candidates.CopyFrom(ids(options["candidates"], "candidates"))
    if "debug" in options:
        message.debug.CopyFrom(_debug(options["debug"]))
    return message


def ids(given: types.Ids, field: str) -> pb.ItemIds:
    """Ids of one kind; the first decides which."""
    if isinstance(given, str | bytes):
        raise _fault(field, "is one text; give a list of ids")
    values: list[Any] = list(given)
    if values and isinstance(values[0], str):
        return _make(pb.ItemIds, field, strings=values)
    return _make(pb.ItemIds, field, ints=values)


def history(given: types.History, field: str) -> pb.History:
    items = ids(given.items, f"{field}.items")
    return _make(pb.History, field, items=items, actions=list(given.actions), times=list(given.times))


def value(given: types.FeatureValue, field: str) -> pb.Value:
    if isinstance(given, bool):
        raise _fault(field, "is a bool; send 0 or 1, or the text that the column knows")
    if isinstance(given, int):
        return _make(pb.Value, field, integer=given)
    if isinstance(given, float):
        return _make(pb.Value, field, number=given)
    if isinstance(given, str):
        return _make(pb.Value, field, text=given)
    if isinstance(given, Sequence) and not isinstance(given, bytes):
        return pb.Value(texts=_make(pb.TextList, field, values=list(given)))
    raise _fault(field, f"has the type {type(given).__name__}; a feature is an int, a float, a str or a list of str")


def _filters(options: types.RequestOptions) -> pb.Filters:
    filters = pb.Filters(keep_seen=options.get("keep_seen", False), keep_unavailable=options.get("keep_unavailable", False))
    for position, given in enumerate(options.get("filters", ())):
        field = f"filters.columns[{position}]"
        column = filters.columns.add(column=given.column)
        column.any_of.extend(value(one, f"{field}.any_of") for one in given.any_of)
        column.none_of.extend(value(one, f"{field}.none_of") for one in given.none_of)
        if given.minimum is not None:
            column.min = given.minimum
        if given.maximum is not None:
            column.max = given.maximum
    return filters


def _debug(given: types.Debug) -> pb.Debug:
    debug = _make(
        pb.Debug,
        "debug",
        release_id=given.release_id,
        seed=given.seed,
        do_not_log=given.do_not_log,
        explain_results=given.explain_results,
        explain=ids(given.explain, "debug.explain"),
        force=ids(given.force, "debug.force"),
    )
    if given.force_rung is not None:
        if given.force_rung not in _RUNGS:
            raise _fault("debug.force_rung", f"is {given.force_rung!r}; use one of {', '.join(_RUNGS)}")
        debug.MergeFrom(pb.Debug(force_rung=f"RUNG_{given.force_rung.upper()}"))
    for name, one in given.override_features.items():
        debug.override_features[name].CopyFrom(value(one, f"debug.override_features[{name}]"))
    return debug


def tenant(name: str) -> str:
    """The name as metadata carries it."""
    if not name.isascii() or not name.isprintable() or len(name) > MAX_TENANT:
        raise _fault("tenant", f"is {name!r}; use at most {MAX_TENANT} printable ASCII characters")
    return name


def _make(kind: type[M], field: str, **values: Any) -> M:
    """A message of `kind`; protobuf's complaint about a value becomes a fault of `field`."""
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise _fault(field, f"does not fit the contract: {error}") from error


def _fault(field: str, description: str) -> InvalidRequestError:
    return InvalidRequestError(f"{field}: {description}", code="INVALID_ARGUMENT", fields=[FieldViolation(field, description)])


def id_list(message: pb.ItemIds) -> list[int] | list[str]:
    return list(message.strings) if message.strings else list(message.ints)


def recommendation(message: pb.RecommendResponse) -> types.Recommendation:
    coverage = message.coverage
    return types.Recommendation(
        request_id=message.request_id,
        release_id=message.release_id,
        items=id_list(message.items),
        scores=list(message.scores),
        tasks={task.task: list(task.predictions) for task in message.tasks},
        stages=[types.StageReport(stage.stage, stage.items_in, stage.items_out, stage.micros) for stage in message.stages],
        coverage=types.Coverage(
            stages_run=list(coverage.stages_run),
            degraded=coverage.degraded,
            rung=pb.Rung.Name(coverage.rung).removeprefix("RUNG_").lower(),
            degradations=[types.Degradation(one.stage, one.reason, one.detail) for one in coverage.degradations],
        ),
        dropped={one.reason: one.count for one in message.dropped},
        explanations=[_explanation(one) for one in message.explanations],
        micros=message.micros,
    )


def _explanation(message: pb.Explanation) -> types.Explanation:
    return types.Explanation(
        item=id_list(message.item)[0],
        known=message.known,
        sources=[types.SourceScore(one.source, one.rank, one.score) for one in message.sources],
        cross=list(message.cross),
        prerank_score=message.prerank_score if message.HasField("prerank_score") else None,
        prerank_rank=message.prerank_rank if message.HasField("prerank_rank") else None,
        logits=list(message.logits),
        score=message.score if message.HasField("score") else None,
        rank=message.rank if message.HasField("rank") else None,
        drop_reason=message.drop_reason,
    )


def stored_user(message: pb.User) -> types.StoredUser:
    return types.StoredUser(
        id=message.id,
        items=id_list(message.history.items),
        actions=list(message.history.actions),
        times=list(message.history.times),
        features={name: _plain(one) for name, one in message.features.items()},
    )


def _plain(message: pb.Value) -> int | float | str | list[str]:
    kind = message.WhichOneof("kind")
    if kind == "texts":
        return list(message.texts.values)
    return cast(int | float | str, getattr(message, kind)) if kind else ""


def release(message: release_pb2.Release) -> types.Release:
    state = release_pb2.ReleaseState.Name(message.state).removeprefix("RELEASE_STATE_").lower()
    return types.Release(message.release_id, state, message.reason, message.created_at, message.digest)
