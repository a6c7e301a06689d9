"""Promotions: what they take off a basket, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from pipeline.pricing import budget
from pipeline.pricing.basket import Basket, Shares
from pipeline.pricing.conditions import Condition
from pipeline.pricing.effects import Effect
from pipeline.pricing.selector import Selector


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion in one currency. `block` numbers what is decided together: the members of a group,
    or a promotion that is in none. `coupons` are the codes that name it."""

    id: str
    name: str
    target: str
    block: int
    last: bool
    coupons: frozenset[str]
    selector: Selector
    conditions: tuple[Condition, ...]
    effect: Effect

    def discount(self, basket: Basket) -> Shares:
        """What it takes off by now; nothing if it doesn't apply."""
        chosen = self.selector.choose(basket.lines)
        if not chosen:
            return {}
        for holds in self.conditions:
            if not holds(basket, chosen):
                return {}
        return self.effect(basket, chosen)

    def code(self, given: Sequence[str]) -> str | None:
        """The first of the codes given that names it."""
        for code in given:
            if code in self.coupons:
                return code
        return None


def apply(promotions: Iterable[Promotion], basket: Basket, codes: Sequence[str]) -> None:
    """Take off what the promotions of one target do, one block after another."""
    for _, members in groupby(promotions, key=attrgetter("block")):
        best = _best(members, basket)
        if best is None:
            continue
        promotion, shares = best
        basket.take_off(shares)
        basket.applied.add(promotion.id)
        basket.steps.append(_step(promotion, basket, shares, codes))
        if promotion.last:
            return


def _best(members: Iterable[Promotion], basket: Basket) -> tuple[Promotion, Shares] | None:
    """The one that takes off most by now, if it takes off anything; ties: the first."""
    best, most = None, 0
    for promotion in members:
        budget.spend()
        shares = promotion.discount(basket)
        total = sum(shares.values())
        if total or (shares and promotion.target == "shipping" and not basket.amounts[-1]):
            basket.content.add(promotion.id)
        if total > most:
            best, most = (promotion, shares), total
    return best


def _step(
    promotion: Promotion, basket: Basket, shares: Shares, codes: Sequence[str]
) -> dict[str, Any]:
    return {
        "step": "promotion",
        "id": promotion.id,
        "name": promotion.name,
        "target": promotion.target,
        "coupon": promotion.code(codes),
        "shares": basket.labelled(shares),
    }
