"""Tax: which zone an order goes to, at which rates, who pays none, and how much it is.

What is taxed are the lines, then shipping, or its parts: each an amount, so many units, at a rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from pipeline.places.territories import MEMBER_STATES
from pipeline.pricing import rules, untaxed
from pipeline.pricing.address import Destination, Unclear, unclear
from pipeline.pricing.basket import SHIPPING, Basket
from pipeline.pricing.cart import Cart
from pipeline.pricing.quote import NotPriced
from pipeline.pricing.rounding import Divide
from pipeline.pricing.spread import largest_remainder
from pipeline.pricing.tax_zones import TaxRate, Zone, Zones
from pipeline.pricing.untaxed import (
    CUSTOMER_GROUP,
    EXPORT,
    INTRA_COMMUNITY,
    NO_TAX_RULES,
    REVERSE_CHARGE,
    ZERO_RATE,
    Why,
)

#: In place of a tax class: shipping is taxed as the goods are.
PROPORTIONAL = "proportional"

#: What VAT ids of businesses in the EU begin with, as country codes: XI is Northern Ireland's.
_REGISTERED = MEMBER_STATES | {"XI"}


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
        self._home = None if given.tax.home is None else Destination(given.tax.home)
        self._net = {
            EXPORT: given.tax.export.price == "net",
            INTRA_COMMUNITY: given.tax.reverse_charge.price == "net",
            REVERSE_CHARGE: given.tax.reverse_charge.price == "net",
        }

    def assess(self, basket: Basket, shipping_class: str | None) -> Assessment | NotPriced:
        """The tax on what the basket costs by now; `shipping_class` if shipping is in it."""
        if not self._zones:
            return _untaxed(basket, NO_TAX_RULES)
        why = self._exemption(basket.cart)
        if why is not CUSTOMER_GROUP and self._may_leave(basket.cart):
            return _unclear(basket.cart, unclear(basket.cart.destination, by_region=True))
        if why and not self._includes_tax:
            basket.steps.append(_exempt_step(why, {}))
            return _untaxed(basket, why)
        items = self._items(basket, shipping_class, at_home=why is not None and self._is_net(why))
        if isinstance(items, NotPriced):
            return items
        if why is None and self._is_net_export(basket.cart, items):
            why = EXPORT
            items = self._items(basket, shipping_class, at_home=True)
            if isinstance(items, NotPriced):
                return items
        taxes = self._round(items.rates, items.amounts, items.units, self._divide)
        by_position = _with_shipping_in_one(taxes, len(basket.lines))
        if why:
            taken_off = basket.labelled(dict(enumerate(by_position)))
            basket.steps.append(_exempt_step(why, taken_off))
            return replace(_untaxed(basket, why), taxes=by_position, exempt=True)
        basket.steps.extend(_tax_steps(basket, items, taxes))
        self._say_why_untaxed(basket, items)
        return Assessment([rate.text for rate in items.rates], by_position)

    def reassess(
        self,
        basket: Basket,
        shipping_class: str | None,
        before: Assessment,
        steps: Sequence[Mapping[str, Any]],
    ) -> Assessment | NotPriced:
        """The tax once something was taken off what was assessed `before`, with these `steps`. Who
        is exempt had the tax taken off the price that was asked, and it stays so."""
        if before.exempt:
            basket.steps.extend(dict(step) for step in steps)
            return before
        return self.assess(basket, shipping_class)

    def contained(
        self, basket: Basket, shipping_class: str | None, grosses: Sequence[int]
    ) -> Assessment | NotPriced:
        """The tax that is in `grosses`, by position, where tax is put on top: it is taken out of
        them, and the basket has what is left. No amount gets dearer by that."""
        items = self._items(basket, shipping_class, at_home=False)
        if isinstance(items, NotPriced):
            return items
        lines, parts = len(basket.lines), len(items.amounts) - len(basket.lines)
        gross = list(grosses[:lines])
        if parts == 1:
            gross.append(grosses[-1])
        elif parts:
            shares = _in_proportion(grosses[-1], items.rates[:lines], items.amounts[:lines])
            gross.extend(share for _, share in shares)
        nets = [
            min(each - self._divide(each * rate.numerator, rate.denominator + rate.numerator), was)
            for each, rate, was in zip(gross, items.rates, items.amounts, strict=True)
        ]
        taxes = [each - net for each, net in zip(gross, nets, strict=True)]
        basket.amounts[:] = _with_shipping_in_one(nets, lines)
        items.amounts = nets
        basket.steps.extend(_tax_steps(basket, items, taxes))
        self._say_why_untaxed(basket, items)
        return Assessment([rate.text for rate in items.rates], _with_shipping_in_one(taxes, lines))

    def _items(
        self, basket: Basket, shipping_class: str | None, *, at_home: bool
    ) -> _Items | NotPriced:
        """What is taxed, at the rates of where it goes, or of `home`."""
        zone = self._zone_at_home() if at_home else self._zone(basket.cart)
        return zone if isinstance(zone, NotPriced) else _items(basket, zone, shipping_class)

    def _is_net(self, why: Why) -> bool:
        """Whether it is the tax of `home` that comes off, not that of where it goes."""
        return self._net.get(why, False)

    def _is_net_export(self, cart: Cart, items: _Items) -> bool:
        """Whether nothing of an export is taxed where it goes, and its price is to be net."""
        return (
            self._net[EXPORT]
            and self._includes_tax
            and not any(rate.rate for rate in items.rates)
            and self._is_export(cart)
        )

    def _may_leave(self, cart: Cart) -> bool:
        """Whether an address that contradicts itself leaves open what area for VAT goods go to, where
        that makes a difference."""
        if self._home is None or cart.tax_zone is not None:
            return False
        readings = cart.destination.readings()
        return len(readings) > 1 and len({self._border(cart, each) for each in readings}) > 1

    def _border(self, cart: Cart, goods: Destination) -> tuple[bool, bool]:
        """Whether `goods` are exported, and whether a VAT id would spare them the tax."""
        return self._leaves(goods), cart.vat_id is not None and self._arrives_abroad(goods)

    def _arrives_abroad(self, goods: Destination) -> bool:
        """Whether they arrive in the EU's VAT area, and not in that of `home`."""
        return self._home is not None and goods.vat_area not in (None, self._home.vat_area)

    def _is_export(self, cart: Cart) -> bool:
        """Whether the goods leave the area whose tax `home` charges."""
        return self._leaves(self._destination(cart))

    def _leaves(self, goods: Destination) -> bool:
        home = self._home
        if home is None:
            return False
        if goods.taxed_as == home.taxed_as:
            return False
        return home.vat_area is None or goods.vat_area is None

    def _say_why_untaxed(self, basket: Basket, items: _Items) -> None:
        """Of what has a rate of 0; shipping if no part of it has another."""
        lines = len(basket.lines)
        free = [place for place in basket.places if not items.rates[place].rate]
        ships_free = len(items.rates) > lines and not any(r.rate for r in items.rates[lines:])
        if free or ships_free:
            places: list[int | str] = [basket.numbers[place] for place in free]
            places += [SHIPPING] * ships_free
            why = EXPORT if self._is_export(basket.cart) else ZERO_RATE
            basket.steps.append(untaxed.step(why, places))

    def _destination(self, cart: Cart) -> Destination:
        """Where it goes; where a person has named the zone, where that is."""
        zone = None if cart.tax_zone is None else self._zones.called(cart.tax_zone)
        if zone is None or zone.given.country == "*":
            return cart.destination
        return Destination(zone.given.country, zone.given.region, prefix=zone.given.postal_prefix)

    def _zone_at_home(self) -> Zone | NotPriced:
        country = self._home.country if self._home else "*"
        return self._zones.of_country(country) or _no_rate(country=country)

    def _zone(self, cart: Cart) -> Zone | NotPriced:
        if cart.tax_zone is not None:
            return self._zones.called(cart.tax_zone) or _no_rate(
                country=cart.country, zone=cart.tax_zone
            )
        found = self._zones.find(cart.destination)
        if isinstance(found, Unclear):
            return _unclear(cart, found)
        return found or _no_rate(country=cart.country, region=cart.region)

    def _exemption(self, cart: Cart) -> Why | None:
        """Why the customer pays no tax, if they don't."""
        if cart.customer_group in self._exempt_groups:
            return CUSTOMER_GROUP
        if cart.vat_id is not None and self._home is not None:
            at_home = self._home.vat_area
            business = cart.vat_id[:2].upper().replace("EL", "GR")  # Greece's ids say EL
            is_abroad = business in _REGISTERED and business != at_home
            if is_abroad and self._arrives_abroad(self._destination(cart)):
                return INTRA_COMMUNITY if at_home else REVERSE_CHARGE
        return None


def _untaxed(basket: Basket, why: Why) -> Assessment:
    lines, more = sorted(basket.numbers), len(basket.amounts) - len(basket.lines)
    basket.steps.append(untaxed.step(why, [*lines, *([SHIPPING] * more)]))
    return Assessment(["0"] * len(basket.lines), [0] * len(basket.amounts))


def _unclear(cart: Cart, found: Unclear) -> NotPriced:
    return NotPriced("address_unclear", {"country": cart.country, **found.detail}, final=False)


def _no_rate(**detail: str | None) -> NotPriced:
    return NotPriced("no_tax_rate", {k: v for k, v in detail.items() if v}, final=False)


# --- What is taxed --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Items:
    """The lines, then shipping or its parts."""

    zone: str
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
    items = _Items(
        zone.name, classes, rates, basket.amounts[: len(lines)], [line.quantity for line in lines]
    )
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


def _exempt_step(why: Why, taken_off: Mapping[str, int]) -> dict[str, Any]:
    return {"step": "exempt", "why": why.name, "taken_off": taken_off}


def _tax_steps(basket: Basket, items: _Items, taxes: Sequence[int]) -> list[dict[str, Any]]:
    """The lines in the cart's order, then shipping."""
    numbers = [*basket.numbers, *[SHIPPING] * (len(taxes) - len(basket.numbers))]
    return [
        {
            "step": "tax",
            "line": numbers[i],
            "class": items.classes[i],
            "zone": items.zone,
            "rates": items.rates[i].parts,
            "base": items.amounts[i],
            "tax": taxes[i],
        }
        for i in (*basket.places, *range(len(basket.lines), len(taxes)))
    ]


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
