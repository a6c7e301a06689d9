"""Splitting an amount so that the parts sum to it, to the minor unit."""

from __future__ import annotations

from collections.abc import Sequence


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """Split `total` ≥ 0 by `weights` ≥ 0; what rounding leaves over goes to the largest remainders,
    ties to the first. All-zero weights count as equal.

    Weights 4300, 1400, 2300 share 299 as 161, 52, 86.
    """
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    shares, remainders = [], []
    for weight in weights:
        share, remainder = divmod(total * weight, whole)
        shares.append(share)
        remainders.append(remainder)
    left = total - sum(shares)
    if left:
        by_remainder = sorted(range(len(shares)), key=remainders.__getitem__, reverse=True)
        for i in by_remainder[:left]:
            shares[i] += 1
    return shares
