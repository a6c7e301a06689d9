"""What shipping costs before promotions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.places.postal import postal_prefix
from pipeline.pricing import rules
from pipeline.pricing.address import (
    Answer,
    Destination,
    Unclear,
    all_of,
    any_of,
    region_named,
    unclear,
)
from pipeline.pricing.basket import Basket
from pipeline.pricing.minor import Minor, NoAmount
from pipeline.pricing.quote import NotPriced


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate in one currency. An empty set fits every address."""

    countries: frozenset[str]
    regions: frozenset[str]
    postal_prefixes: frozenset[str]
    up_to_weight: int | None
    from_value: int
    price: int

    def carries(self, weight: int, value: int) -> bool:
        return (self.up_to_weight is None or weight <= self.up_to_weight) and (
            value >= self.from_value
        )

    def goes_to(self, sent: Destination) -> Answer:
        """Whether it fits the address, as far as that can be told."""
        everywhere = not self.countries or "*" in self.countries
        if not everywhere and sent.country not in self.countries:
            part = bool(self.regions or self.postal_prefixes)
            asked = sent.is_written_with if part else sent.is_in
            if (is_there := any_of(map(asked, self.countries))) is not True:
                return is_there
        # Most rates name countries only.
        if not self.regions and not self.postal_prefixes:
            return True
        regions = (region_named(sent.country, each) for each in self.regions)
        prefixes = (postal_prefix(sent.country, each) for each in self.postal_prefixes)
        return all_of(
            not self.regions
            or any_of(sent.lies_in(each, of_any_country=everywhere) for each in regions),
            not self.postal_prefixes or any_of(map(sent.begins, prefixes)),
        )


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    tax_class: str
    rates: tuple[Rate, ...]


@dataclass(frozen=True, slots=True)
class Shipment:
    """What is shipped by the method `id`, at `price` before promotions."""

    id: str
    tax_class: str
    price: int


Methods = Mapping[str, Method]


def methods(shipping: rules.Shipping, minor: Minor) -> Methods:
    """The methods with their rates in one currency; one that has none in it still exists."""
    return {
        id: Method(given.name, given.tax, tuple(_rates(given.rates, minor)))
        for id, given in shipping.methods.items()
    }


def _rates(given: Iterable[rules.ShippingRate], minor: Minor) -> Iterable[Rate]:
    for rate in given:
        try:
            yield Rate(
                rate.countries,
                rate.regions,
                rate.postal_prefixes,
                rate.up_to_weight,
                0 if rate.from_value is None else minor.least(rate.from_value),
                minor(rate.price),
            )
        except NoAmount:
            continue


def ship(basket: Basket, known: Methods, id: str) -> Shipment | NotPriced:
    """Put into the basket what shipping by the method `id` costs."""
    cart = basket.cart
    named = cart.shipping_method is not None  # else it is our default that won't do
    method = known.get(id)
    if method is None:
        return NotPriced("no_shipping_method", {"shipping_method": id}, named)
    weight = sum([line.weight * line.quantity for line in cart.lines])
    rates = [rate for rate in method.rates if rate.carries(weight, basket.value)]
    found = _rate(rates, cart.destination)
    if isinstance(found, Unclear):
        detail = {"country": cart.country, "shipping_method": id, **found.detail}
        return NotPriced("address_unclear", detail, final=False)
    if found is None:
        detail = {"shipping_method": id, "country": cart.country, "weight": weight}
        return NotPriced("no_shipping_rate", detail, named)
    basket.amounts.append(found.price)
    basket.steps.append(
        {"step": "shipping", "method": id, "name": method.name, "price": found.price}
    )
    return Shipment(id, method.tax_class, found.price)


def _rate(rates: Sequence[Rate], sent: Destination) -> Rate | Unclear | None:
    """The first that fits; Unclear if that depends on what nobody can tell of the address."""
    readings = sent.readings()
    for rate in rates:
        answers = {rate.goes_to(each) for each in readings}
        if answers == {True}:
            return rate
        if answers != {False}:
            return unclear(sent, by_region=not rate.postal_prefixes and bool(rate.regions))
    return None
