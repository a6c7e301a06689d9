"""The queue for stock: who gets what when several want it. First accepted, first served.

Nobody takes units of a SKU that an order accepted earlier waits for. An order all of whose lacking
SKUs may be waited for takes each unit that nobody before it waits for, and keeps it until it has
all; or, by its source's policy, takes nothing until then, and waits for every SKU that it needs.

Nobody starves: the first of all who wait is the first in each queue it stands in, and gives nothing
back, so what arrives of the SKUs it lacks makes it whole; then the next is the first of all. Two can
hold what the other lacks only where the one accepted earlier came to the queue later, as it was on
hold before; the next unit of either SKU ends that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pipeline.inventory.allocation import Allotment, Demand, Shelves, Shortage
from pipeline.pricing.redemption import Purse, Use


@dataclass(frozen=True, slots=True)
class Claim:
    """What an order wants: the units that it doesn't hold yet, and uses of its coupons, if it doesn't
    hold these either. `keeps`: it takes what there is while it waits for the rest. `holds`: it has
    some of its units."""

    demand: Demand
    uses: tuple[Use, ...] = ()
    keeps: bool = True
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """It waits. `lacks`: the units by SKU that aren't there for it. `units`: those that it waits for,
    by SKU; nobody accepted later may have any of these SKUs. `taken`: what it gets meanwhile."""

    lacks: Mapping[str, int]
    units: Mapping[str, int]
    taken: tuple[Allotment, ...] = ()


@dataclass(frozen=True, slots=True)
class OutOfStock:
    """It gets nothing: of the SKUs it lacks not all may be waited for. `holds`: some of its units it
    had got before that was so, and they must be given back."""

    skus: tuple[str, ...]
    holds: bool = False


@dataclass(frozen=True, slots=True)
class Withheld:
    """It gets nothing: what it lacks may be there, but nothing is promised of these SKUs for now."""

    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spent:
    """It gets nothing: a coupon of its has no use left."""

    code: str


Answer = list[Allotment] | Wait | OutOfStock | Withheld | Spent


def serve(
    claims: Iterable[Claim],
    shelves: Shelves,
    purse: Purse,
    *,
    may_wait: Mapping[str, bool],
    waiting: Mapping[str, int] | None = None,
    held: Collection[str] = (),
) -> dict[int, Answer]:
    """Pure: an answer for each claim, by order id, in order of acceptance (that of the ids). A list
    makes the order whole. Coupons are taken with the first unit, both or neither.

    `waiting` is, by SKU, the first of the orders that wait for it and are not among the claims;
    `held` are the SKUs of which units are kept from being promised until a person has looked.
    """
    elsewhere = waiting or {}
    wanted_before: set[str] = set()
    answers: dict[int, Answer] = {}
    for claim in sorted(claims, key=lambda claim: claim.demand.order_id):
        demand = claim.demand
        earlier = {s for s, i in elsewhere.items() if i < demand.order_id} | wanted_before
        answer = _answer(claim, shelves, purse, earlier, may_wait, held)
        if isinstance(answer, Wait):
            wanted_before.update(answer.units)
        if isinstance(answer, list) or (isinstance(answer, Wait) and answer.taken):
            purse.take(claim.uses)
        answers[demand.order_id] = answer
    return answers


def _answer(
    claim: Claim, shelves: Shelves, purse: Purse, earlier: set[str], may_wait: Mapping[str, bool],
    held: Collection[str],
) -> Answer:  # fmt: skip
    code = purse.spent(claim.uses)
    if code is not None:
        return Spent(code)
    taken = shelves.take(claim.demand, earlier)
    if not isinstance(taken, Shortage):
        return taken
    final = tuple(sku for sku in taken.skus if not may_wait.get(sku, False))
    if not final:
        return _wait(claim, shelves, taken)
    if all(sku in held for sku in final):
        return Withheld(final)
    return OutOfStock(taken.skus, claim.holds)


def _wait(claim: Claim, shelves: Shelves, short: Shortage) -> Wait:
    if not claim.keeps:
        return Wait(short.units, claim.demand.needed)
    return Wait(short.units, short.units, tuple(shelves.take_part(claim.demand, short)))
