"""docs/examples/rules.yaml: it has one of everything, and prices orders as its comments say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.pricing.engine import price
from pipeline.pricing.quote import Quote
from pipeline.pricing.rules import Conditions, Rules
from pipeline.pricing.ruleset import RuleSet
from tests.pricing.carts import applied, cart, line, taxes

PATH = Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml"
RULES = Rules.model_validate(YAML(typ="safe").load(PATH))
SHOP = RuleSet(RULES)

MUG = line("MUG-01", 1200, 2, categories=["kitchen"], weight=400)
POT = line("POT-01", 2500, 1, categories=["kitchen"], weight=900)
COFFEE = line("COFFEE-250", 700, 4, categories=["food"], tax_class="reduced", weight=260)
FILTER = line("FILTER-01", 399, 3, weight=100)


def sold(*lines: Any, **facts: Any) -> Quote:
    """Priced for someone in Berlin, unless the facts say otherwise."""
    address = {} if "country" in facts else {"postal_code": "10115"}
    found = price(cart(*lines, **{**address, **facts}), SHOP)
    assert isinstance(found, Quote), found
    return found


def stated(model: BaseModel) -> set[str]:
    """Every field that is said somewhere in a model, at whatever depth, as Class.field."""
    found: set[str] = set()
    for name in model.model_fields_set:
        found.add(f"{type(model).__name__}.{name}")
        value = getattr(model, name)
        for each in value.values() if isinstance(value, dict) else [value]:
            for part in each if isinstance(each, tuple) else [each]:
                if isinstance(part, BaseModel):
                    found |= stated(part)
    return found


def test_it_has_one_of_everything() -> None:
    effects = {"percent", "fixed", "fixed_price", "tiered_by_quantity", "tiered_by_spend",
               "buy_get", "cheapest_free", "bundle", "free_shipping"}  # fmt: skip
    said = stated(RULES)

    assert {promotion.effect.type for promotion in RULES.promotions} == effects
    assert {promotion.target for promotion in RULES.promotions} == {"lines", "order", "shipping"}
    for model in (Rules, Conditions, *map(type, (
        RULES.tax, RULES.tax.zones[0], RULES.shipping, RULES.rounding, RULES.coupons[0],
        RULES.promotions[0], RULES.promotions[0].lines, RULES.shipping.methods["parcel"],
        RULES.shipping.methods["parcel"].rates[0],
    ))):  # fmt: skip
        assert {f"{model.__name__}.{name}" for name in model.model_fields} <= said


def test_yaml_keeps_the_zone_that_a_time_states() -> None:
    """Older versions of the reader took it off, and the rules' own zone was put in its place."""
    read = YAML(typ="safe").load("{valid_from: 2026-11-27T00:00:00-05:00}")

    when = Conditions.model_validate(read)

    assert when.valid_from == datetime(2026, 11, 27, 5, tzinfo=UTC)


def test_a_bundle_and_shipping_free_with_four_of_the_kitchen() -> None:
    found = sold(MUG, POT, line("CUP-01", 600, categories=["kitchen"]))

    assert applied(found) == ["breakfast", "free-shipping"]
    assert found.total == 3900 + 600


def test_coffee_makes_filters_cheaper_and_shipping_is_taxed_as_the_goods() -> None:
    """Four bags: two packs of filters at half price. 4.90 by 28.00 at 7 % and 7.98 at 19 %."""
    found = sold(COFFEE, FILTER)

    assert [x.discount for x in found.lines] == [0, 399]
    assert found.shipping is not None
    assert found.shipping.price == 490
    assert taxes(found) == [183, 127, 25 + 17]


@pytest.mark.parametrize(
    ("day", "source", "expected"),
    [
        (datetime(2026, 11, 24, 12, tzinfo=UTC), "app", ["app-tuesday"]),
        (datetime(2026, 11, 23, 23, tzinfo=UTC), "app", ["app-tuesday"]),  # Tuesday in Berlin
        (datetime(2026, 11, 23, 22, tzinfo=UTC), "app", []),
        (datetime(2026, 11, 24, 12, tzinfo=UTC), "shop", []),
        (datetime(2026, 10, 27, 12, tzinfo=UTC), "app", []),  # before it began
    ],
)
def test_tuesdays_in_the_app(day: datetime, source: str, expected: list[str]) -> None:
    assert applied(sold(FILTER, at=day, source=source)) == expected


@pytest.mark.parametrize(
    ("quantity", "group", "expected"),
    [(2, None, []), (3, None, ["tees-by-number"]), (10, None, ["tees-by-number"]),
     (5, "club", ["tees-by-value"]), (10, "club", ["tees-by-number"])],
)  # fmt: skip
def test_of_two_offers_for_tees_the_better_is_applied(
    quantity: int, group: str | None, expected: list[str]
) -> None:
    tees = line("TEE-01", 2500, quantity, categories=["tees"])

    assert applied(sold(tees, customer_group=group)) == expected


def test_posters_in_clearance_take_no_further_promotion() -> None:
    socks = line("SOCK-01", 500, 3, categories=["socks"])
    poster = line("POSTER-01", 900, categories=["posters"])

    assert applied(sold(socks)) == ["three-for-two"]
    assert applied(sold(socks, poster)) == ["clearance"]
    assert applied(sold(socks, line("POSTER-LTD", 900, categories=["posters"]))) == [
        "three-for-two"
    ]


def test_a_first_order_and_a_friend() -> None:
    found = sold(line("LAMP-01", 10_000), first_order=True, coupons=("friends",))

    assert applied(found) == ["friends", "welcome"]
    assert (found.coupons, found.lines[0].discount) == (("FRIENDS",), 1500 + 500)


@pytest.mark.parametrize(
    ("address", "total", "tax"),
    [
        ({"country": "DE", "postal_code": "27498"}, 5000 + 1490, 0),
        ({"country": "AT"}, 5000 + 490, 833 + 82),
        ({"country": "CH"}, 5000 + 2490, 0),
        ({"country": "FR", "vat_id": "FR40303265045"}, 5000 + 2490, 0),
        ({"country": "AT", "vat_id": "ATU13585627"}, 4167 + 408, 0),
        ({"postal_code": "10115", "customer_group": "embassy"}, 4202 + 412, 0),
    ],
)
def test_where_the_goods_go_decides_tax_and_shipping(
    address: dict[str, Any], total: int, tax: int
) -> None:
    found = sold(line("LAMP-01", 5000, weight=2000), **address)

    assert (found.total, found.tax) == (total, tax)


def test_three_rates_in_new_york() -> None:
    """8.875 % in a price of 100.00, and of shipping at 12.00 in the region."""
    found = sold(
        line("LAMP-01", 10_000), currency="USD", country="US", region="NY", postal_code="10001"
    )

    assert found.lines[0].tax_rate == "0.08875"
    assert (found.total, taxes(found)) == (11_200, [815, 98])


def test_a_courier_in_berlin() -> None:
    found = sold(FILTER, shipping_method="courier", postal_code="10115")

    assert found.shipping is not None
    assert found.shipping.price == 1250
