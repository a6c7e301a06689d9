"""The queue for stock: who gets what when several want it. First accepted, first served.

Nobody takes units of a SKU that an order accepted earlier waits for; an order that lacks one SKU
is in nobody's way for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pipeline.inventory.allocation import Allotment, Demand, Shelves
from pipeline.pricing.redemption import Purse, Use


@dataclass(frozen=True, slots=True)
class Claim:
    """What an order wants: units, and uses of its coupons."""

    demand: Demand
    uses: tuple[Use, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """It gets nothing yet, and waits for these SKUs."""

    skus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutOfStock:
    """It gets nothing: of the SKUs it lacks not all may be waited for."""

    skus: tuple[str, ...]


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
    """Pure: an answer for each claim, by order id, in order of acceptance (that of the ids). One
    gets its units and its coupons, both or neither.

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
        if isinstance(answer, list):
            purse.take(claim.uses)
        elif isinstance(answer, Wait):
            wanted_before.update(answer.skus)
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
    if isinstance(taken, list):
        return taken
    final = tuple(sku for sku in taken.skus if not may_wait.get(sku, False))
    if not final:
        return Wait(taken.skus)
    return Withheld(final) if all(sku in held for sku in final) else OutOfStock(taken.skus)
