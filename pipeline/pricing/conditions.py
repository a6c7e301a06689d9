"""When a promotion applies: one function a condition, tested on the amounts as they are by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from zoneinfo import ZoneInfo

from pipeline.pricing import rules
from pipeline.pricing.basket import Basket
from pipeline.pricing.minor import Minor
from pipeline.pricing.period import Period

#: Sees the basket and the positions of the lines that the promotion looks at.
Condition = Callable[[Basket, Sequence[int]], bool]

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def min_spend(basket: Basket, chosen: Sequence[int], *, amount: int) -> bool:
    return basket.spend(chosen) >= amount


def min_quantity(basket: Basket, chosen: Sequence[int], *, units: int) -> bool:
    return basket.units(chosen) >= units


def skus(basket: Basket, chosen: Sequence[int], *, names: frozenset[str]) -> bool:
    return any(line.sku in names for line in basket.lines)


def categories(basket: Basket, chosen: Sequence[int], *, names: frozenset[str]) -> bool:
    return not all(names.isdisjoint(line.categories) for line in basket.lines)


def sources(basket: Basket, chosen: Sequence[int], *, names: frozenset[str]) -> bool:
    return basket.cart.source in names


def customer_groups(basket: Basket, chosen: Sequence[int], *, names: frozenset[str]) -> bool:
    return basket.cart.customer_group in names


def first_order(basket: Basket, chosen: Sequence[int]) -> bool:
    return basket.cart.first_order


def weekdays(
    basket: Basket, chosen: Sequence[int], *, names: frozenset[str], zone: ZoneInfo
) -> bool:
    return _WEEKDAYS[basket.at.astimezone(zone).weekday()] in names


def valid(basket: Basket, chosen: Sequence[int], *, period: Period) -> bool:
    return basket.at in period


def compiled(when: rules.Conditions, minor: Minor, zone: ZoneInfo) -> tuple[Condition, ...]:
    """The conditions that were stated, the cheapest to test first."""
    found: list[Condition] = []
    if when.valid_from is not None or when.valid_until is not None:
        period = Period.of(when.valid_from, when.valid_until, zone)
        found.append(partial(valid, period=period))
    if when.sources:
        found.append(partial(sources, names=when.sources))
    if when.customer_groups:
        found.append(partial(customer_groups, names=when.customer_groups))
    if when.first_order:
        found.append(first_order)
    if when.weekdays:
        found.append(partial(weekdays, names=frozenset(when.weekdays), zone=zone))
    if when.skus:
        found.append(partial(skus, names=when.skus))
    if when.categories:
        found.append(partial(categories, names=when.categories))
    if when.min_quantity is not None:
        found.append(partial(min_quantity, units=when.min_quantity))
    if when.min_spend is not None:
        found.append(partial(min_spend, amount=minor.least(when.min_spend)))
    return tuple(found)
