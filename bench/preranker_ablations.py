"""What each part of the preranker is worth: one two-tower, then the whole preranker and every ablation of it on the same draws.

    python bench/preranker_ablations.py                                       # the default market, 3 seeds: docs/reports/preranker.md
    python bench/preranker_ablations.py --data marketplace:users=10000,items=5000,events=300000 --seeds 5

Everything that the frozen two-tower computes (histories, mined candidates, counters) is computed once per seed and shared, so the variants
of a seed differ in the preranker alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.splits import event_users, training_mask
from shortlist.evaluation.bootstrap import Estimate, estimate_means
from shortlist.metrics.hits import hits_at_k
from shortlist.models.flops import request_flops
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.two_tower import TwoTower, TwoTowerConfig
from shortlist.schema import AVAILABLE_FROM, AVAILABLE_UNTIL
from shortlist.training import checkpoint
from shortlist.training.batches import LogTensors, Rows, fresh_start, target_histories
from shortlist.training.cascade import CascadeEvaluation, ranks_in_list
from shortlist.training.config import Cascade, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.loop import fit
from shortlist.training.preranker_stage import PrerankerStage
from shortlist.training.retrieval import first_meetings, retrieval_ranks
from shortlist.training.run import fit_numbers
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches
from shortlist.training.source import load_source
from shortlist.training.two_tower_stage import TwoTowerStage

DATA = "marketplace:users=4000,items=2000,events=120000,logged_requests=20000"
TOP = 3
ON_ALL = "two-tower on all events"
Hits = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    name: str
    config: PrerankerTraining


def variants(base: PrerankerTraining) -> list[Variant]:
    """The whole preranker first."""
    parts = {
        "without session": ("session",),
        "without counters": ("counters",),
        "plain network for masks": ("masknet",),
        "one head for all tasks": ("heads",),
    }
    ablated = [Variant(name, dataclasses.replace(base, model=PrerankerConfig(ablate=parts[name]))) for name in parts]
    return [Variant("whole", base), *ablated, Variant("without in-batch loss", dataclasses.replace(base, in_batch_weight=0.0))]


def configuration(data: str) -> RunConfig:
    return RunConfig(
        name="preranker",
        data=data,
        split="time",
        fresh_share=0.1,
        validation_targets=1000,
        two_tower=TwoTowerTraining(
            model=TwoTowerConfig(), optimisation=Optimisation(epochs=10, learning_rate=2e-3, warmup_steps=50), batch_events=2048
        ),
        preranker=PrerankerTraining(optimisation=Optimisation(epochs=3, learning_rate=4e-3, warmup_steps=10), batch_events=2048),
        ranker=RankerTraining(optimisation=Optimisation(epochs=0)),
        cascade=Cascade(retrieve=300, prerank=100),
    )


class SharedRetriever(FrozenRetriever):
    """Remembers every encoding: variants train and are measured on the same stretches."""

    def __init__(self, model: TwoTower, log: LogTensors) -> None:
        super().__init__(model, log)
        self._known: dict[int, tuple[Stretches, tuple[Tensor, Tensor]]] = {}

    def encode(self, batch: Stretches) -> tuple[Tensor, Tensor]:
        if id(batch) not in self._known:
            self._known[id(batch)] = batch, super().encode(batch)
        return self._known[id(batch)][1]


class SharedDraws(PrerankerStage):
    """Draws of every (epoch, batch) are made once and kept in `drawn`, from a generator of their own."""

    drawn: dict[tuple[int, bytes], tuple[Stretches, Lists, Lists | None]]
    epoch = 0

    def batches(self, epoch: int) -> list[Rows]:
        self.epoch = epoch
        return list(super().batches(epoch))

    def draw(self, batch: Rows) -> tuple[Stretches, Lists, Lists | None]:
        key = (self.epoch, batch.tobytes())
        if key not in self.drawn:
            with torch.random.fork_rng(), torch.inference_mode(False):
                torch.manual_seed(hash((self.seed, self.epoch, len(self.drawn))) % 2**31)
                self.drawn[key] = super().draw(batch)
        return self.drawn[key]


class ServedEvaluation(CascadeEvaluation):
    """As the offline funnel, but items that are not available at the time of the request are no candidates, as in the server."""

    def __init__(self, available: tuple[Rows, Rows], *rest: object) -> None:
        super().__init__(*rest)  # type: ignore[arg-type]
        self.available = available

    def _retrieve(self) -> None:
        super()._retrieve()
        since, until = self.available
        for place, (chosen, users, lists, row, scores) in enumerate(self._retrieved):
            rows, now = lists.rows.numpy(), self.retriever.log.log.time[self.target[chosen]][:, None, None]
            open_now = (since[rows] <= now) & ((until[rows] == 0) | (now < until[rows]))
            lists = dataclasses.replace(lists, valid=lists.valid & torch.from_numpy(open_now))
            self._retrieved[place] = (chosen, users, lists, row, scores)
            self._retrieval_ranks[chosen] = ranks_in_list(scores, lists, row).numpy()


class Bench:
    def __init__(self, config: RunConfig, targets: int) -> None:
        self.config, self.source = config, load_source(config)
        self.log = LogTensors(self.source.log, torch.device("cpu"))
        split = self.source.split
        self.training = np.flatnonzero(training_mask(self.source.log, split))
        self.validation, self.test = (first_meetings(self.source.log, part) for part in (split.validation, split.test))
        self.test = np.sort(np.random.default_rng(1).permutation(self.test)[:targets])
        self.cross = CrossCounters(self.source.log, split)

    def two_tower(self, share: float, folder: Path) -> TwoTower:
        """Trained on all but the newest `share` of each user's training events; read from `folder` when it is there."""
        config = self.config.two_tower
        torch.manual_seed(self.config.seed)
        model = config.model.build(self.source.log.schema)
        path = folder / f"two_tower_{share}.safetensors"
        if path.exists():
            checkpoint.load_model(path, model)
            return model.eval()
        fit_numbers(model, self.log, self.training)
        watched = np.sort(np.random.default_rng(0).permutation(self.validation)[: self.config.validation_targets])
        fresh = fresh_start(self.source.log, self.source.split.train_end, share)
        stage = TwoTowerStage(model, self.log, fresh, watched, config, self.config.seed)
        fit(stage, config.optimisation, folder / f"two_tower_{share}", self.log.device, resume=False)
        checkpoint.save_model(path, model)
        return model.eval()

    def run(self, seeds: int, folder: Path, *, on_all_events: bool) -> Iterator[tuple[int, Results]]:
        """How many seeds are done, and their results, after each."""
        config, source = self.config, self.source
        retriever = SharedRetriever(self.two_tower(config.fresh_share, folder), self.log)
        watched = np.sort(np.random.default_rng(0).permutation(self.validation)[: config.validation_targets])
        frame = source.dataset.items.sort("item_id")
        available = frame[AVAILABLE_FROM].to_numpy(), frame[AVAILABLE_UNTIL].to_numpy()
        watch = CascadeEvaluation(retriever, self.cross, watched, config.cascade)
        offline = CascadeEvaluation(retriever, self.cross, self.test, config.cascade)
        served = ServedEvaluation(available, retriever, self.cross, self.test, config.cascade)
        fresh = fresh_start(source.log, source.split.train_end, config.fresh_share)
        results = Results(event_users(source.log, self.test))
        if on_all_events:
            results.offline[ON_ALL] = [hits_at_k(retrieval_ranks(self.two_tower(0.0, folder), self.log, self.test), TOP)]
        for seed in range(seeds):
            SharedDraws.drawn = {}
            for variant in variants(config.preranker):
                begin = time.monotonic()
                torch.manual_seed(seed)
                model = variant.config.model.build(source.log.schema, config.two_tower.model)
                fit_numbers(model, self.log, self.training)
                stage = SharedDraws(model, retriever, self.cross, source.split, fresh, watch, variant.config, seed)
                with tempfile.TemporaryDirectory() as scratch:
                    best = fit(stage, variant.config.optimisation, Path(scratch), self.log.device).best_epoch
                for evaluation, into in ((offline, results.offline), (served, results.served)):
                    ranks = evaluation.ranks(model, None)
                    into.setdefault("two-tower", [hits_at_k(ranks["two_tower"], TOP)])
                    into.setdefault(variant.name, []).append(hits_at_k(ranks["preranker"], TOP))
                hits = results.offline[variant.name][-1].mean()
                print(f"seed {seed} {variant.name}: HITS@{TOP} {hits:.4f}, epoch {best}, {time.monotonic() - begin:.0f} s", flush=True)
            yield seed + 1, results

    def flops(self) -> list[tuple[str, int, int, int]]:
        """Name, events, operations of the two-tower and of the preranker on it, per request."""
        schema, candidates = self.source.log.schema, self.config.cascade.retrieve
        tower = self.config.two_tower.model.build(schema).eval()
        preranker = self.config.preranker.model.build(schema, self.config.two_tower.model).eval()
        mean = round(float(target_histories(self.source.log, self.test).length.mean()))
        return [
            (
                name,
                events,
                request_flops(tower, None, events=events, candidates=candidates),
                request_flops(tower, preranker, events=events, candidates=candidates),
            )
            for name, events in (("the mean history of a test request", mean), ("a full window", schema.history_max_events))
        ]


class Results:
    """Hits [test targets] by variant and seed, in the offline protocol and as served."""

    def __init__(self, users: Rows) -> None:
        self.users = users
        self.offline: dict[str, list[Hits]] = {}
        self.served: dict[str, list[Hits]] = {}

    def change(self, hits: dict[str, list[Hits]], name: str, against: str) -> Estimate:
        """Relative change of the mean over seeds, with its 95% interval over users."""
        base = np.mean(hits[against], axis=0)
        difference = estimate_means({"": np.mean(hits[name], axis=0) - base}, self.users)[""]
        assert difference.low is not None
        assert difference.high is not None
        return Estimate(*(value / base.mean() for value in (difference.value, difference.low, difference.high)))


def table(results: Results, hits: dict[str, list[Hits]]) -> list[str]:
    lines = [f"| model | HITS@{TOP} | each seed | against the two-tower | against the whole |", "|---|---|---|---|---|"]
    for name, each in hits.items():
        seeds = ", ".join(f"{hit.mean():.4f}" for hit in each)
        cells = [f"{np.mean(each):.4f}", seeds]
        for against in ("two-tower", "whole"):
            change = results.change(hits, name, against)
            cells.append("" if name == against else f"{change.value:+.1%} ({change.low:+.1%} to {change.high:+.1%})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def report(bench: Bench, results: Results, seeds: int, minutes: float) -> str:
    log, config = bench.source.log, bench.config
    lost = {name: -results.change(results.offline, name, "whole").value for name in (v.name for v in variants(config.preranker)[1:])}
    gain = results.change(results.offline, "whole", "two-tower")
    lines = [
        "# The preranker and its ablations",
        "",
        f"`{config.data}`, split by time: {len(log.user_ids):,} users, {len(log.item_ids):,} items, {len(log.item):,} events, "
        f"{len(bench.test):,} test targets (first meetings of user and item).",
        f"The preranker orders the {config.cascade.retrieve} items that the two-tower retrieves. {seeds} seeds; the two-tower, mined "
        "candidates and batches are the same for all variants of a seed.",
        "Intervals are 95% bootstrap intervals over users of the mean over seeds. "
        "HITS@3: is the item of the next event among the best three?",
        "",
        "```",
        shlex.join(["python", "bench/preranker_ablations.py", *sys.argv[1:]]),
        "```",
        "",
        f'**The whole preranker: {gain.value:+.1%} HITS@3. The largest loss is that of "{max(lost, key=lambda name: lost[name])}".**',
        "",
        "## Offline protocol: all items, seen ones left out",
        "",
        *table(results, results.offline),
        "",
        "The two-tower keeps the newest tenth of each user's events from its training, for the preranker."
        + (f' "{ON_ALL}" is what it does when nothing follows it and it may train on them too.' if ON_ALL in results.offline else ""),
        "",
        "## As served: items not available at the time of the request are no candidates",
        "",
        "Recent counters also tell which items are still there. A server knows that anyway, so this table shows what is left of the gain.",
        "",
        *table(results, results.served),
        "",
        "## Cost of a request",
        "",
        f"Query encoder and scores of {config.cascade.retrieve} candidates, in floating-point operations of matrix products.",
        "",
        "| history | two-tower | with the preranker | more |",
        "|---|---|---|---|",
        *(f"| {name}: {n} events | {ours:,} | {both:,} | {both / ours - 1:+.1%} |" for name, n, ours, both in bench.flops()),
        "",
        f"One thread, {minutes:.0f} minutes in all on a machine that other programs were using.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=DATA, help=f"a spec of shortlist.data.load ({DATA})")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of every variant (3)")
    parser.add_argument("--targets", type=int, default=4000, help="test targets, drawn at random (4000)")
    parser.add_argument("--on-all-events", action="store_true", help="also a two-tower that keeps no events for the preranker")
    parser.add_argument("--folder", type=Path, default=Path(".tmp/preranker"), help="keeps the two-towers (.tmp/preranker)")
    parser.add_argument("--report", type=Path, default=Path("docs/reports/preranker.md"), help="the page to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.monotonic()
    bench = Bench(configuration(args.data), args.targets)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    for seeds, results in bench.run(args.seeds, args.folder, on_all_events=args.on_all_events):  # what is measured is kept
        args.report.write_text(report(bench, results, seeds, (time.monotonic() - begin) / 60), encoding="utf-8")
    print(args.report.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
