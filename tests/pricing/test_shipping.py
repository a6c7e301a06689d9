"""What shipping costs: the method, then the first of its rates that fits."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.pricing.cart import Cart
from tests.pricing.carts import cart, line, promotion, quoted, refused, shipped

MUG = line("MUG", 1000, 3, weight=400)
BOX = line("BOX", 500, 1, weight=800)


def method(*rates: dict[str, Any], name: str = "Post") -> dict[str, Any]:
    """Each rate costs 1.00 more than the one before, unless it says what it costs."""
    priced = [{"price": {"EUR": n}, **rate} for n, rate in enumerate(rates, start=1)]
    return {"name": name, "rates": priced}


def rate_of(bought: Cart, *rates: dict[str, Any]) -> int:
    """Which rate counts, from 1 on, or what that one costs."""
    found = quoted(bought, shipping={"default": "post", "methods": {"post": method(*rates)}})
    assert found.shipping is not None
    return found.shipping.price // 100


ANYWHERE: dict[str, Any] = {}


# --- The method -----------------------------------------------------------------------------------

TWO = {
    "default": "post",
    "methods": {"post": method(ANYWHERE), "express": method({"price": {"EUR": 9}}, name="Express")},
}


@pytest.mark.parametrize(
    ("named", "as_sold", "used"),
    [
        (None, False, "post"),
        ("post", False, "post"),
        ("express", False, "express"),
        (None, True, None),  # what was sold elsewhere pays for shipping only if it says how
        ("express", True, "express"),
    ],
)
def test_the_orders_method_or_the_default(
    named: str | None, as_sold: bool, used: str | None
) -> None:
    found = quoted(cart(MUG, shipping_method=named, as_sold=as_sold), shipping=TWO)

    assert (found.shipping and found.shipping.method) == used


def test_no_method_no_default_no_shipping() -> None:
    found = quoted(cart(MUG), shipping={"methods": TWO["methods"]})

    assert (found.shipping, found.total) == (None, 3000)


@pytest.mark.parametrize("rules", [{}, {"shipping": TWO}])
def test_an_unknown_method_rejects_the_order(rules: dict[str, Any]) -> None:
    found = refused(cart(MUG, shipping_method="pigeon"), **rules)

    assert (found.reason, found.final) == ("no_shipping_method", True)
    assert found.detail == {"shipping_method": "pigeon"}
    sold = refused(cart(MUG, shipping_method="pigeon", as_sold=True), **rules)
    assert (sold.reason, sold.final) == ("no_shipping_method", False)


# --- The rate -------------------------------------------------------------------------------------


def test_the_first_rate_that_fits_counts() -> None:
    assert rate_of(cart(MUG), ANYWHERE, ANYWHERE) == 1
    assert rate_of(cart(MUG), {"countries": ["FR"]}, ANYWHERE, {"countries": ["DE"]}) == 2


@pytest.mark.parametrize(
    ("rate", "facts", "fits"),
    [
        ({"countries": ["DE", "AT"]}, {"country": "AT"}, True),
        ({"countries": ["DE", "AT"]}, {"country": "FR"}, False),
        ({"countries": ["*"]}, {"country": "JP"}, True),
        ({"regions": ["NY"]}, {"region": "NY"}, True),
        ({"regions": ["NY"]}, {"country": "US", "region": "new york"}, True),
        ({"regions": ["NY"]}, {"country": "US", "region": "NJ"}, False),
        ({"regions": ["NY"]}, {"region": None}, False),  # Germany has none of that name
        ({"postal_prefixes": ["10", "2"]}, {"postal_code": "10115"}, True),
        ({"postal_prefixes": ["10", "2"]}, {"postal_code": "30115"}, False),
        ({"postal_prefixes": ["10"]}, {"country": "AE", "postal_code": None}, False),  # has none
        ({"postal_prefixes": ["sw1a 1"]}, {"country": "GB", "postal_code": "SW1A1aa"}, True),
        ({"postal_prefixes": ["SW1A1"]}, {"country": "GB", "postal_code": " sw1a 1aa "}, True),
        ({"countries": ["DE"], "postal_prefixes": ["9"]}, {"postal_code": "10115"}, False),
        ({"up_to_weight": 2000}, {}, True),  # 3 × 400 + 800, inclusive
        ({"up_to_weight": 1999}, {}, False),
        ({"from_value": {"EUR": "35.00"}}, {}, True),
        ({"from_value": {"EUR": "35.01"}}, {}, False),
        ({"from_value": {"USD": "1.00"}}, {}, False),
        ({"price": {"USD": "1.00"}}, {}, False),
    ],
)
def test_a_rate_fits_by_address_weight_and_value(
    rate: dict[str, Any], facts: dict[str, Any], fits: bool
) -> None:
    other = {"price": {"EUR": 99}}
    rate = {"price": {"EUR": 1}, **rate}

    assert rate_of(cart(MUG, BOX, **facts), rate, other) == (1 if fits else 99)


@pytest.mark.parametrize(
    ("rate", "facts", "problem"),
    [
        ({"postal_prefixes": ["10"]}, {"postal_code": None}, ("postal_code", "is missing")),
        (
            {"postal_prefixes": ["10"]},
            {"postal_code": "1067"},
            ("postal_code", "is not known there"),
        ),
        ({"countries": ["US"], "regions": ["NY"]}, {"country": "US"}, ("region", "is missing")),
        (
            {"countries": ["US"], "regions": ["NY"]},
            {"country": "US", "region": "Gotham"},
            ("region", "is not known there"),
        ),
        (
            {"countries": ["US"], "regions": ["NY"]},
            {"country": "US", "region": "NY", "postal_code": "90210"},
            ("region", "contradicts the postal code"),
        ),
    ],
)
def test_where_rates_tell_places_apart_an_address_that_cant_be_told_waits(
    rate: dict[str, Any], facts: dict[str, Any], problem: tuple[str, str]
) -> None:
    rates = [{"price": {"EUR": 1}, **rate}, {"price": {"EUR": 99}}]
    rules = {"default": "post", "methods": {"post": method(*rates)}}

    found = refused(cart(MUG, **facts), shipping=rules)

    assert (found.reason, found.final) == ("address_unclear", False)
    assert (found.detail["field"], found.detail["problem"]) == problem


def test_a_rate_before_those_that_tell_places_apart_asks_for_nothing() -> None:
    rates = [{"price": {"EUR": 1}}, {"price": {"EUR": 9}, "postal_prefixes": ["10"]}]

    assert rate_of(cart(MUG, postal_code=None), *rates) == 1


def test_the_value_is_what_the_goods_cost_after_promotions() -> None:
    rates = [{"from_value": {"EUR": "30.00"}, "price": {"EUR": 0}}, {"price": {"EUR": 5}}]
    rules = {"shipping": {"default": "post", "methods": {"post": method(*rates)}}}
    off = promotion("fixed", target="order", amount={"EUR": "0.01"})

    assert quoted(cart(MUG), **rules).total == 3000
    assert quoted(cart(MUG), promotions=[off], **rules).total == 2999 + 500


@pytest.mark.parametrize(
    ("named", "as_sold", "final"),
    [
        ("post", False, True),
        (None, False, False),  # our default doesn't do: the customer did nothing wrong
        ("post", True, False),  # it is sold already
    ],
)
def test_no_rate_that_fits_rejects_the_order_if_it_names_the_method(
    named: str | None, as_sold: bool, final: bool
) -> None:
    bought = cart(MUG, country="FR", shipping_method=named, as_sold=as_sold)

    found = refused(bought, shipping=shipped("4.90", countries=["DE"]))

    assert (found.reason, found.final) == ("no_shipping_rate", final)
    assert found.detail == {"shipping_method": "post", "country": "FR", "weight": 1200}


def test_a_method_without_a_price_in_the_currency_has_no_rate() -> None:
    found = refused(cart(MUG, currency="USD"), shipping=shipped("4.90"))

    assert found.reason == "no_shipping_rate"
