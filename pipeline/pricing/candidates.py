"""Which promotions could apply to a basket, found without going through them all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from zoneinfo import ZoneInfo

from pipeline.pricing import rules
from pipeline.pricing.basket import Basket
from pipeline.pricing.compiling import compiled_promotion
from pipeline.pricing.minor import Minor, NoAmount
from pipeline.pricing.promotions import Promotion
from pipeline.pricing.rounding import Divide

TARGETS = ("lines", "order", "shipping")


@dataclass(frozen=True, slots=True)
class Candidates:
    """By target, each in the order in which they are worked through."""

    lines: list[Promotion]
    order: list[Promotion]
    shipping: list[Promotion]


NONE = Candidates([], [], [])

#: Something a basket can have: ("sku", "MUG-01"), ("category", "mugs"), ("coupon", "TEN") …
_Trait = tuple[str, str]


class Promotions:
    """All promotions in one currency, in the order in which they are worked through, indexed by what
    a basket must have for them to apply: a quote costs what could apply to it, not what there is."""

    def __init__(self, given: rules.Rules, minor: Minor, zone: ZoneInfo, divide: Divide) -> None:
        self._all: list[Promotion] = []
        self._always: list[int] = []
        self._by_trait: dict[_Trait, list[int]] = defaultdict(list)
        codes = _codes_by_promotion(given.coupons)
        for block, promotion in _in_order(given.promotions):
            naming = frozenset(codes.get(promotion.id, ()))
            try:
                compiled = compiled_promotion(promotion, block, naming, minor, zone, divide)
            except NoAmount:
                continue
            self._index(len(self._all), _needs(promotion, naming))
            self._all.append(compiled)

    def _index(self, position: int, traits: frozenset[_Trait]) -> None:
        if not traits:
            self._always.append(position)
        for trait in traits:
            self._by_trait[trait].append(position)

    def candidates(self, basket: Basket, codes: Iterable[str]) -> Candidates:
        """Those that could apply."""
        positions = set(self._always)
        if self._by_trait:
            for trait in _traits(basket, codes):
                positions.update(self._by_trait.get(trait, ()))
        if not positions:
            return NONE
        found = Candidates([], [], [])
        for position in sorted(positions):
            promotion = self._all[position]
            getattr(found, promotion.target).append(promotion)
        return found


def _in_order(given: Iterable[rules.Promotion]) -> list[tuple[int, rules.Promotion]]:
    """(block, promotion): target by target; a group stands where its first member stands."""
    ranked = sorted(given, key=lambda p: (TARGETS.index(p.target), p.priority, p.id))
    blocks: dict[tuple[str, str], int] = {}
    numbered = []
    for rank, promotion in enumerate(ranked):
        block = rank
        if promotion.group is not None:
            block = blocks.setdefault((promotion.target, promotion.group), rank)
        numbered.append((block, promotion))
    return sorted(numbered, key=itemgetter(0))


def _codes_by_promotion(coupons: Iterable[rules.Coupon]) -> dict[str, list[str]]:
    codes: dict[str, list[str]] = defaultdict(list)
    for coupon in coupons:
        for promotion in coupon.promotions:
            codes[promotion].append(coupon.code)
    return codes


def _needs(promotion: rules.Promotion, codes: frozenset[str]) -> frozenset[_Trait]:
    """Traits of which a basket must have one for the promotion to apply; empty: it may to any."""
    effect, lines, when = promotion.effect, promotion.lines, promotion.when
    if codes:
        return _named("coupon", codes)
    if isinstance(effect, rules.Bundle):
        return _named("sku", [min(effect.units)])
    if lines.skus or lines.categories:
        return _named("sku", lines.skus) | _named("category", lines.categories)
    return (
        _named("sku", when.skus)
        or _named("category", when.categories)
        or _named("customer_group", when.customer_groups)
        or _named("source", when.sources)
    )


def _named(kind: str, names: Iterable[str]) -> frozenset[_Trait]:
    return frozenset((kind, name) for name in names)


def _traits(basket: Basket, codes: Iterable[str]) -> Iterator[_Trait]:
    """All that the basket has."""
    for code in codes:
        yield "coupon", code
    for line in basket.lines:
        yield "sku", line.sku
        for category in line.categories:
            yield "category", category
    yield "source", basket.cart.source
    if basket.cart.customer_group:
        yield "customer_group", basket.cart.customer_group
