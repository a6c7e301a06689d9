"""An amount is split so that the parts sum to it: by largest remainder, ties to the first."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pricing.spread import largest_remainder


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (7, [1], [7]),
        (0, [3, 4], [0, 0]),
        (5, [1, 0], [5, 0]),
        (1, [1, 1], [1, 0]),  # a tie goes to the first
        (2, [1, 1, 1], [1, 1, 0]),
        (3, [1, 2, 1], [1, 1, 1]),  # 0.75, 1.5, 0.75: the larger remainders get what is left
        (1, [0, 0, 0], [1, 0, 0]),  # all zero count as equal
        (0, [], []),
    ],
)
def test_what_rounding_leaves_over_goes_to_the_largest_remainders(
    total: int, weights: list[int], shares: list[int]
) -> None:
    assert largest_remainder(total, weights) == shares


totals = st.integers(0, 10**15)
weights_ = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


@given(total=totals, weights=weights_)
def test_shares_sum_to_the_total_and_miss_the_exact_share_by_less_than_one(
    total: int, weights: list[int]
) -> None:
    shares = largest_remainder(total, weights)

    whole = sum(weights)
    exact = [
        Fraction(total * w, whole) if whole else Fraction(total, len(weights)) for w in weights
    ]
    assert sum(shares) == total
    assert all(abs(s - e) < 1 for s, e in zip(shares, exact, strict=True))


@given(weights=weights_, data=st.data())
def test_no_share_is_more_than_its_weight_while_the_total_is_no_more_than_all(
    weights: list[int], data: st.DataObject
) -> None:
    total = data.draw(st.integers(0, sum(weights)))

    assert all(s <= w for s, w in zip(largest_remainder(total, weights), weights, strict=True))
