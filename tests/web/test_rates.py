"""Token buckets."""

from __future__ import annotations

from web.rates import Bucket


def test_a_bucket_holds_a_seconds_worth_and_fills_at_its_rate() -> None:
    now = 0.0
    bucket = Bucket(4, lambda: now)

    assert [bucket.take() for _ in range(5)] == [True] * 4 + [False]
    now = 0.5
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    now = 100.0
    assert sum(bucket.take() for _ in range(10)) == 4
