"""Offline metrics, one concept per file. Vectorised, accumulated in float64; NaN is refused, never averaged.

Ranking metrics take the ranks of relevant items (`order.py`), so the tie rule is applied in one place.
"""
