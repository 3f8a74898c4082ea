"""Retrieval vectors in 8 and 4 bits for a first scan; the best of it are scored again in fp32. The numpy reference of docs/bundle.md.

Dot products are what retrieval needs, so both codes are symmetric grids around 0 with a scale per vector, and the query stays fp32. 4 bits
are too coarse for a vector whose length sits in few coordinates. A random rotation (signs, then the Hadamard transform, as in QuIP,
arXiv 2307.13304, and RaBitQ, arXiv 2405.12497) spreads it over all of them and keeps every dot product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.errors import BundleError, ConfigError
from shortlist.export.tables import Floats, Ints, Tensors, take

Bytes = npt.NDArray[np.uint8]
EIGHT, FOUR = 127, 7.5  # the largest |code| of each grid; 4-bit codes are the 16 odd multiples of a half
KINDS = ("int8", "int4")


@dataclass(frozen=True)
class Int8Vectors:
    """x is scale * (code - 128), code in 1..255, scale = max|x| / 127: off by at most scale / 2 in every coordinate."""

    codes: Bytes  # [I,K]
    scale: Floats  # [I]

    @classmethod
    def encode(cls, vectors: Floats) -> Int8Vectors:
        scale = _scale(vectors, EIGHT)
        return cls((np.rint(vectors / _divisor(scale)) + 128).astype(np.uint8), scale)

    def decode(self) -> Floats:
        """[I,K]."""
        decoded: Floats = (self.codes.astype(np.float32) - 128) * self.scale[:, np.newaxis]
        return decoded

    def coded(self, x: Floats) -> Floats:
        """What the codes stand for: x itself."""
        return x

    def scores(self, queries: Floats) -> Floats:
        """Approximate dot products [B,I] of queries [B,K]."""
        scores: Floats = queries @ self.decode().T
        return scores

    def tensors(self) -> Tensors:
        return {"codes": self.codes, "scale": self.scale}

    @classmethod
    def read(cls, tensors: Tensors, *, items: int, width: int) -> Int8Vectors:
        """Raises BundleError."""
        return cls(take(tensors, "codes", np.uint8, (items, width)), take(tensors, "scale", np.float32, (items,)))

    @property
    def bytes_per_item(self) -> int:
        return int(self.codes.shape[1] + 4)


@dataclass(frozen=True)
class Int4Vectors:
    """The rotated x is scale * (code - 7.5), code in 0..15, scale = max|rotated x| / 7.5: off by at most scale / 2 in every coordinate.

    Two codes are one byte, the first in the lower half. P, the rotated width, is the next power of two after K.
    """

    codes: Bytes  # [I,P/2]
    scale: Floats  # [I]
    signs: Floats  # [P], -1 or 1

    @classmethod
    def encode(cls, vectors: Floats, seed: int = 0) -> Int4Vectors:
        signs = random_signs(vectors.shape[1], seed)
        rotated = rotate(vectors, signs)
        scale = _scale(rotated, FOUR)
        codes = np.clip(np.floor(rotated / _divisor(scale)) + 8, 0, 15).astype(np.uint8)
        return cls(codes[:, 0::2] | codes[:, 1::2] << 4, scale, signs)

    def decode(self) -> Floats:
        """The rotated vectors [I,P]."""
        codes = np.stack((self.codes & 15, self.codes >> 4), axis=-1).reshape(len(self.codes), -1)
        decoded: Floats = (codes.astype(np.float32) - np.float32(FOUR)) * self.scale[:, np.newaxis]
        return decoded

    def coded(self, x: Floats) -> Floats:
        """What the codes stand for: x rotated."""
        return rotate(x, self.signs)

    def scores(self, queries: Floats) -> Floats:
        """Approximate dot products [B,I] of queries [B,K]."""
        scores: Floats = self.coded(queries) @ self.decode().T
        return scores

    def tensors(self) -> Tensors:
        return {"codes": self.codes, "scale": self.scale, "signs": self.signs}

    @classmethod
    def read(cls, tensors: Tensors, *, items: int, width: int) -> Int4Vectors:
        """Raises BundleError."""
        rotated = rotated_width(width)
        signs = take(tensors, "signs", np.float32, (rotated,))
        if not np.isin(signs, (-1, 1)).all():
            raise BundleError("tensor 'signs' holds other values than -1 and 1", fix="export the release again")
        return cls(take(tensors, "codes", np.uint8, (items, rotated // 2)), take(tensors, "scale", np.float32, (items,)), signs)

    @property
    def bytes_per_item(self) -> int:
        return int(self.codes.shape[1] + 4)


SmallVectors = Int8Vectors | Int4Vectors


def small_vectors(kind: str, vectors: Floats) -> SmallVectors:
    """Vectors [I,K] as "int8" or "int4". Raises ConfigError."""
    check_kinds([kind])
    return Int8Vectors.encode(vectors) if kind == "int8" else Int4Vectors.encode(vectors)


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises ConfigError for an unknown kind."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"retrieval vectors cannot be {unknown[0]!r}", fix=f"choose of {list(KINDS)}")


def read_small(kind: str, tensors: Tensors, *, items: int, width: int) -> SmallVectors:
    """Raises BundleError."""
    reader = Int8Vectors if kind == "int8" else Int4Vectors
    return reader.read(tensors, items=items, width=width)


def misfit(small: SmallVectors, vectors: Floats) -> float:
    """The largest |difference| between codes and vectors [I,K] in half steps: at most 1, up to rounding, where the codes are theirs."""
    true = small.coded(vectors)
    bound = 0.5 * small.scale[:, np.newaxis] + 1e-6 * np.abs(true) + np.float32(1e-30)
    return float((np.abs(small.decode() - true) / bound).max(initial=0.0))


def search(small: SmallVectors, vectors: Floats, queries: Floats, k: int, shortlist: int) -> Ints:
    """Rows [B,k]: the best `shortlist` by approximate score, and of these the k best by exact score. Ties: lower row."""
    if not 1 <= k <= shortlist:
        raise ConfigError(f"k is {k} and the shortlist {shortlist}", why="k of the shortlist are kept", fix="let 1 <= k <= shortlist")
    first = top(small.scores(queries), shortlist)
    found = np.empty((len(queries), min(k, len(vectors))), dtype=np.int64)
    for query, rows in enumerate(first):
        rows = np.sort(rows)  # a stable sort then keeps the lower row first
        found[query] = rows[np.argsort(-(vectors[rows] @ queries[query]), kind="stable")[:k]]
    return found


def top(scores: Floats, k: int) -> Ints:
    """The k best columns of each row, best first, ties by lower column."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)


def recall(found: Ints, exact: Ints) -> float:
    """Mean share of the exact rows [B,k] that were found [B,k]."""
    return float(np.mean([len(np.intersect1d(mine, theirs)) / len(theirs) for mine, theirs in zip(found, exact, strict=True)]))


def rotate(x: Floats, signs: Floats) -> Floats:
    """x [...,K], padded with 0 to [...,P], times an orthogonal [P,P]: P^-0.5 * Hadamard * diag(signs)."""
    width = len(signs)
    rotated = np.zeros((*x.shape[:-1], width), dtype=np.float32)
    rotated[..., : x.shape[-1]] = x
    rotated *= signs
    half = 1
    while half < width:  # the fast transform: log2(P) passes of sums and differences
        pairs = rotated.reshape(*x.shape[:-1], width // (2 * half), 2, half)
        rotated = np.stack((pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]), axis=-2).reshape(rotated.shape)
        half *= 2
    rotated *= np.float32(width**-0.5)
    return rotated


def random_signs(width: int, seed: int) -> Floats:
    """[P] of -1 and 1. Stored with the codes, so no other language has to draw them."""
    return np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.float32), rotated_width(width))


def rotated_width(width: int) -> int:
    """P: the least power of two that is at least K and 2."""
    return 1 << max(1, (width - 1).bit_length())


def _scale(x: Floats, largest: float) -> Floats:
    """[I]: the grid's last point is the largest |x| of a vector."""
    scale: Floats = (np.abs(x).max(axis=1) / np.float32(largest)).astype(np.float32)
    return scale


def _divisor(scale: Floats) -> Floats:
    """[I,1]; a vector of zeros is divided by 1."""
    divisor: Floats = np.where(scale > 0, scale, np.float32(1))[:, np.newaxis]
    return divisor
