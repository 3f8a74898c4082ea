"""The two-tower's training without abstractions: one file, one loop, to read first and to try ideas in.

    python recipes/plain_loop.py ml-100k:../../shared/data/ml-100k

`shortlist train` does the same with checkpoints, length buckets, early stopping and two more stages.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch
from torch.nn import functional

from shortlist.data.encode import encode
from shortlist.data.load import load
from shortlist.data.splits import leave_one_out
from shortlist.models.two_tower import TwoTowerConfig, logit_scale, state_at
from shortlist.schema import ACTION

EPOCHS, USERS, NEGATIVES, WINDOW, RATE = 10, 64, 512, 200, 1e-3


def main(spec: str) -> float:
    """Train on a data set by its spec; prints the loss and returns HR@10 on validation."""
    torch.manual_seed(0)
    log = encode(load(spec))
    split = leave_one_out(log)
    items = {name: torch.from_numpy(values) for name, values in log.items.items()}
    users = {name: torch.from_numpy(values) for name, values in log.users.items()}
    context = {name: torch.from_numpy(values) for name, values in log.context.items()}
    rows, actions = torch.from_numpy(log.item), torch.from_numpy(log.action)
    model = TwoTowerConfig().build(log.schema)
    model.item.fit_numbers(items)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)

    def history(start: np.ndarray, length: np.ndarray) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Event indices [B,N] and history columns; padding is 0 in every column."""
        offset = torch.arange(max(1, int(length.max())))
        valid = offset < torch.from_numpy(length).unsqueeze(1)
        index = torch.where(valid, torch.from_numpy(start).unsqueeze(1) + offset, 0)
        columns = {c.name: items[c.name][rows[index]] for c in log.schema.history} | {ACTION: actions[index]}
        for name, values in columns.items():
            columns[name] = values * valid.view(*valid.shape, *[1] * (values.dim() - 2)).to(values.dtype)
        return index, columns

    trained = np.flatnonzero(split.train_end - log.ptr[:-1] >= 2)
    for epoch in range(EPOCHS):
        begin, losses = time.monotonic(), []
        model.train()
        for batch in np.array_split(np.random.default_rng(epoch).permutation(trained), -(-len(trained) // USERS)):
            # The inputs are all events but the last; the state after i of them predicts event i + 1 of the stretch.
            length = np.minimum(split.train_end[batch] - log.ptr[batch], WINDOW + 1) - 1
            start = split.train_end[batch] - length - 1
            index, columns = history(start, length)
            lengths = torch.from_numpy(length)
            states = model.states(columns, lengths)[:, 1:]
            valid = torch.arange(index.shape[1]) < lengths.unsqueeze(1)
            target = index[valid] + 1
            owner = torch.from_numpy(batch).unsqueeze(1).expand_as(index)[valid]
            query = model.query_vector(states[valid], {n: v[owner] for n, v in users.items()}, {n: v[target] for n, v in context.items()})
            query = query * logit_scale(model.config.retrieval_width)
            # Uniform negatives: a softmax over a sample of the catalog, the positive always in it.
            negative = torch.randint(len(log.item_ids), (NEGATIVES,))
            positive = rows[target]
            both = model.item_vectors({n: v[torch.cat((positive, negative))] for n, v in items.items()})
            own = (query * both[: len(positive)]).sum(dim=1, keepdim=True)
            others = (query @ both[len(positive) :].T).masked_fill(positive.unsqueeze(1) == negative, -1e9)
            loss = functional.cross_entropy(torch.cat((own, others), dim=1), torch.zeros(len(positive), dtype=torch.int64))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

        # Full ranking of each user's validation event, items of the history left out.
        model.eval()
        hits = []
        with torch.inference_mode():
            vectors = model.item_vectors(items)
            for part in np.array_split(split.validation, -(-len(split.validation) // 256)):
                user = np.searchsorted(log.ptr, part, side="right") - 1
                length = np.minimum(part - log.ptr[user], WINDOW)
                lengths = torch.from_numpy(length)
                states = state_at(model.states(history(part - length, length)[1], lengths), lengths)
                query = model.query_vector(states, {n: v[user] for n, v in users.items()}, {n: v[part] for n, v in context.items()})
                scores = query @ vectors.T
                for b, (u, e) in enumerate(zip(user, part, strict=True)):
                    scores[b, rows[log.ptr[u] : e]] = -torch.inf
                best = scores.topk(10, dim=1).indices
                hits.append((best == rows[part].unsqueeze(1)).any(dim=1).float())
        hit_rate = torch.cat(hits).mean().item()
        print(f"epoch {epoch + 1}  loss {np.mean(losses):.4f}  HR@10 {hit_rate:.4f}  {time.monotonic() - begin:.1f} s")
    return hit_rate


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "ml-100k:../../shared/data/ml-100k")
