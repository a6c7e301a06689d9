"""The short form, for every run of the tests."""

import random

import pytest

from tests.chaos.faults import Numbers
from tests.chaos.trial import Trial, run

TRIAL = Trial(
    orders=600,
    seconds=10.0,
    numbers=Numbers(kills=6, flushes=1, restarts=1, freezes=0),
    lease_seconds=5.0,
)


@pytest.mark.chaos
def test_what_was_accepted_is_settled_once_whatever_dies() -> None:
    seed = random.randrange(2**32)

    result = run(TRIAL, seed, print)

    print(result)
    assert result.problems == [], seed
