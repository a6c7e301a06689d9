"""Where orders go: addresses as people type them, each an order priced, and the zone it must reach."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.places.countries import country_code
from pipeline.places.territories import TERRITORIES
from pipeline.pricing.engine import price
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.pricing.rules import Rules
from pipeline.pricing.ruleset import RuleSet
from tests.pricing.carts import cart, explained, line, quoted, refused, ruled, shipped, taxed

UNCLEAR = "address_unclear"


def zone(name: str, country: str, rate: str = "0.1", **more: Any) -> dict[str, Any]:
    rates = {"standard": [{"name": "VAT", "rate": rate}]}
    return {"name": name, "country": country, "rates": rates, **more}


ZONES = [
    zone("New York", "US", region="NY"),
    zone("Florida", "US", region="Florida"),
    zone("Manhattan", "US", postal_prefix="100"),
    zone("United States", "US"),
    zone("Bavaria", "DE", region="Bayern"),
    zone("Dresden", "DE", postal_prefix="01"),
    zone("Berlin", "DE", postal_prefix="10"),
    zone("Germany", "DE"),
    zone("Northern Ireland", "XI"),
    zone("Great Britain", "UK"),
    zone("Amsterdam", "NL", postal_prefix="1012"),
    zone("Amsterdam AB", "NL", postal_prefix="1012 AB"),
    zone("Netherlands", "The Netherlands"),
    zone("Lisbon", "PT", postal_prefix="1250"),
    zone("Portugal", "PT"),
    zone("Canaries", "IC"),
    zone("Spain", "ES"),
    zone("Quebec", "CA", region="Québec"),
    zone("Canada", "CA"),
    zone("Tokyo", "JP", region="東京都"),
    zone("Japan", "JP"),
    zone("Dubai", "AE", region="Dubai"),
    zone("Emirates", "AE"),
    zone("Guangdong", "CN", region="CN-GD"),
    zone("China", "CN"),
    zone("Riga", "LV", postal_prefix="LV-10"),
    zone("Latvia", "LV"),
    zone("Monaco", "MC"),
    zone("France", "FR"),
    zone("Italy", "IT"),
    zone("Kosovo", "Kosovo"),
    zone("Switzerland", "CH"),
    zone("Elsewhere", "*", "0"),
]
SHOP = ruled(tax={"zones": ZONES})

#: Country, region, postal code as typed; the zone, or that nobody can tell.
ADDRESSES = [
    ("US", "NY", "14850", "New York"),
    ("US", "ny", "14850", "New York"),
    ("US", "New York", "14850", "New York"),
    ("US", "NEW YORK", "14850-1234", "New York"),
    ("US", "N.Y.", "14850", "New York"),
    ("US", "US-NY", "14850", "New York"),
    ("US", "State of New York", "14850", "New York"),
    ("US", None, "14850", "New York"),
    ("US", "FL", "33101", "Florida"),
    ("US", "FLORIDA", "33101", "Florida"),
    ("US", "Fla.", "33101", "Florida"),
    ("US", "New York (NY)", "14850", "New York"),
    ("US", "NY - New York", "14850", "New York"),
    ("US", "New York, NY", "14850", "New York"),
    ("US", "NY, USA", "14850", "New York"),
    ("US", "NY/NJ", "14850", UNCLEAR),
    ("US", "Kent, WA", "98030", UNCLEAR),
    ("US", "Tex.", "73301", "United States"),
    ("US", "New York", "10001", "Manhattan"),
    ("US", "ny", "10001-1234", "Manhattan"),
    ("US", "ny", "100011234", "Manhattan"),
    ("US", "CA", "90210", "United States"),
    ("US", "California", None, "United States"),  # none of its codes begins with 100
    ("US", "NJ", "07030", "United States"),
    ("US", "NY", None, UNCLEAR),  # it may be Manhattan
    ("US", None, None, UNCLEAR),
    ("US", "Nwe York", "14850", UNCLEAR),
    ("US", "NY", "90210", UNCLEAR),
    ("US", "CA", "10001", UNCLEAR),
    ("US", "NY", "1485", UNCLEAR),
    ("DE", "Bayern", "80331", "Bavaria"),
    ("DE", "Bavaria", "80331", "Bavaria"),
    ("DE", "BY", "80331", "Bavaria"),
    ("DE", "DE-BY", "80331", "Bavaria"),
    ("DE", "Freistaat Bayern", "80331", UNCLEAR),  # a name that no list has
    ("DE", "Sachsen", "01067", "Dresden"),
    ("DE", "Saxony", "D-01067", "Dresden"),
    ("DE", "SN", "DE-01067", "Dresden"),
    ("DE", "SN", " 010 67", "Dresden"),
    ("DE", "SN", "０１０６７", "Dresden"),
    ("DE", "SN", "1067", UNCLEAR),
    ("DE", "SN", "A-1067", UNCLEAR),
    ("DE", "SN", "1067.0", UNCLEAR),  # a spreadsheet's number: 10670 would be elsewhere
    ("DE", "SN", "1067,0", UNCLEAR),
    ("DE", "BE", "10115.0", "Berlin"),
    ("DE", "SN", None, UNCLEAR),
    ("DE", "Berlin", "10115", "Berlin"),
    ("DE", None, "10115", "Berlin"),  # by the code alone, before any region
    ("DE", "Thüringen", "99084", "Germany"),
    ("DE", "Thueringen", "99084", "Germany"),
    ("DE", None, "99084", UNCLEAR),  # German codes don't tell the region
    ("Deutschland", "Hessen", "60311", "Germany"),
    ("germany", "HE", "60311", "Germany"),
    ("GB", None, "BT1 1AA", "Northern Ireland"),
    ("GB", None, "bt11aa", "Northern Ireland"),
    ("UK", None, "BT1", "Northern Ireland"),
    ("GB", "Northern Ireland", None, "Northern Ireland"),
    ("GB", "County Antrim", None, "Northern Ireland"),
    ("XI", None, "BT1 1AA", "Northern Ireland"),
    ("XI", None, None, "Northern Ireland"),
    ("Northern Ireland", None, "BT1 1AA", "Northern Ireland"),
    ("GB", None, "SW1A 1AA", "Great Britain"),
    ("Great Britain", None, "sw1a1aa", "Great Britain"),
    ("England", "Kent", "CT1 2EH", "Great Britain"),
    ("GB", None, None, UNCLEAR),
    ("GB", None, "12345", UNCLEAR),
    ("GB", "Northern Ireland", "SW1A 1AA", UNCLEAR),
    ("GB", "Kent", "BT1 1AA", UNCLEAR),
    ("GB", "Belfast", "BT1 1AA", "Northern Ireland"),
    ("XI", None, "SW1A 1AA", UNCLEAR),
    ("IM", None, "BT1 1AA", UNCLEAR),
    ("GB", None, "IM1 1AA", "Great Britain"),  # the Isle of Man, taxed as it is
    ("GB", None, "JE2 3AB", "Elsewhere"),
    ("GB", None, "GY1 1AA", "Elsewhere"),
    ("NL", None, "1012ab", "Amsterdam AB"),
    ("NL", None, "1012 AB", "Amsterdam AB"),
    ("NL", None, "NL-1012 CD", "Amsterdam"),
    ("Holland", None, "1012", UNCLEAR),  # the digits alone: AB, or another
    ("NL", None, "3011", "Netherlands"),
    ("The Netherlands", None, "3011 AA", "Netherlands"),
    ("NL", None, "0123 AB", UNCLEAR),
    ("PT", None, "1250-096", "Lisbon"),
    ("PT", None, "1250096", "Lisbon"),
    ("PT", None, "1250", "Lisbon"),
    ("PT", None, "4000", "Portugal"),
    ("PT", None, "125", UNCLEAR),
    ("ES", None, "35001", "Canaries"),
    ("ES", "Las Palmas", None, "Canaries"),
    ("ES", "Islas Canarias", "38001", "Canaries"),
    ("IC", None, None, "Canaries"),
    ("España", None, "28001", "Spain"),
    ("ES", "Madrid", None, "Spain"),
    ("ES", None, None, UNCLEAR),
    ("ES", "Madrid", "35001", UNCLEAR),
    ("ES", None, "51001", "Elsewhere"),
    ("CA", "QC", "H3Z 2Y7", "Quebec"),
    ("CA", "quebec", "h3z2y7", "Quebec"),
    ("CA", None, "H3Z", "Quebec"),
    ("CA", "Ontario", "K1A 0B1", "Canada"),
    ("CA", None, "K1A 0B1", UNCLEAR),  # a code of both
    ("JP", "東京都", "100-0001", "Tokyo"),
    ("JP", "Tokyo", "〒100-0001", "Tokyo"),
    ("JP", "13", None, "Tokyo"),
    ("日本", "大阪府", None, "Japan"),
    ("AE", "دبي", None, "Dubai"),
    ("UAE", "dubai", None, "Dubai"),
    ("AE", "Abu Dhabi", None, "Emirates"),
    ("AE", None, None, UNCLEAR),
    ("CN", "广东省", "510000", "Guangdong"),
    ("CN", "Guangdong", None, "Guangdong"),
    ("CN", "Beijing", "100000", "China"),
    ("LV", None, "LV-1010", "Riga"),
    ("LV", None, "1010", "Riga"),
    ("LV", None, "LV3001", "Latvia"),
    ("MC", None, None, "Monaco"),
    ("FR", None, "98000", "Monaco"),
    ("FR", None, "MC-98000", "Monaco"),
    ("FR", None, "RE-97400", "Elsewhere"),
    ("FR", "Réunion", "75001", UNCLEAR),
    ("FR", "Paris", "97400", UNCLEAR),
    ("RE", None, "75001", UNCLEAR),
    ("FR", None, "75008 CEDEX 08", "France"),
    ("FR", None, None, "France"),  # nothing tells places of France apart
    ("FR", None, "97400", "Elsewhere"),
    ("Réunion", None, "97400", "Elsewhere"),
    ("IT", None, "23041", "Elsewhere"),
    ("IT", "Roma", "00144", "Italy"),
    ("XK", None, "10000", "Kosovo"),
    ("Kosovo", None, None, "Kosovo"),
    ("CH", "who knows", "no code", "Switzerland"),
    ("AT", None, None, "Elsewhere"),
    ("Turkey", None, None, "Elsewhere"),
    ("Macau", None, None, "Elsewhere"),
]  # fmt: skip


def zone_of(bought: Any, shop: RuleSet = SHOP) -> str:
    found = price(bought, shop)
    if isinstance(found, NotPriced):
        return found.reason
    return str(explained(found, "tax")[0]["zone"])


@pytest.mark.parametrize(("country", "region", "postal_code", "expected"), ADDRESSES)
def test_an_address_reaches_its_zone_however_it_is_typed(
    country: str, region: str | None, postal_code: str | None, expected: str
) -> None:
    code = country_code(country)
    assert code is not None
    bought = cart(line("MUG", 1000), country=code, region=region, postal_code=postal_code)

    assert zone_of(bought) == expected


def test_the_table_is_long_enough() -> None:
    assert len(ADDRESSES) >= 80


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        (
            {"country": "DE", "region": "SN"},
            {"field": "postal_code", "problem": "is missing", "zones": ["Dresden", "Berlin", "Germany"]},
        ),
        (
            {"country": "US", "region": "Gotham", "postal_code": "07030"},
            {"field": "region", "problem": "is not known there",
             "zones": ["New York", "Florida", "United States"]},
        ),
        (
            {"country": "US", "region": "NY", "postal_code": "90210"},
            {"field": "region", "problem": "contradicts the postal code",
             "zones": ["Manhattan", "New York", "United States"]},
        ),
    ],
)  # fmt: skip
def test_who_has_to_correct_it_is_told_the_field_what_is_wrong_and_the_zones_it_may_be_in(
    facts: dict[str, Any], detail: dict[str, Any]
) -> None:
    found = price(cart(line("MUG", 1000), **facts), SHOP)

    assert isinstance(found, NotPriced)
    assert (found.reason, found.final) == (UNCLEAR, False)
    assert found.detail == {"country": facts["country"], **detail}


def test_what_was_typed_is_not_told_for_it_says_who_ordered() -> None:
    found = price(cart(line("MUG", 1000), country="DE", region="Xanadu", postal_code="1067x"), SHOP)

    assert isinstance(found, NotPriced)
    assert "Xanadu" not in str(found.detail)
    assert "1067" not in str(found.detail)


def test_where_no_rule_tells_places_apart_any_address_will_do() -> None:
    shop = ruled(tax={"zones": [zone("Germany", "DE"), zone("Elsewhere", "*")]})

    for postal_code in (None, "1067", "nonsense"):
        assert zone_of(cart(line("MUG", 1), postal_code=postal_code), shop) == "Germany"


def test_zones_of_one_name_and_rate_need_not_be_told_apart() -> None:
    islands = [zone("Islands", "DE", postal_prefix=code) for code in ("18565", "25849")]
    shop = ruled(tax={"zones": [*islands, zone("Islands", "DE")]})

    assert zone_of(cart(line("MUG", 1)), shop) == "Islands"


def test_an_order_that_is_exempt_from_net_prices_asks_for_no_zone() -> None:
    tax = {"zones": ZONES, "exempt_groups": ["embassy"]}

    assert quoted(cart(line("MUG", 1000), customer_group="embassy"), tax=tax).tax == 0


def test_a_person_who_names_the_zone_settles_it() -> None:
    bought = cart(line("MUG", 1000), region="SN", tax_zone="Dresden")

    assert zone_of(bought) == "Dresden"


def test_a_zone_that_is_no_more_in_the_rules_settles_nothing() -> None:
    found = price(cart(line("MUG", 1000), region="SN", tax_zone="Gone"), SHOP)

    assert isinstance(found, NotPriced)
    assert (found.reason, found.final) == ("no_tax_rate", False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"zones": [zone("a", "US", region="Floridda")]},
        {"zones": [zone("a", "DE", region="NY")]},
    ],
)
def test_a_region_that_its_country_does_not_have_is_refused_in_rules(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a region of (US|DE), by code or name"):
        Rules.model_validate({"tax": wrong})


def test_a_shipping_rate_names_regions_that_one_of_its_countries_has() -> None:
    with pytest.raises(ValueError, match="expected a region of CA or US, by code or name"):
        Rules.model_validate(
            {"shipping": shipped("1.00", countries=["CA", "US"], regions=["NY", "Bayern"])}
        )


def test_one_place_written_in_two_ways_is_one_place() -> None:
    twice = [zone("a", "US", region="NY"), zone("b", "USA", region="new york")]

    with pytest.raises(ValueError, match="two zones for"):
        Rules.model_validate({"tax": {"zones": twice}})


SW1A = {"country": "XI", "postal_code": "SW1A 1AA"}
KENT = {"country": "GB", "region": "Kent", "postal_code": "BT1 1AA"}


@pytest.mark.parametrize(
    ("facts", "problem"),
    [(SW1A, ("postal_code", "contradicts the country")), (KENT, ("region", "contradicts the postal code"))],
    ids=["country", "region"],
)  # fmt: skip
def test_nobody_is_spared_tax_for_an_address_that_contradicts_itself(
    facts: dict[str, str], problem: tuple[str, str]
) -> None:
    one = [zone("Great Britain", "GB", "0.2"), zone("Germany", "DE", "0.19")]
    shop = ruled(tax={"home": "DE", "zones": one})

    found = price(cart(line("MUG", 1000), vat_id="XI999999973", **facts), shop)

    assert isinstance(found, NotPriced)
    assert (found.reason, found.detail["field"], found.detail["problem"]) == (UNCLEAR, *problem)
    without = ruled(tax={"zones": one})  # no home: nobody is spared anything
    assert zone_of(cart(line("MUG", 1000), **facts), without) == "Great Britain"


# --- Territories ----------------------------------------------------------------------------------

#: Name, article, addresses (country, postal code), and whose tax is charged there, by a shop that
#: has zones for countries only; and whether the EU's VAT area has them.
PLACES = [
    ("Northern Ireland", "2020/1756", [("GB", "BT1 1AA"), ("XI", "BT1 1AA"), ("XI", None)], "GB", True),
    ("Monaco", "article 7", [("MC", None), ("MC", "98000"), ("FR", "98000")], "FR", True),
    ("Isle of Man", "article 7", [("IM", None), ("IM", "IM1 1AA"), ("GB", "IM1 1AA")], "GB", False),
    ("Akrotiri and Dhekelia", "article 7", [("CY", None), ("CY", "4640")], "CY", True),
    ("Mount Athos", "article 6(1)(a)", [("GR", "630 86"), ("GR", "63087")], "*", False),
    ("Canary Islands", "article 6(1)(b)", [("ES", "35001"), ("ES", "38700"), ("IC", None)], "*", False),
    ("Guadeloupe", "article 6(1)(c)", [("GP", None), ("FR", "97110"), ("GP", "97110")], "*", False),
    ("Martinique", "article 6(1)(c)", [("MQ", None), ("FR", "97200")], "*", False),
    ("French Guiana", "article 6(1)(c)", [("GF", None), ("FR", "97300")], "*", False),
    ("Réunion", "article 6(1)(c)", [("RE", None), ("FR", "97400")], "*", False),
    ("Mayotte", "article 6(1)(c)", [("YT", None), ("FR", "97600")], "*", False),
    ("Saint Martin", "article 6(1)(c)", [("MF", None), ("FR", "97150")], "*", False),
    ("Åland Islands", "article 6(1)(d)", [("AX", None), ("FI", "22100"), ("AX", "AX-22100")], "*", False),
    ("Jersey", "article 6(1)(e)", [("JE", None), ("GB", "JE2 3AB")], "*", False),
    ("Guernsey", "article 6(1)(e)", [("GG", None), ("GB", "GY1 1AA")], "*", False),
    ("Campione d'Italia", "article 6(1)(f)", [("IT", "22061")], "*", False),
    ("Italian waters of Lake Lugano", "article 6(1)(g)", [], "*", False),
    ("Helgoland", "article 6(2)(a)", [("DE", "27498"), ("DE", "D-27498")], "*", False),
    ("Büsingen", "article 6(2)(b)", [("DE", "78266")], "*", False),
    ("Ceuta", "article 6(2)(c)", [("ES", "51001"), ("EA", "51001"), ("EA", None)], "*", False),
    ("Melilla", "article 6(2)(d)", [("ES", "52001"), ("EA", "52001")], "*", False),
    ("Livigno", "article 6(2)(e)", [("IT", "23041")], "*", False),
    ("Saint Barthélemy", "355(2)", [("BL", None), ("FR", "97133")], "*", False),
    ("Saint Pierre and Miquelon", "355(2)", [("PM", None), ("FR", "97500")], "*", False),
    ("Wallis and Futuna", "355(2)", [("WF", None), ("FR", "98600")], "*", False),
    ("French Polynesia", "355(2)", [("PF", None), ("FR", "98700")], "*", False),
    ("New Caledonia", "355(2)", [("NC", None), ("FR", "98800")], "*", False),
    ("French Southern Territories", "355(2)", [("TF", None), ("FR", "98400")], "*", False),
    ("San Marino", "a state of its own", [("SM", None), ("IT", "47890")], "*", False),
    ("Vatican City", "a state of its own", [("VA", None), ("IT", "00120")], "*", False),
]  # fmt: skip
ORDERS = [
    (name, country, code, taxed, in_eu)
    for name, _, addresses, taxed, in_eu in PLACES
    for country, code in addresses
]
COUNTRIES = ["CY", "DE", "ES", "FI", "FR", "GB", "GR", "IT"]
BY_COUNTRY = {
    "home": "AT",
    "zones": [*(zone(each, each, "0.2") for each in COUNTRIES), zone("*", "*", "0")],
}


def test_the_table_has_each_territory_with_its_article() -> None:
    sources = {each.name: each.source for each in TERRITORIES}

    assert sources.keys() == {name for name, *_ in PLACES}
    assert all(article in sources[name] for name, article, *_ in PLACES)


@pytest.mark.parametrize(("name", "country", "code", "taxed", "in_eu"), ORDERS)
def test_a_zone_that_names_a_country_is_its_vat_area_and_no_more(
    name: str, country: str, code: str | None, taxed: str, in_eu: bool
) -> None:
    sold = quoted(cart(line("MUG", 1000), country=country, postal_code=code), tax=BY_COUNTRY)

    assert explained(sold, "tax")[0]["zone"] == taxed
    assert sold.tax == (0 if taxed == "*" else 200)


@pytest.mark.parametrize(("name", "country", "code", "taxed", "in_eu"), ORDERS)
def test_a_business_has_reverse_charge_where_the_goods_arrive_in_the_vat_area(
    name: str, country: str, code: str | None, taxed: str, in_eu: bool
) -> None:
    bought = cart(line("MUG", 1000), country=country, postal_code=code, vat_id="FR40303265045")

    sold = quoted(bought, tax=BY_COUNTRY)

    assert bool(explained(sold, "exempt")) is in_eu


@pytest.mark.parametrize(("name", "country", "code", "taxed", "in_eu"), ORDERS)
def test_an_untaxed_order_there_is_an_export_if_it_leaves_the_vat_area(
    name: str, country: str, code: str | None, taxed: str, in_eu: bool
) -> None:
    tax = {"home": "DE", "zones": [zone("*", "*", "0")]}

    sold = quoted(cart(line("MUG", 1000), country=country, postal_code=code), tax=tax)

    [why] = explained(sold, "untaxed")
    assert why["category"] == ("Z" if in_eu else "G")


def test_a_territory_of_a_zone_of_its_own_reaches_that_by_code_or_by_postal_code() -> None:
    by_code = ruled(tax={"zones": [zone("RE", "RE"), zone("FR", "FR"), zone("*", "*")]})
    by_postal = ruled(
        tax={"zones": [zone("RE", "FR", postal_prefix="974"), zone("FR", "FR"), zone("*", "*")]}
    )

    for shop in (by_code, by_postal):
        for country, code in (("RE", None), ("RE", "97400"), ("FR", "97400")):
            bought = cart(line("MUG", 1), country=country, postal_code=code)
            assert zone_of(bought, shop) == "RE"


@pytest.mark.parametrize(
    ("facts", "price"),
    [
        ({"country": "XI"}, 1),
        ({"country": "GB", "postal_code": "BT1 1AA"}, 1),
        ({"country": "FR", "postal_code": "97400"}, 2),
        ({"country": "RE"}, 2),
        ({"country": "IC"}, 3),
        ({"country": "MC"}, 9),  # parcels to Monaco don't go to France
    ],
)
def test_parcels_go_by_the_territory_or_the_country_that_it_is_a_part_of(
    facts: dict[str, Any], price: int
) -> None:
    rates = [
        {"countries": ["GB"], "price": {"EUR": "0.01"}},
        {"countries": ["RE"], "price": {"EUR": "0.02"}},
        {"countries": ["ES", "FR"], "price": {"EUR": "0.03"}},
        {"price": {"EUR": "0.09"}},
    ]
    shipping = {"default": "post", "methods": {"post": {"name": "Post", "rates": rates}}}

    found = quoted(cart(line("MUG", 1), **facts), shipping=shipping)

    assert found.shipping is not None
    assert found.shipping.price == price


# --- Exports, and why a line bears no tax ---------------------------------------------------------

GERMAN = {
    "home": "DE",
    "zones": [
        zone("Germany", "DE", "0.19"),
        zone("France", "FR", "0.20"),
        zone("Switzerland", "CH", "0"),
        zone("New York", "US", "0.08", region="NY"),
        zone("Elsewhere", "*", "0"),
    ],
}
HELGOLAND = zone("Helgoland", "DE", "0", postal_prefix="27498")


def german(**more: Any) -> dict[str, Any]:
    return {"includes_tax": True, "tax": {**GERMAN, **more}}


def sold(rules: dict[str, Any], **facts: Any) -> Quote:
    return quoted(cart(line("MUG", 11_900), **facts), **rules)


@pytest.mark.parametrize(
    ("facts", "total", "tax"),
    [
        ({"country": "DE"}, 11_900, 1900),
        ({"country": "CH"}, 10_000, 0),
        ({"country": "AU"}, 10_000, 0),
        ({"country": "GB", "postal_code": "SW1A 1AA"}, 10_000, 0),
        ({"country": "GR"}, 11_900, 0),  # no export: a zone is missing, and that is the shop's word
        ({"country": "FR"}, 11_900, 1983),
        ({"country": "US", "region": "NY", "postal_code": "10001"}, 11_900, 881),  # taxed there
    ],
)
def test_an_export_pays_the_net_price_where_the_rules_say_so(
    facts: dict[str, Any], total: int, tax: int
) -> None:
    found = sold(german(export={"price": "net"}), **facts)

    assert (found.total, found.tax) == (total, tax)


def test_without_that_it_pays_what_is_shown() -> None:
    assert sold(german(), country="CH").total == 11_900


def test_the_net_price_loses_the_tax_of_home_by_class_and_of_shipping_too() -> None:
    tax = {**GERMAN, "export": {"price": "net"}}
    tax["zones"] = [
        {**each, "rates": {**each["rates"], "reduced": [{"name": "VAT", "rate": reduced}]}}
        for each, reduced in zip(GERMAN["zones"], ["0.07", "0.055", "0", "0.08", "0"], strict=True)
    ]
    bought = cart(line("BOOK", 1070, tax_class="reduced"), line("MUG", 1190), country="CH")

    found = quoted(bought, includes_tax=True, tax=tax, shipping=shipped("1.19"))

    assert [each.net for each in found.lines] == [1000, 1000]
    assert (found.shipping and found.shipping.net, found.total) == (100, 2100)
    assert explained(found, "exempt") == [
        {"why": "export", "taken_off": {"1": 70, "2": 190, "shipping": 19}}
    ]


@pytest.mark.parametrize(
    ("price", "country", "vat_id", "total"),
    [
        ("less_destination_tax", "FR", "FR40303265045", 9917),
        ("net", "FR", "FR40303265045", 10_000),
        ("net", "GR", "EL094259216", 10_000),  # no zone of its own
    ],
)
def test_reverse_charge_may_take_off_the_tax_of_home(
    price: str, country: str, vat_id: str, total: int
) -> None:
    rules = german(reverse_charge={"price": price})

    assert sold(rules, country=country, vat_id=vat_id).total == total


@pytest.mark.parametrize("which", ["export", "reverse_charge"])
def test_who_wants_net_prices_says_where_home_is(which: str) -> None:
    with pytest.raises(ValueError, match=f"{which}.price: got 'net', expected `home`"):
        Rules.model_validate({"tax": {which: {"price": "net"}}})


@pytest.mark.parametrize(
    ("tax", "facts", "why"),
    [
        ({}, {}, ("no_tax_rules", "O", "VATEX-EU-O")),
        (
            {**GERMAN, "exempt_groups": ["embassy"]},
            {"customer_group": "embassy"},
            ("customer_group", "E", None),
        ),
        (
            GERMAN,
            {"country": "FR", "vat_id": "FR40303265045"},
            ("reverse_charge", "K", "VATEX-EU-IC"),
        ),
        (
            {**GERMAN, "home": "GB"},
            {"country": "FR", "vat_id": "FR40303265045"},
            ("reverse_charge", "AE", "VATEX-EU-AE"),
        ),
        (GERMAN, {"country": "CH"}, ("export", "G", "VATEX-EU-G")),
        (
            {**GERMAN, "zones": [*GERMAN["zones"], HELGOLAND]},
            {"country": "DE", "postal_code": "27498"},
            ("export", "G", "VATEX-EU-G"),
        ),
        (
            {**GERMAN, "zones": [*GERMAN["zones"], HELGOLAND]},
            {"country": "DE", "tax_zone": "Helgoland"},  # a person says so
            ("export", "G", "VATEX-EU-G"),
        ),
        (GERMAN, {"country": "SE"}, ("zero_rate", "Z", None)),
        (taxed("0"), {}, ("zero_rate", "Z", None)),
    ],
)
def test_what_bears_no_tax_says_why(
    tax: dict[str, Any], facts: dict[str, Any], why: tuple[str, str, str | None]
) -> None:
    bought = cart(line("A", 1000), line("B", 1000), **facts)

    found = quoted(bought, tax=tax, shipping=shipped("1.00"))

    name, category, code = why
    assert explained(found, "untaxed") == [
        {"why": name, "category": category, "code": code, "places": [1, 2, "shipping"]}
    ]


def test_only_what_bears_no_tax_does() -> None:
    tax = taxed("0.19", zero="0")

    found = quoted(cart(line("A", 1000), line("B", 1000, tax_class="zero")), tax=tax)

    assert [each["places"] for each in explained(found, "untaxed")] == [[2]]
    assert explained(quoted(cart(line("A", 1000)), tax=tax), "untaxed") == []


# --- Two ways to find a zone ----------------------------------------------------------------------


def test_among_thousands_of_prefixes_an_address_finds_its_own() -> None:
    many = [zone(f"z{n}", "US", postal_prefix=f"{n:05}") for n in range(10_000, 12_000)]
    shop = ruled(tax={"zones": [*many, zone("us", "US")]})
    bought = cart(line("MUG", 1), country="US", postal_code="11999-1234")

    assert zone_of(bought, shop) == "z11999"
    assert zone_of(replace(bought, postal_code="20001"), shop) == "us"


def test_rules_of_one_country_say_nothing_of_another() -> None:
    found = refused(cart(line("MUG", 1), country="FR"), tax={"zones": ZONES[:-5]})

    assert found.reason == "no_tax_rate"


def test_a_parcel_to_an_address_that_contradicts_itself_waits_if_its_price_depends_on_it() -> None:
    rates = [
        {"countries": ["XI"], "price": {"EUR": "1.00"}},
        {"countries": ["GB"], "price": {"EUR": "2.00"}},
    ]
    methods = {"post": {"name": "Post", "tax": "standard", "rates": rates}}
    shop = ruled(shipping={"default": "post", "methods": methods})
    london = cart(line("MUG", 1000), country="XI", postal_code="SW1A 1AA")
    belfast = cart(line("MUG", 1000), country="XI", postal_code="BT1 1AA")

    found = price(london, shop)

    assert isinstance(found, NotPriced)
    assert (found.reason, found.detail["problem"]) == (UNCLEAR, "contradicts the country")
    sold = price(belfast, shop)
    assert isinstance(sold, Quote)
    assert sold.shipping is not None
    assert sold.shipping.price == 100
