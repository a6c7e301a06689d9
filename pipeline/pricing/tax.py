"""Tax: which zone an order goes to, at which rates, who pays none, and how much it is.

What is taxed are the lines, then shipping, or its parts: each an amount, so many units, at a rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Any

from stdnum.eu.vat import MEMBER_STATES

from pipeline.pricing import rules
from pipeline.pricing.address import normal_postal
from pipeline.pricing.basket import SHIPPING, Basket
from pipeline.pricing.cart import Cart
from pipeline.pricing.quote import NotPriced
from pipeline.pricing.rounding import Divide
from pipeline.pricing.spread import largest_remainder

#: In place of a tax class: shipping is taxed as the goods are.
PROPORTIONAL = "proportional"

#: XI, Northern Ireland, is among them: for goods it is, and its VAT ids say so.
_EU = frozenset(state.upper() for state in MEMBER_STATES)


@dataclass(frozen=True, slots=True)
class TaxRate:
    """What a class of goods is taxed at in a zone: amount × numerator ÷ denominator is the exact
    tax, included in the amount or on top of it. `text` is the rate as a fraction, "0.19"; `parts`
    say by name what adds up to it. Two are equal if they amount to the same."""

    rate: Decimal
    text: str = field(compare=False)
    numerator: int = field(compare=False)
    denominator: int = field(compare=False)
    parts: Sequence[Mapping[str, str]] = field(compare=False)

    @classmethod
    def of(cls, given: Sequence[rules.TaxRate], includes_tax: bool) -> TaxRate:
        rate = sum((Decimal(part.rate) for part in given), Decimal(0))
        numerator, denominator = rate.as_integer_ratio()
        return cls(
            rate,
            f"{rate.normalize():f}",
            numerator,
            denominator + numerator if includes_tax else denominator,
            [{"name": part.name, "rate": part.rate} for part in given],
        )


@dataclass(frozen=True, slots=True)
class Zone:
    name: str
    rates: Mapping[str, TaxRate]


@dataclass(frozen=True, slots=True)
class Assessment:
    """`taxes` by position: the lines, then shipping if there is any. `rates` of the lines, as text.
    `exempt`: the taxes are not paid, but taken off what includes them."""

    rates: Sequence[str]
    taxes: Sequence[int]
    exempt: bool = False


class Taxes:
    """The tax rules of a rule set."""

    def __init__(self, given: rules.Rules, divide: Divide) -> None:
        self._includes_tax = given.includes_tax
        self._divide = divide
        self._round = ROUND[given.rounding.level]
        self._zones = Zones(given.tax.zones, given.includes_tax)
        self._exempt_groups = given.tax.exempt_groups
        self._home = given.tax.home

    def assess(self, basket: Basket, shipping_class: str | None) -> Assessment | NotPriced:
        """The tax on what the basket costs by now; `shipping_class` if shipping is in it."""
        if not self._zones:
            return _untaxed(basket)
        exempt = self._exemption(basket.cart)
        if exempt and not self._includes_tax:
            basket.steps.append(_exempt_step(exempt, {}))
            return _untaxed(basket)
        zone = self._zones.find(basket.cart.country, basket.cart.region, basket.postal)
        if zone is None:
            return _no_rate(country=basket.cart.country, region=basket.cart.region)
        items = _items(basket, zone, shipping_class)
        if isinstance(items, NotPriced):
            return items
        taxes = self._round(items.rates, items.amounts, items.units, self._divide)
        by_position = _with_shipping_in_one(taxes, len(basket.lines))
        if exempt:
            taken_off = basket.labelled(dict(enumerate(by_position)))
            basket.steps.append(_exempt_step(exempt, taken_off))
            return Assessment(["0"] * len(basket.lines), by_position, exempt=True)
        basket.steps.extend(_tax_steps(basket, zone, items, taxes))
        return Assessment([rate.text for rate in items.rates], by_position)

    def _exemption(self, cart: Cart) -> str | None:
        """Why the customer pays no tax, if he doesn't."""
        if cart.customer_group in self._exempt_groups:
            return "customer_group"
        if cart.vat_id is not None and self._home is not None:
            business = cart.vat_id[:2].upper().replace("EL", "GR")  # Greece's ids say EL
            if _abroad(business, self._home) and _abroad(cart.country, self._home):
                return "reverse_charge"
        return None


def _abroad(country: str, home: str) -> bool:
    return country in _EU and country != home


def _untaxed(basket: Basket) -> Assessment:
    return Assessment(["0"] * len(basket.lines), [0] * len(basket.amounts))


def _no_rate(**detail: str | None) -> NotPriced:
    return NotPriced("no_tax_rate", {k: v for k, v in detail.items() if v}, final=False)


# --- What is taxed --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Items:
    """The lines, then shipping or its parts."""

    classes: list[str]
    rates: list[TaxRate]
    amounts: list[int]
    units: list[int]

    def add(self, tax_class: str, rate: TaxRate, amount: int) -> None:
        self.classes.append(tax_class)
        self.rates.append(rate)
        self.amounts.append(amount)
        self.units.append(1)


def _items(basket: Basket, zone: Zone, shipping_class: str | None) -> _Items | NotPriced:
    lines = basket.lines
    classes = [line.tax_class for line in lines]
    needed = classes if shipping_class in (None, PROPORTIONAL) else [*classes, shipping_class]
    for tax_class in needed:
        if tax_class not in zone.rates:
            return _no_rate(zone=zone.name, tax_class=tax_class)
    rates = [zone.rates[tax_class] for tax_class in classes]
    items = _Items(classes, rates, basket.amounts[: len(lines)], [line.quantity for line in lines])
    if shipping_class == PROPORTIONAL:
        for rate, amount in _in_proportion(basket.amounts[-1], rates, items.amounts):
            items.add(PROPORTIONAL, rate, amount)
    elif shipping_class is not None:
        items.add(shipping_class, zone.rates[shipping_class], basket.amounts[-1])
    return items


def _in_proportion(
    shipping: int, rates: Sequence[TaxRate], amounts: Sequence[int]
) -> list[tuple[TaxRate, int]]:
    """`shipping` spread over the rates of the goods, the lowest first."""
    goods: dict[TaxRate, int] = {}
    for rate, amount in zip(rates, amounts, strict=True):
        goods[rate] = goods.get(rate, 0) + amount
    lowest_first = sorted(goods, key=attrgetter("rate"))
    shares = largest_remainder(shipping, [goods[rate] for rate in lowest_first])
    return list(zip(lowest_first, shares, strict=True))


def _with_shipping_in_one(taxes: list[int], lines: int) -> list[int]:
    return taxes if len(taxes) <= lines + 1 else [*taxes[:lines], sum(taxes[lines:])]


# --- The explanation ------------------------------------------------------------------------------


def _exempt_step(why: str, taken_off: Mapping[str, int]) -> dict[str, Any]:
    return {"step": "exempt", "why": why, "taken_off": taken_off}


def _tax_steps(
    basket: Basket, zone: Zone, items: _Items, taxes: Sequence[int]
) -> list[dict[str, Any]]:
    """The lines in the cart's order, then shipping."""
    numbers = [*basket.numbers, *[SHIPPING] * (len(taxes) - len(basket.numbers))]
    return [
        {
            "step": "tax",
            "line": numbers[i],
            "class": items.classes[i],
            "zone": zone.name,
            "rates": items.rates[i].parts,
            "base": items.amounts[i],
            "tax": taxes[i],
        }
        for i in (*basket.places, *range(len(basket.lines), len(taxes)))
    ]


# --- Zones ----------------------------------------------------------------------------------------


class Zones:
    """Finds the most specific zone for an address without going through them all."""

    def __init__(self, zones: Iterable[rules.TaxZone], includes_tax: bool) -> None:
        self._by_place: dict[tuple[str, str | None, str], Zone] = {}
        for given in zones:
            place = (normal_postal(given.postal_prefix), given.region, given.country)
            rates = {name: TaxRate.of(r, includes_tax) for name, r in given.rates.items() if r}
            self._by_place[place] = Zone(given.name, rates)
        self._lengths = sorted({len(place[0]) for place in self._by_place}, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._by_place)

    def find(self, country: str, region: str | None, postal: str) -> Zone | None:
        """Longest postal prefix first, then one with the region, then one with the country."""
        regions = (None,) if region is None else (region, None)
        for length in self._lengths:
            if length > len(postal):
                continue
            for its_region in regions:
                for its_country in (country, "*"):
                    zone = self._by_place.get((postal[:length], its_region, its_country))
                    if zone is not None:
                        return zone
        return None


# --- Rounding: the tax of each amount -------------------------------------------------------------


def by_line(
    rates: Sequence[TaxRate], amounts: Sequence[int], units: Sequence[int], divide: Divide
) -> list[int]:
    return [
        divide(amount * rate.numerator, rate.denominator)
        for rate, amount in zip(rates, amounts, strict=True)
    ]


def by_unit(
    rates: Sequence[TaxRate], amounts: Sequence[int], units: Sequence[int], divide: Divide
) -> list[int]:
    taxes = []
    for rate, amount, number in zip(rates, amounts, units, strict=True):
        # Spread equally: `dearer` of the units cost one more than the others.
        least, dearer = divmod(amount, number)
        tax = divide(least * rate.numerator, rate.denominator) * (number - dearer)
        tax += divide((least + 1) * rate.numerator, rate.denominator) * dearer
        taxes.append(tax)
    return taxes


def by_document(
    rates: Sequence[TaxRate], amounts: Sequence[int], units: Sequence[int], divide: Divide
) -> list[int]:
    positions: dict[TaxRate, list[int]] = {}
    for i, rate in enumerate(rates):
        positions.setdefault(rate, []).append(i)
    taxes = [0] * len(amounts)
    for rate, alike in positions.items():
        # At one rate the exact taxes are to each other as the amounts.
        weights = [amounts[i] for i in alike]
        tax = divide(sum(weights) * rate.numerator, rate.denominator)
        for i, share in zip(alike, largest_remainder(tax, weights), strict=True):
            taxes[i] = share
    return taxes


Round = Callable[[Sequence[TaxRate], Sequence[int], Sequence[int], Divide], list[int]]

#: By the rounding level of the rules.
ROUND: dict[str, Round] = {"line": by_line, "unit": by_unit, "document": by_document}
