"""Tax: the zone, the rates of a class, who is exempt, and how shipping is taxed."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.pricing.quote import Quote
from pipeline.pricing.rules import Rules
from tests.pricing.carts import (
    cart,
    explained,
    line,
    promotion,
    quoted,
    refused,
    shipped,
    taxed,
    taxes,
)


def zone(name: str, country: str, rate: str = "0.1", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "country": country,
        "rates": {"standard": [{"name": "VAT", "rate": rate}]},
        **more,
    }


# --- Zones ----------------------------------------------------------------------------------------

ZONES = [
    zone("world", "*"),
    zone("us", "US"),
    zone("ny", "US", region="NY"),
    zone("manhattan", "US", postal_prefix="100"),
    zone("manhattan-ny", "US", postal_prefix="100", region="NY"),
    zone("10001", "US", postal_prefix="10001"),
    zone("london", "GB", postal_prefix="sw 1"),
    zone("anywhere-zh", "*", region="ZH"),
    zone("anywhere-99", "*", postal_prefix="99"),
    zone("ch", "CH"),
]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("DE", None, "10115"), "world"),
        (("US", "CA", "90210"), "us"),
        (("US", "NY", "14850"), "ny"),
        (("US", "new york", "14850"), "ny"),
        (("US", None, "14850"), "ny"),  # its postal code says so
        (("US", None, "10099"), "manhattan-ny"),
        (("US", "NY", "10099"), "manhattan-ny"),
        (("US", "NY", "10001"), "10001"),  # the longest prefix before the region
        (("DE", None, "10001"), "world"),  # a prefix of another country's
        (("GB", None, "Sw1A 1aa"), "london"),
        (("GB", None, "S W1"), "london"),
        (("GB", None, "SW2"), "world"),  # the beginning of a code tells enough
        (("CH", "ZH", "8001"), "anywhere-zh"),  # the region before the country
        (("CH", "BE", "3001"), "ch"),
        (("CH", "ZH", "9900"), "anywhere-99"),
    ],
)
def test_the_most_specific_zone_that_fits(
    address: tuple[str, str | None, str | None], expected: str
) -> None:
    country, region, postal_code = address
    bought = cart(line("A", 100), country=country, region=region, postal_code=postal_code)

    found = quoted(bought, tax={"zones": ZONES})

    assert explained(found, "tax")[0]["zone"] == expected


def test_without_zones_there_is_no_tax() -> None:
    found = quoted(cart(line("A", 100, 2)), includes_tax=True, shipping=shipped("1.00"))

    assert (found.net, found.tax, found.total) == (300, 0, 300)
    assert found.lines[0].tax_rate == "0"
    assert explained(found, "tax") == []


def test_outside_all_zones_a_person_must_see_to_it() -> None:
    bought = cart(line("A", 100), country="FR", region="75", postal_code="75001")

    found = refused(bought, tax={"zones": ZONES[1:]})

    assert (found.reason, found.final) == ("no_tax_rate", False)
    assert found.detail == {"country": "FR", "region": "75"}


@pytest.mark.parametrize("rates", [{}, {"food": []}])
def test_so_it_is_with_a_class_that_has_no_rates(rates: dict[str, Any]) -> None:
    shop = {"zones": [zone("all", "*", rates=rates)]}

    found = refused(cart(line("A", 100, tax_class="food")), tax=shop)

    assert (found.reason, found.final) == ("no_tax_rate", False)
    assert found.detail == {"zone": "all", "tax_class": "food"}


def test_so_it_is_with_the_class_of_shipping() -> None:
    found = refused(
        cart(line("A", 100)), tax=taxed("0.1"), shipping=shipped("1.00", tax="services")
    )

    assert found.detail["tax_class"] == "services"


# --- Rates ----------------------------------------------------------------------------------------


def test_the_rates_of_a_class_add_they_do_not_compound() -> None:
    rates = {"standard": [{"name": "State", "rate": "0.07"}, {"name": "City", "rate": "0.055"}]}

    found = quoted(cart(line("A", 10_000)), tax={"zones": [zone("all", "*", rates=rates)]})

    assert (found.tax, found.lines[0].tax_rate) == (1250, "0.125")
    assert explained(found, "tax")[0]["rates"] == rates["standard"]


@pytest.mark.parametrize(
    ("written", "shown"), [("0.190", "0.19"), (0.07, "0.07"), ("0", "0"), (1, "1")]
)
def test_a_rate_is_shown_as_a_fraction_without_idle_zeros(written: str, shown: str) -> None:
    found = quoted(cart(line("A", 100)), tax=taxed(written))

    assert found.lines[0].tax_rate == shown


def test_each_line_is_taxed_by_its_class_on_what_it_costs_after_discounts() -> None:
    bought = cart(line("TEE", 2000), line("BOOK", 1000, tax_class="reduced"))
    half = promotion("percent", target="order", percent=50)

    found = quoted(bought, tax=taxed("0.19", reduced="0.07"), promotions=[half])

    assert taxes(found) == [190, 35]


def test_a_document_rounds_once_for_each_rate() -> None:
    """At 10 %: 1.5 + 1.5 + 0.5 of shipping is 3.5; at 20 %: 0.6 + 0.6 is 1.2."""
    bought = cart(
        line("A", 15), line("B", 3, tax_class="high"), line("C", 15), line("D", 3, tax_class="high")
    )

    found = quoted(
        bought,
        tax=taxed("0.1", high="0.2"),
        rounding={"level": "document"},
        shipping=shipped("0.05"),
    )

    assert found.tax == 4 + 1
    # 4 over 15, 15, 5 and 1 over 3, 3: ties to the first, shipping last.
    assert taxes(found) == [2, 1, 2, 0, 0]


def test_two_classes_at_the_same_rate_are_one_rate_to_a_document() -> None:
    bought = cart(line("A", 15), line("B", 15, tax_class="other"))

    found = quoted(bought, tax=taxed("0.1", other="0.10"), rounding={"level": "document"})

    assert found.tax == 3


# --- Shipping -------------------------------------------------------------------------------------

GOODS = (line("BOOK", 1000, tax_class="reduced"), line("TEE", 3000), line("TOY", 1000))


@pytest.mark.parametrize(("tax_class", "tax"), [("standard", 95), ("reduced", 35)])
def test_shipping_is_taxed_by_the_class_its_method_names(tax_class: str, tax: int) -> None:
    found = quoted(
        cart(*GOODS),
        tax=taxed("0.19", reduced="0.07"),
        shipping=shipped("5.00", tax=tax_class),
    )

    assert taxes(found)[-1] == tax


def proportional(*lines: Any, price: str = "5.00", level: str = "line", **rules: Any) -> Quote:
    return quoted(
        cart(*lines),
        tax=taxed("0.19", reduced="0.07"),
        shipping=shipped(price, tax="proportional"),
        rounding={"level": level},
        **rules,
    )


def parts(quote: Quote) -> list[tuple[int, int]]:
    """(base, tax) of each part of shipping."""
    steps = explained(quote, "tax")
    return [(step["base"], step["tax"]) for step in steps if step["line"] == "shipping"]


@pytest.mark.parametrize("level", ["unit", "line"])
def test_in_proportion_to_the_goods_each_part_is_taxed_at_its_rate(level: str) -> None:
    found = proportional(*GOODS, level=level)

    assert parts(found) == [(100, 7), (400, 76)]  # 10.00 at 7 %, 40.00 at 19 %
    assert taxes(found)[-1] == 83


def test_the_odd_cent_of_a_proportion_goes_to_the_lower_rate() -> None:
    found = proportional(line("A", 500), line("B", 500, tax_class="reduced"), price="0.01")

    assert parts(found) == [(1, 0), (0, 0)]


def test_it_is_what_the_goods_cost_after_discounts_that_counts() -> None:
    off = promotion("percent", percent=100, lines={"skus": ["TEE", "TOY"]})

    assert parts(proportional(*GOODS, promotions=[off])) == [(500, 35), (0, 0)]


def test_goods_that_cost_nothing_count_alike() -> None:
    free = promotion("percent", percent=100)

    assert parts(proportional(*GOODS, promotions=[free])) == [(250, 18), (250, 48)]


def test_a_document_rounds_parts_of_shipping_with_the_goods_at_their_rate() -> None:
    """7 % of 10.00 + 1.01 is 77.07, 19 % of 40.00 + 4.04 is 836.76."""
    found = proportional(*GOODS, price="5.05", level="document")

    assert found.tax == 77 + 837
    assert taxes(found) == [70, 570, 190, 84]


# --- Exemption ------------------------------------------------------------------------------------

EU = {**taxed("0.2"), "home": "DE"}


@pytest.mark.parametrize(
    ("vat_id", "country", "exempt"),
    [
        ("FR40303265045", "FR", True),
        ("FR40303265045", "AT", True),  # goods may go to another member
        ("EL094259216", "GR", True),  # Greece writes EL
        ("XI110305878", "IE", True),  # Northern Ireland
        ("fr40303265045", "FR", True),
        ("DE136695976", "FR", False),  # a business at home
        ("FR40303265045", "DE", False),  # goods that stay at home
        ("FR40303265045", "CH", False),  # goods that leave the EU
        ("CHE107787577", "FR", False),  # a business outside the EU
        ("GB980780684", "FR", False),
        (None, "FR", False),  # a private person
    ],
)
def test_reverse_charge_is_for_businesses_of_another_member_and_goods_to_another(
    vat_id: str | None, country: str, exempt: bool
) -> None:
    found = quoted(cart(line("A", 1000), vat_id=vat_id, country=country), tax=EU)

    assert found.total == (1000 if exempt else 1200)


def test_who_is_registered_nowhere_has_no_reverse_charge() -> None:
    found = quoted(cart(line("A", 1000), vat_id="FR40303265045", country="FR"), tax=taxed("0.2"))

    assert found.total == 1200


@pytest.mark.parametrize(("group", "total"), [("resellers", 1000), ("vip", 1200), (None, 1200)])
def test_exempt_groups_pay_no_tax(group: str | None, total: int) -> None:
    shop = {**taxed("0.2"), "exempt_groups": ["resellers"]}

    assert quoted(cart(line("A", 1000), customer_group=group), tax=shop).total == total


EXEMPT = {"exempt_groups": ["resellers"]}


def test_an_exempt_order_of_net_prices_needs_no_zone() -> None:
    shop = {**EXEMPT, "zones": [zone("us", "US")]}

    found = quoted(cart(line("A", 1000), customer_group="resellers"), tax=shop)

    assert (found.net, found.tax, found.total, found.lines[0].tax_rate) == (1000, 0, 1000, "0")
    assert explained(found, "exempt") == [{"why": "customer_group", "taken_off": {}}]


def test_of_gross_prices_it_does() -> None:
    shop = {**EXEMPT, "zones": [zone("us", "US")]}

    found = refused(cart(line("A", 1000), customer_group="resellers"), tax=shop, includes_tax=True)

    assert found.reason == "no_tax_rate"


@pytest.mark.parametrize(
    ("level", "taken_off"),
    [
        ("line", {"1": 2, "2": 2, "shipping": 2}),  # 1.67 each
        ("unit", {"1": 2, "2": 2, "shipping": 2}),
        ("document", {"1": 2, "2": 2, "shipping": 1}),  # 5 of 30
    ],
)
def test_the_tax_that_prices_include_is_taken_off_as_it_is_computed(
    level: str, taken_off: dict[str, int]
) -> None:
    bought = cart(line("A", 10), line("B", 10), customer_group="resellers")

    found = quoted(
        bought,
        tax={**taxed("0.2"), **EXEMPT},
        includes_tax=True,
        rounding={"level": level},
        shipping=shipped("0.10"),
    )

    off = sum(taken_off.values())
    assert (found.net, found.tax, found.total) == (30 - off, 0, 30 - off)
    assert explained(found, "exempt") == [{"why": "customer_group", "taken_off": taken_off}]
    assert explained(found, "tax") == []


def test_an_exempt_line_has_neither_tax_nor_rate() -> None:
    bought = cart(line("A", 1190), vat_id="FR40303265045", country="FR")

    found = quoted(bought, tax={**taxed("0.19"), "home": "DE"}, includes_tax=True)

    (sold,) = found.lines
    assert (sold.net, sold.tax, sold.gross, sold.tax_rate) == (1000, 0, 1000, "0")
    assert explained(found, "exempt")[0]["why"] == "reverse_charge"


def test_home_is_one_country() -> None:
    with pytest.raises(ValueError, match="expected a country"):
        Rules.model_validate({"tax": {"home": "*"}})


def test_there_are_no_two_zones_for_one_place() -> None:
    twice = [zone("a", "GB", postal_prefix="SW1"), zone("b", "GB", postal_prefix="sw 1")]

    with pytest.raises(ValueError, match=r"two zones for \('GB', None, 'SW1'\)"):
        Rules.model_validate({"tax": {"zones": twice}})
