"""What must hold when it is over: nothing lost, nothing twice, nobody blamed, the books right.

It goes by the rows, the gateway's book and the journals of those who asked, and shares no code with
what it judges.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.verdict.case import Case
from tests.chaos.verdict.followers import followers
from tests.chaos.verdict.goods import goods
from tests.chaos.verdict.money import money
from tests.chaos.verdict.promises import promises
from tests.chaos.verdict.timelines import timelines

__all__ = ["Case", "problems"]


def problems(case: Case) -> Iterator[str]:
    """Everything that is not as it must be, in words."""
    for part in (promises, timelines, money, goods, followers):
        yield from part(case)
