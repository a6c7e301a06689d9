"""Random shops and orders over a world so small that rules meet: three currencies, four products.

Rules are drawn as the data that `ordermill pricing import` reads. What makes most orders fail (an
unknown code, a class without rates) is drawn seldom; boundaries (the instant that a validity
begins at, a spend that is just enough) often, as times and amounts come from short lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from pipeline.money import to_text
from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.prices import ListPrice
from pipeline.pricing.rules import Promotion, Rules

T = TypeVar("T")
Data = dict[str, Any]
DataStrategy = st.SearchStrategy[Data]


class Scenario(NamedTuple):
    """An order, and the rules it is priced by."""

    cart: Cart
    rules: Rules


# --- The world ------------------------------------------------------------------------------------

CURRENCIES = ["EUR", "JPY", "KWD"]  # exponents 2, 0, 3
PRODUCTS: dict[str, Data] = {
    "CUP": {"categories": frozenset({"kitchen", "sale"}), "tax_class": "standard", "weight": 300},
    "JUG": {"categories": frozenset({"kitchen"}), "tax_class": "standard", "weight": 1200},
    "NOVEL": {"categories": frozenset({"sale"}), "tax_class": "reduced", "weight": 450},
    "VOUCHER": {"categories": frozenset(), "tax_class": "special", "weight": 0},
}
SKUS, CATEGORIES = list(PRODUCTS), ["kitchen", "sale"]
CODES = ["SAVE", "TEN"]
COUNTRIES, REGIONS = ["DE", "FR", "GR", "US", "ES", "GB", "XI", "RE"], ["BY", "NY"]
#: As people type them, right, wrong, and one that is another's.
WRITTEN_REGIONS = [
    None, None, "BY", "Bavaria", "NY", "new york", "Kanarias", "Canarias", "Las Palmas", "Madrid", "NIR",
]  # fmt: skip
POSTAL_CODES = [
    None, "10115", "101 15", "sw1a 1aa", "8", "27498", "BT1 1AA", "BT1", "35001", "28001", "97400",
    "D-10115", "10001",
]  # fmt: skip
TIMEZONES = ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"]
VAT_IDS = [None, None, "DE136695976", "EL094259216", "fr 40303265045", "GB980780684", "XI980780684"]
#: Around a weekend, and around the hour that clocks in Berlin show twice.
MOMENTS = [
    datetime(2026, 10, 23, 23, 30, tzinfo=UTC),
    datetime(2026, 10, 24, 11, 0, tzinfo=timezone(timedelta(hours=-4))),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2))),
]


def seldom(often: T, rare: T, one_in: int = 10) -> st.SearchStrategy[T]:
    return st.sampled_from([often] * (one_in - 1) + [rare])


def some(values: Sequence[str], *, least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=2, unique=True)


def up_to(allowed: int, fields: dict[str, st.SearchStrategy[Any]]) -> DataStrategy:
    """So many of these fields."""
    one = st.one_of([st.tuples(st.just(name), value) for name, value in fields.items()])
    return st.lists(one, max_size=allowed).map(dict)


# --- Rules ----------------------------------------------------------------------------------------

#: Round ones meet: a spend is just enough, two lines cost the same.
minor_units = st.one_of(
    st.sampled_from([100, 200, 300, 500, 1000, 10, 5, 2, 1, 0]),
    st.sampled_from([100, 200, 300, 400, 600, 900, 1, 3]),
    st.integers(0, 3000),
    st.sampled_from([10**9, 99, 7]),
)


def amounts_of(minor_units: st.SearchStrategy[int]) -> DataStrategy:
    """By currency; nearly always in each, so that a rule that has one applies."""
    return st.tuples(minor_units, st.sampled_from([None] * 12 + CURRENCIES)).map(
        lambda drawn: {c: to_text(drawn[0], c) for c in CURRENCIES if c != drawn[1]}
    )


amounts = amounts_of(minor_units)
bargains = amounts_of(st.integers(0, 100))
percents = st.sampled_from(["10", "50", "100", "0", "25", "12.5", "33.333333", "0.5", "99.9"])
counts = st.integers(1, 3)
#: With a zone, or without: then meant in the rules'.
moments = st.sampled_from(
    [m.isoformat() for m in MOMENTS]
    + [m.replace(tzinfo=None).isoformat() for m in MOMENTS]
    + ["0001-01-01T00:00:00", "9999-12-31T23:59:59"]
)
validity = up_to(2, {"valid_from": moments, "valid_until": moments})
selectors = up_to(
    2, {"skus": some(SKUS), "categories": some(CATEGORIES), "except_skus": some(SKUS)}
)
conditions = up_to(
    2,
    {
        "min_spend": amounts,
        "min_quantity": st.integers(1, 6),
        "skus": some(SKUS),
        "categories": some(CATEGORIES),
        "sources": some(["web", "stand"]),
        "customer_groups": some(["trade", "vip"]),
        "first_order": st.booleans(),
        "weekdays": some(["sat", "sun"]),
        "valid_from": moments,
        "valid_until": moments,
    },
)


def effect(kind: str, *, optional: Data | None = None, **fields: Any) -> DataStrategy:
    return st.fixed_dictionaries({"type": st.just(kind), **fields}, optional=optional or {})


def tiers(at_least: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Data]]:
    one = st.fixed_dictionaries({"from": at_least, "percent": percents})
    return st.lists(one, min_size=1, max_size=3)


PERCENT = effect("percent", percent=percents, optional={"cap": amounts})
FIXED = effect("fixed", amount=amounts)
FIXED_PRICE = effect("fixed_price", price=bargains)
BY_QUANTITY = effect("tiered_by_quantity", tiers=tiers(st.integers(1, 8)))
BY_SPEND = effect("tiered_by_spend", tiers=tiers(amounts))
BUY_GET = effect("buy_get", buy=counts, get=counts, optional={"percent": percents, "of": selectors})
CHEAPEST_FREE = effect("cheapest_free", every=st.integers(2, 5))
BUNDLE = effect(
    "bundle",
    units=st.dictionaries(st.sampled_from(SKUS), counts, min_size=1, max_size=2),
    price=bargains,
)
FREE_SHIPPING = effect("free_shipping")

EFFECTS = {
    "lines": [
        PERCENT, FIXED, FIXED_PRICE, BY_QUANTITY, BY_SPEND, BUY_GET, CHEAPEST_FREE, BUNDLE,
        BUNDLE,
    ],
    "order": [PERCENT, FIXED, BY_QUANTITY, BY_SPEND],
    "shipping": [PERCENT, FIXED, FIXED_PRICE, FREE_SHIPPING],
}  # fmt: skip


def promotions_with(target: str, effect: DataStrategy, selectors: DataStrategy) -> DataStrategy:
    return st.fixed_dictionaries(
        {
            "target": st.just(target),
            "effect": effect,
            "lines": selectors,
            "when": conditions,
            "priority": st.sampled_from([100, 1, 50, -1]),
            "group": st.sampled_from([None, "a", "a", "b"]),
            "last": seldom(False, True, 5),
        }
    )


promotions = st.one_of(
    [
        promotions_with(target, effect, st.just({}) if effect is BUNDLE else selectors)
        for target, effects in EFFECTS.items()
        for effect in effects
    ]
)


def named(drawn: list[Data]) -> list[Data]:
    """With ids in another order than that in which they are written."""
    return [
        {"id": f"promo-{n * 3 % 7}", "name": f"Promotion {n}", **data, "when": dict(data["when"])}
        for n, data in enumerate(drawn)
    ]


#: Coupons by the number of the promotion they name first; perhaps they name the one after it too.
coupons = st.lists(
    st.tuples(st.integers(0, 5), st.booleans(), seldom(True, False, 4), validity).map(
        lambda drawn: (drawn[0], drawn[1], {} if drawn[2] else drawn[3])
    ),
    max_size=len(CODES),
)


def coupons_for(drawn: list[Any], ids: list[str]) -> list[Data]:
    return [
        {
            "code": code.lower(),
            "promotions": [ids[(first + more) % len(ids)] for more in range(1 + two)],
            **dates,
        }
        for code, (first, two, dates) in zip(CODES, drawn, strict=False)
        if ids
    ]


def methods_with(tax: str) -> DataStrategy:
    """Some rates with limits; nearly always one at the end that fits everyone."""
    limits = up_to(
        2,
        {
            "countries": some([*COUNTRIES, "*"]),
            "regions": some(REGIONS),
            "postal_prefixes": some(["10", "1 01", "SW1", "sw1A1"]),
            "up_to_weight": st.sampled_from([0, 300, 600, 1500, 5000]),
            "from_value": amounts,
        },
    )
    limited = st.tuples(limits, amounts).map(
        lambda drawn: {**regions_that_exist(drawn[0]), "price": drawn[1]}
    )
    rates = st.tuples(st.lists(limited, max_size=2), amounts, seldom(True, False)).map(
        lambda drawn: drawn[0] + [{"price": drawn[1]}] * (drawn[2] or not drawn[0])
    )
    return st.fixed_dictionaries({"name": st.just("By hand"), "tax": st.just(tax), "rates": rates})


def regions_that_exist(limits: Data) -> Data:
    """A rate that names regions names a country that has each."""
    if "regions" in limits and "*" not in limits.get("countries", "*"):
        return {**limits, "countries": ["DE", "US"]}
    return limits


shipping = st.fixed_dictionaries(
    {
        "default": st.sampled_from(["post", None]),
        "methods": st.fixed_dictionaries(
            {
                "post": methods_with("proportional"),
                "courier": methods_with("standard"),
                "bike": methods_with("special"),
            }
        ),
    }
)

#: What one class may pay; the rare None was forgotten, the rare empty list not filled in.
RATES = [["0.19"], ["0.07"], ["0"], ["0.05", "0.1"], ["0.190"], ["0.0825"], ["1", "1"]]
rates = st.sampled_from([*RATES * 8, None, []])
rates_by_class = st.tuples(rates, rates, rates).map(
    lambda drawn: {
        name: [{"name": f"part {n}", "rate": rate} for n, rate in enumerate(of_class)]
        for name, of_class in zip(["standard", "reduced", "special"], drawn, strict=True)
        if of_class is not None
    }
)
places = st.sampled_from(
    [
        *[(country, None, None) for country in ("DE", "US", "ES", "GB", "FR", "XI", "IC", "RE")],
        ("DE", "BY", None), ("DE", "Bayern", "1"), ("DE", None, "101"), ("DE", None, "27498"),
        ("US", "New York", None), ("US", None, "1"), ("US", "NY", "101"), ("US", None, "10001"),
        ("ES", "Canarias", None), ("ES", "GC", None), ("ES", None, "35"), ("GB", None, "BT"),
        ("GB", "NIR", None), ("GB", None, "SW 1"), ("FR", None, "974"), ("FR", "974", None),
        ("*", None, None), ("*", "BY", None), ("*", None, "101"), ("*", "ny", "1"),
    ]
)  # fmt: skip


def zones_at(drawn: tuple[dict[Any, Data], Data, str]) -> list[Data]:
    some, by_class, extent = drawn
    everywhere = {("*", None, None): by_class}
    found = {"everywhere": {**some, **everywhere}, "here and there": some, "nowhere": {}}[extent]
    return [
        {"name": f"zone {n}", "country": place[0], "region": place[1], "postal_prefix": place[2],
         "rates": rates}
        for n, (place, rates) in enumerate(found.items())
    ]  # fmt: skip


zones = st.tuples(
    st.dictionaries(places, rates_by_class, max_size=2),
    rates_by_class,
    st.sampled_from(["everywhere"] * 8 + ["here and there", "nowhere"]),
).map(zones_at)


def fitting(tax: Data) -> Data:
    """Only who says where home is can take its tax off."""
    return tax if tax["home"] else {**tax, "export": {}, "reverse_charge": {}}


tax = st.fixed_dictionaries(
    {
        "zones": zones,
        "exempt_groups": st.sampled_from([[], [], ["trade"]]),
        "home": st.sampled_from([None, None, "DE", "GR", "US", "GB"]),
        "export": st.sampled_from([{}, {"price": "net"}]),
        "reverse_charge": st.sampled_from([{}, {}, {"price": "net"}]),
    }
).map(fitting)


def rules_from(data: Data) -> Rules:
    ids = [promotion["id"] for promotion in data["promotions"]]
    coupons = coupons_for(data["coupons"], ids)
    zone = ZoneInfo(data["timezone"])
    for dated in [*coupons, *(promotion["when"] for promotion in data["promotions"])]:
        start, end = (in_utc(dated.get(name), zone) for name in ("valid_from", "valid_until"))
        if start is not None and end is not None and end <= start:
            del dated["valid_until"]  # never valid: refused
    return Rules.model_validate({**data, "coupons": coupons})


def in_utc(moment: str | None, zone: ZoneInfo) -> datetime | None:
    if moment is None:
        return None
    try:
        found = datetime.fromisoformat(moment)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:
        return (datetime.max if moment > "2" else datetime.min).replace(tzinfo=UTC)


rule_sets = st.fixed_dictionaries(
    {
        "timezone": st.sampled_from(TIMEZONES),
        "includes_tax": st.booleans(),
        "rounding": st.fixed_dictionaries(
            {
                "mode": st.sampled_from(["half_up", "half_even", "half_down"]),
                "level": st.sampled_from(["line", "unit", "document"]),
            }
        ),
        "tax": tax,
        "shipping": shipping,
        "promotions": st.lists(promotions, min_size=1, max_size=6).map(named),
        "coupons": coupons,
    }
).map(rules_from)

#: One that never applies, wherever it stands: no order has so many units.
idle_promotions = promotions.map(
    lambda data: Promotion.model_validate(
        {
            **data,
            "id": "idle",
            "name": "Idle",
            "group": None,
            "when": {**data["when"], "valid_until": None, "min_quantity": 10**9},
        }
    )
)

# --- Orders ---------------------------------------------------------------------------------------

#: Some products, some of them at two prices or in two lines.
cart_lines = st.lists(
    st.tuples(st.sampled_from(SKUS), minor_units, st.one_of(counts, st.integers(1, 60))),
    min_size=1,
    max_size=5,
).map(
    lambda drawn: tuple(
        CartLine(sku, quantity, unit_price, **PRODUCTS[sku]) for sku, unit_price, quantity in drawn
    )
)
codes = st.lists(st.sampled_from(["SAVE", "Save", "ten", "TEN"]), max_size=2).map(tuple)
carts = st.builds(
    Cart,
    currency=st.sampled_from(CURRENCIES),
    at=st.sampled_from(MOMENTS),
    source=st.sampled_from(["web", "stand"]),
    lines=cart_lines,
    country=st.sampled_from(COUNTRIES),
    region=st.sampled_from(WRITTEN_REGIONS),
    postal_code=st.sampled_from(POSTAL_CODES),
    customer_group=st.sampled_from([None, "trade", "vip"]),
    vat_id=st.sampled_from(VAT_IDS),
    first_order=st.booleans(),
    coupons=codes,
    shipping_method=st.sampled_from(["post", "courier", "bike", None] * 7 + ["pigeon"]),
    as_sold=seldom(False, True),
    shown=st.one_of(st.none(), minor_units),
    as_shown=st.booleans(),
)


def meet(cart: Cart, rules: Rules, *, knows_codes: bool) -> Scenario:
    known = {coupon.code for coupon in rules.coupons}
    given = tuple(c for c in cart.coupons if c.upper() in known or not knows_codes)
    return Scenario(replace(cart, coupons=given), rules)


#: Any order by any rules.
scenarios = st.builds(meet, carts, rule_sets, knows_codes=seldom(True, False))

# --- The catalogue --------------------------------------------------------------------------------

#: Prices of one SKU, no two alike in all that decides between them.
list_prices = st.lists(
    st.builds(
        ListPrice,
        amount=st.integers(0, 9),
        customer_group=st.sampled_from(["", "trade", "vip"]),
        from_quantity=counts,
        valid_from=st.sampled_from([None, *MOMENTS]),
        valid_until=st.sampled_from([None, *MOMENTS]),
    ),
    max_size=8,
    unique_by=lambda p: (
        p.customer_group, p.from_quantity, p.valid_from, bool(p.valid_from or p.valid_until)
    ),
)  # fmt: skip
