"""What shipping costs before promotions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.pricing import rules
from pipeline.pricing.address import normal_postal
from pipeline.pricing.basket import Basket
from pipeline.pricing.cart import Cart
from pipeline.pricing.minor import Minor, NoAmount
from pipeline.pricing.quote import NotPriced


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate in one currency. An empty set fits every address."""

    countries: frozenset[str]
    regions: frozenset[str]
    postal_prefixes: tuple[str, ...]
    up_to_weight: int | None
    from_value: int
    price: int

    def fits(self, cart: Cart, postal: str, weight: int, value: int) -> bool:
        return (
            (not self.countries or cart.country in self.countries or "*" in self.countries)
            and (not self.regions or cart.region in self.regions)
            and (not self.postal_prefixes or postal.startswith(self.postal_prefixes))
            and (self.up_to_weight is None or weight <= self.up_to_weight)
            and value >= self.from_value
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
                tuple(normal_postal(prefix) for prefix in rate.postal_prefixes),
                rate.up_to_weight,
                minor.optional(rate.from_value) or 0,
                minor(rate.price),
            )
        except NoAmount:
            continue


def ship(basket: Basket, known: Methods, id: str) -> Shipment | NotPriced:
    """Put into the basket what shipping by the method `id` costs."""
    cart, postal, value = basket.cart, basket.postal, basket.value
    named = cart.shipping_method is not None  # else it is our default that won't do
    method = known.get(id)
    if method is None:
        return NotPriced("no_shipping_method", {"shipping_method": id}, named)
    weight = sum([line.weight * line.quantity for line in cart.lines])
    for rate in method.rates:
        if rate.fits(cart, postal, weight, value):
            basket.amounts.append(rate.price)
            basket.steps.append(
                {"step": "shipping", "method": id, "name": method.name, "price": rate.price}
            )
            return Shipment(id, method.tax_class, rate.price)
    detail = {"shipping_method": id, "country": cart.country, "weight": weight}
    return NotPriced("no_shipping_rate", detail, named)
