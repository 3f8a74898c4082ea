"""What a release holds beside its graphs, in memory: schema, funnel, value formula, catalog, counters and source tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shortlist.data.counters import CounterTable
from shortlist.errors import SchemaError
from shortlist.export.catalog import Catalog
from shortlist.export.tables import Counter, Neighbours, PopularLists, Ragged
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.schema import Op, Schema


@dataclass(frozen=True)
class Content:
    """Invariant (`check`): every source but two-tower ones has a table, every cross feature a counter, formulas name what exists."""

    schema: Schema
    funnel: pb.Funnel
    formula: pb.ValueFormula
    catalog: Catalog
    counters: Mapping[str, Counter]  # by cross feature
    sources: Mapping[str, Neighbours | PopularLists]  # by source

    def check(self) -> None:
        """Raises SchemaError that names the first contradiction."""
        if not len(self.catalog):
            raise SchemaError("the catalog has no items", fix="export a data set with items")
        if not self.funnel.sources:
            raise SchemaError("funnel.sources is empty", why="retrieval needs at least one source", fix="add a two-tower source")
        kinds: dict[int, type[Neighbours] | type[PopularLists]] = {pb.COOCCURRENCE: Neighbours, pb.POPULAR: PopularLists}
        for source in self.funnel.sources:
            if source.limit < 1:
                raise SchemaError(f"source {source.name!r} has the limit {source.limit}", fix="give it at least 1")
            if source.kind in kinds and not isinstance(self.sources.get(source.name), kinds[source.kind]):
                raise SchemaError(f"source {source.name!r} has no {kinds[source.kind].__name__} table", fix="give one in `sources`")
            if source.kind != pb.TWO_TOWER and source.kind not in kinds:
                raise SchemaError(
                    f"source {source.name!r} has the unknown kind {source.kind}", fix="use TWO_TOWER, COOCCURRENCE or POPULAR"
                )
        if missing := [cross.name for cross in self.schema.cross if cross.name not in self.counters]:
            raise SchemaError(f"cross features {missing} have no counters", fix="count them before export")
        sizes = {name: getattr(self.funnel, name) for name in ("prerank_keep", "default_limit", "max_limit", "max_candidates", "chunk")}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise SchemaError(f"funnel.{small[0]} is {sizes[small[0]]}", fix="give it at least 1")
        numbers = {column.name for column in self.schema.item if column.op is Op.NUMBER}
        if not self.formula.terms:
            raise SchemaError("the value formula has no terms", fix="add one, for example weight 1 and exponent 1 of the first task")
        for term in self.formula.terms:
            if term.task not in self.schema.tasks:
                raise SchemaError(f"the value formula names the task {term.task!r}", why=f"tasks are {list(self.schema.tasks)}")
            if term.item_column and term.item_column not in numbers:
                raise SchemaError(f"the value formula names the column {term.item_column!r}", why=f"item numbers are {sorted(numbers)}")


def counter_of(table: CounterTable) -> Counter:
    """The released form of counted rates."""
    compact = table.compact()
    keys = None if compact.keys is None else list(compact.keys)
    return Counter(keys, Ragged(compact.indptr, compact.rows, compact.rate_values))
