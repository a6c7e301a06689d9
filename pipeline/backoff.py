"""How long to wait before something is tried again. Each kind of thing has its own."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between attempts: `first` after the first, doubled after each, `longest` at most.

    The jitter (half to whole) keeps a thousand orders that failed together from coming back together.
    """

    first: float
    longest: float

    def after(self, attempt: int) -> float:
        """Seconds before the next attempt after `attempt` (1, 2, …)."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt - 1, 20))
        return float(ceiling * random.uniform(0.5, 1.0))
