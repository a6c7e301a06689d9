"""The short form, for every run of the tests: a little of everything."""

import random

import pytest

from tests.chaos.faults import EMBEDDED, ON_SERVERS
from tests.chaos.trial import Trial, run

#: Each fault once, and a few more kills.
SHORT = Trial(
    orders=300,
    seconds=9.0,
    faults=len(ON_SERVERS) + 3,
    table=dict.fromkeys(ON_SERVERS, 1.0),
    lease_seconds=4.0,
    pace=0.1,
    acts=6.0,
)
SHORT_EMBEDDED = Trial(
    orders=120,
    seconds=8.0,
    faults=8,
    table=dict.fromkeys(EMBEDDED, 1.0),
    lease_seconds=3.0,
    pace=0.15,
    acts=3.0,
    embedded=True,
)


@pytest.mark.chaos
@pytest.mark.long
@pytest.mark.timeout(900)  # beside others that keep all processors busy
@pytest.mark.parametrize("trial", [SHORT, SHORT_EMBEDDED], ids=["servers", "embedded"])
def test_what_was_accepted_is_settled_once_whatever_dies(trial: Trial) -> None:
    seed = random.randrange(2**32)

    result = run(trial, seed, print)

    print(result)
    assert result.problems == [], seed
