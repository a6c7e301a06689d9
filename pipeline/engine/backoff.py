"""How long to wait before trying again."""

from __future__ import annotations

import random

FIRST = 1.0
LONGEST = 600.0


def backoff(attempt: int) -> float:
    """Seconds before the next attempt after `attempt` (1, 2, …): doubling, jittered, 10 min at most.

    The jitter (half to whole) keeps a thousand orders that failed together from coming back together.
    """
    ceiling = min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 20))
    return float(ceiling * random.uniform(0.5, 1.0))
