"""A promotion as rules write it becomes functions over integers, in one currency."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import itemgetter
from zoneinfo import ZoneInfo

from pipeline.errors import InvariantBroken
from pipeline.pricing import conditions, effects, rules
from pipeline.pricing.effects import Effect, OnOneAmount, Ratio, Tiers
from pipeline.pricing.minor import Minor, percentage
from pipeline.pricing.promotions import Promotion
from pipeline.pricing.rounding import Divide
from pipeline.pricing.selector import Selector


def compiled_promotion(
    promotion: rules.Promotion,
    block: int,
    codes: frozenset[str],
    minor: Minor,
    zone: ZoneInfo,
    divide: Divide,
) -> Promotion:
    if promotion.target == "lines":
        effect = _on_lines(promotion.effect, minor, divide)
    elif promotion.target == "order":
        effect = effects.over_lines(_on_one_amount(promotion.effect, minor, divide))
    else:
        effect = effects.off_shipping(_on_one_amount(promotion.effect, minor, divide))
    return Promotion(
        promotion.id,
        promotion.name,
        promotion.target,
        block,
        promotion.last,
        codes,
        Selector.of(promotion.lines),
        conditions.compiled(promotion.when, minor, zone),
        effect,
    )


def _on_lines(effect: rules.Effect, minor: Minor, divide: Divide) -> Effect:
    match effect:
        case rules.PercentOff(percent=percent, cap=cap):
            ratio = percentage(percent)
            return partial(effects.percent, ratio=ratio, cap=minor.optional(cap), divide=divide)
        case rules.FixedOff(amount=amount):
            return partial(effects.fixed, amount=minor(amount))
        case rules.FixedPrice(price=price):
            return partial(effects.fixed_price, price=minor(price))
        case rules.TieredByQuantity(tiers=tiers):
            by_units = _quantity_tiers(tiers)
            return partial(effects.tiered_by_quantity, tiers=by_units, divide=divide)
        case rules.TieredBySpend(tiers=tiers):
            by_amount = _spend_tiers(tiers, minor)
            return partial(effects.tiered_by_spend, tiers=by_amount, divide=divide)
        case rules.BuyGet(buy=buy, get=get, percent=percent, of=of):
            return partial(
                effects.buy_get,
                buy=buy,
                get=get,
                ratio=percentage(percent),
                of=None if of is None else Selector.of(of),
                divide=divide,
            )
        case rules.CheapestFree(every=every):
            return partial(
                effects.buy_get,
                buy=every - 1,
                get=1,
                ratio=effects.WHOLE,
                of=None,
                divide=divide,
            )
        case rules.Bundle(units=units, price=price):
            return partial(effects.bundle, units=units, price=minor(price), divide=divide)
    raise _meaningless(effect, "lines")


def _on_one_amount(effect: rules.Effect, minor: Minor, divide: Divide) -> OnOneAmount:
    match effect:
        case rules.PercentOff(percent=percent, cap=cap):
            return partial(
                effects.percent_of_amount,
                ratio=percentage(percent),
                cap=minor.optional(cap),
                divide=divide,
            )
        case rules.FixedOff(amount=amount):
            return partial(effects.fixed_off_amount, off=minor(amount))
        case rules.FixedPrice(price=price):
            return partial(effects.fixed_price_of_amount, price=minor(price))
        case rules.TieredByQuantity(tiers=tiers):
            by_units = _quantity_tiers(tiers)
            return partial(effects.tiered_by_quantity_of_amount, tiers=by_units, divide=divide)
        case rules.TieredBySpend(tiers=tiers):
            by_amount = _spend_tiers(tiers, minor)
            return partial(effects.tiered_by_spend_of_amount, tiers=by_amount, divide=divide)
        case rules.FreeShipping():
            return effects.all_of_amount
    raise _meaningless(effect, "one amount")


def _meaningless(effect: rules.Effect, target: str) -> InvariantBroken:
    return InvariantBroken(f"effect {effect.type!r} was let through for {target}")


def _quantity_tiers(tiers: Iterable[rules.QuantityTier]) -> Tiers:
    return _highest_first([(tier.at_least, percentage(tier.percent)) for tier in tiers])


def _spend_tiers(tiers: Iterable[rules.SpendTier], minor: Minor) -> Tiers:
    # By what is stated: in steps, two of them may be alike.
    highest_first = sorted(tiers, key=lambda t: minor.exactly(t.at_least), reverse=True)
    return [(minor.least(tier.at_least), percentage(tier.percent)) for tier in highest_first]


def _highest_first(tiers: Iterable[tuple[int, Ratio]]) -> Tiers:
    return sorted(tiers, key=itemgetter(0), reverse=True)
