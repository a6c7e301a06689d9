"""A count beside the books, as of its time.

The rule. A movement is in the books as of the moment it was written, which is a little before its
transaction is committed and a little off from when somebody's hand was at the shelf. So what moved
within `EDGE` of a count may be in it or not: the count agrees with the books if it is what was on
hand at any moment from EDGE before to EDGE after. If it is none of these, the difference is to the
nearest of them. A difference that is exactly what moved in that time can't be told from it; the
next count tells. What moved later is no difference, and orders that reserve units move none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from pipeline.inventory.allocation import Level
from pipeline.stock_reconciliation.counts import CountRow
from pipeline.storage.database import Tx
from pipeline.storage.stock_ledger import Standing, moved, standing

EDGE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Compared:
    """What was counted, and what was `expected`. `is_still`: nothing moved around its time.
    `is_superseded`: the level has been counted, and put right, since."""

    counted: CountRow
    expected: int
    is_still: bool
    is_superseded: bool

    @property
    def level(self) -> Level:
        return self.counted.level

    @property
    def at(self) -> datetime:
        return self.counted.counted_at

    @property
    def difference(self) -> int:
        return self.counted.units - self.expected


def compare(tx: Tx, counts: Sequence[CountRow], now: datetime) -> list[Compared]:
    """Each count beside the books, in the order given. `now` is the database's, of this transaction."""
    ends = standing(tx, [(c.level, min(c.counted_at + EDGE, now)) for c in counts])
    moves = moved(tx, [(c.level, c.counted_at - EDGE, c.counted_at + EDGE) for c in counts])
    return [judge(c, end, led) for c, end, led in zip(counts, ends, moves, strict=True)]


def judge(counted: CountRow, end: Standing, moves: Sequence[int]) -> Compared:
    """Pure: `end` is the level at the end of the time around the count, `moves` what led to it, in
    order."""
    states = accumulate(reversed(moves), lambda units, move: units - move, initial=end.on_hand)
    expected = min(states, key=lambda units: abs(counted.units - units))
    return Compared(counted, expected, not moves, end.counted_since is not None)
