"""What a promotion takes off: one function an effect.

An effect on lines sees the basket and the positions of the lines it looks at, and says what it
takes off at each position. An effect on one amount (the order's, or what shipping costs) sees that
amount and how many units it stands for. None ever takes off more than there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import lcm

from pipeline.pricing.basket import Basket, Shares
from pipeline.pricing.rounding import Divide
from pipeline.pricing.selector import Selector
from pipeline.pricing.spread import largest_remainder

Effect = Callable[[Basket, Sequence[int]], Shares]
OnOneAmount = Callable[[int, int], int]

#: Numerator and denominator: 12.5 % is (1, 8).
Ratio = tuple[int, int]
#: (from, ratio), the highest `from` first.
Tiers = Sequence[tuple[int, Ratio]]

WHOLE: Ratio = (1, 1)


# --- On lines -------------------------------------------------------------------------------------


def percent(
    basket: Basket, chosen: Sequence[int], *, ratio: Ratio, cap: int | None, divide: Divide
) -> Shares:
    numerator, denominator = ratio
    amounts = basket.amounts
    shares = {i: divide(amounts[i] * numerator, denominator) for i in chosen}
    if cap is None or sum(shares.values()) <= cap:
        return shares
    return dict(zip(shares, largest_remainder(cap, list(shares.values())), strict=True))


def fixed(basket: Basket, chosen: Sequence[int], *, amount: int) -> Shares:
    return {i: min(amount * basket.lines[i].quantity, basket.amounts[i]) for i in chosen}


def fixed_price(basket: Basket, chosen: Sequence[int], *, price: int) -> Shares:
    return {i: max(basket.amounts[i] - price * basket.lines[i].quantity, 0) for i in chosen}


def tiered_by_quantity(
    basket: Basket, chosen: Sequence[int], *, tiers: Tiers, divide: Divide
) -> Shares:
    ratio = _tier(tiers, basket.units(chosen))
    return percent(basket, chosen, ratio=ratio, cap=None, divide=divide) if ratio else {}


def tiered_by_spend(
    basket: Basket, chosen: Sequence[int], *, tiers: Tiers, divide: Divide
) -> Shares:
    ratio = _tier(tiers, basket.spend(chosen))
    return percent(basket, chosen, ratio=ratio, cap=None, divide=divide) if ratio else {}


def buy_get(
    basket: Basket,
    chosen: Sequence[int],
    *,
    buy: int,
    get: int,
    ratio: Ratio,
    of: Selector | None,
    divide: Divide,
) -> Shares:
    units = basket.units(chosen)
    if of is None:
        cheaper, pool = units // (buy + get) * get, chosen
    else:
        cheaper, pool = units // buy * get, of.choose(basket.lines)
    numerator, denominator = ratio
    return {
        i: divide(basket.amounts[i] * taken * numerator, basket.lines[i].quantity * denominator)
        for i, taken in _cheapest(basket, pool, cheaper)
    }


def bundle(
    basket: Basket,
    chosen: Sequence[int],
    *,
    units: Mapping[str, int],
    price: int,
    divide: Divide,
) -> Shares:
    there = dict.fromkeys(units, 0)
    for line in basket.lines:
        if line.sku in there:
            there[line.sku] += line.quantity
    times = min(there[sku] // number for sku, number in units.items())
    wanted = {sku: number * times for sku, number in units.items()}
    values = {}
    for i, line in enumerate(basket.lines):
        taken = min(line.quantity, wanted.get(line.sku, 0))
        if taken:
            wanted[line.sku] -= taken
            values[i] = divide(basket.amounts[i] * taken, line.quantity)
    saved = max(sum(values.values()) - price * times, 0)
    return dict(zip(values, largest_remainder(saved, list(values.values())), strict=True))


def _cheapest(basket: Basket, pool: Sequence[int], units: int) -> list[tuple[int, int]]:
    """Where the `units` cheapest units of the lines `pool` are: (position, how many), none twice."""
    # Unit values are amount ÷ quantity; over a common denominator they compare as whole numbers.
    common = lcm(*(basket.lines[i].quantity for i in pool))
    cheapest_first = sorted(
        pool, key=lambda i: basket.amounts[i] * (common // basket.lines[i].quantity)
    )
    found = []
    for i in cheapest_first:
        taken = min(units, basket.lines[i].quantity)
        if taken:
            found.append((i, taken))
            units -= taken
    return found


# --- On one amount --------------------------------------------------------------------------------


def percent_of_amount(
    amount: int, units: int, *, ratio: Ratio, cap: int | None, divide: Divide
) -> int:
    numerator, denominator = ratio
    discount = divide(amount * numerator, denominator)
    return discount if cap is None else min(discount, cap)


def fixed_off_amount(amount: int, units: int, *, off: int) -> int:
    return min(off, amount)


def fixed_price_of_amount(amount: int, units: int, *, price: int) -> int:
    return max(amount - price, 0)


def tiered_by_quantity_of_amount(amount: int, units: int, *, tiers: Tiers, divide: Divide) -> int:
    ratio = _tier(tiers, units)
    return percent_of_amount(amount, units, ratio=ratio, cap=None, divide=divide) if ratio else 0


def tiered_by_spend_of_amount(amount: int, units: int, *, tiers: Tiers, divide: Divide) -> int:
    ratio = _tier(tiers, amount)
    return percent_of_amount(amount, units, ratio=ratio, cap=None, divide=divide) if ratio else 0


def all_of_amount(amount: int, units: int) -> int:
    return amount


def over_lines(effect: OnOneAmount) -> Effect:
    """An effect on what the chosen lines cost together, spread over them."""
    return partial(_over_lines, effect=effect)


def _over_lines(basket: Basket, chosen: Sequence[int], *, effect: OnOneAmount) -> Shares:
    amounts = [basket.amounts[i] for i in chosen]
    discount = effect(sum(amounts), basket.units(chosen))
    return dict(zip(chosen, largest_remainder(discount, amounts), strict=True))


def off_shipping(effect: OnOneAmount) -> Effect:
    """An effect on what shipping costs; the chosen lines served the conditions only."""
    return partial(_off_shipping, effect=effect)


def _off_shipping(basket: Basket, chosen: Sequence[int], *, effect: OnOneAmount) -> Shares:
    position = len(basket.lines)
    return {position: effect(basket.amounts[position], 1)}


def _tier(tiers: Tiers, reached: int) -> Ratio | None:
    return next((ratio for start, ratio in tiers if start <= reached), None)
