"""The price stage: the facts it looks up, the rules it prices by, what it writes, whom it turns away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from pipeline.operations import cancel, requeue
from pipeline.pricing.explanation import explain
from pipeline.pricing.prices import ListPrice
from pipeline.source import Policy
from pipeline.storage import archive, catalogue, quotes, sources, views
from pipeline.storage.catalogue import ProductIn
from pipeline.storage.database import Database
from tests.support import MUG, POSTER, TEE, Mill, an_order

MakeMill = Callable[..., Mill]
NOW = datetime.now(UTC)

VAT = {"zones": [{"name": "DE", "country": "DE", "rates": {
    "standard": [{"name": "VAT", "rate": "0.19"}], "books": [{"name": "VAT", "rate": "0.07"}],
}}]}  # fmt: skip
TEN_OFF = {"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}
BY_POST = {
    "default": "post",
    "methods": {"post": {"name": "By post", "rates": [
        {"up_to_weight": 1000, "price": {"EUR": "4.90"}}, {"price": {"EUR": "9.90"}},
    ]}},
}  # fmt: skip


def with_coupon(**limits: int) -> dict[str, Any]:
    """Rules with a promotion that the coupon TEN lets apply."""
    return {"promotions": [TEN_OFF], "coupons": [{"code": "TEN", "promotions": ["ten"], **limits}]}


def first_order_only() -> dict[str, Any]:
    return {"promotions": [{**TEN_OFF, "when": {"first_order": True}}]}


def priced(shop: Mill, **changes: Any) -> Any:
    """Send an order and price it; its row of `quotes`."""
    order = shop.accept(**changes)
    shop.turn()
    return quote_of(shop, order)


def quote_of(shop: Mill, order: int) -> Any:
    (row,) = shop.query("SELECT * FROM quotes WHERE order_id = :id", id=order)
    return row


def lines_of(shop: Mill, order: int) -> list[tuple[Any, ...]]:
    """(sku, unit price, discount, gross) of each line."""
    return [
        tuple(row)
        for row in shop.query(
            "SELECT sku, unit_price, discount, gross FROM order_lines WHERE order_id = :id"
            " ORDER BY line_no",
            id=order,
        )
    ]


def outcome(shop: Mill, **changes: Any) -> tuple[str, str | None]:
    """What becomes of an order: its status and reason."""
    row = shop.row(turned(shop, **changes))
    return row.status, row.reason


def turned(shop: Mill, **changes: Any) -> int:
    order = shop.accept(**changes)
    shop.turn()
    return order


def put(shop: Mill, *products: ProductIn) -> None:
    with shop.database.transaction() as tx:
        catalogue.put(tx, products)


# --- By which rules -------------------------------------------------------------------------------


def test_without_any_rules_there_is_no_tax_and_no_shipping(mill: MakeMill) -> None:
    quote = priced(mill().stocked())

    assert (quote.net, quote.tax, quote.total, quote.shipping_method) == (2000, 0, 2000, None)
    assert (quote.rules, quote.rules_version) == ("default", None)


def test_the_newest_version_of_the_source_s_rules_counts_and_is_named(mill: MakeMill) -> None:
    shop = mill(policy=Policy(rules="web")).stocked()
    shop.price_by({"tax": VAT})
    first = turned(shop)
    shop.price_by({"includes_tax": True, "tax": VAT})
    second = turned(shop)

    old, new = quote_of(shop, first), quote_of(shop, second)
    assert (old.rules, old.rules_version, old.total) == ("web", 1, 2380)
    assert (new.rules, new.rules_version, new.total) == ("web", 2, 2000)


def test_the_same_rules_again_are_no_new_version(mill: MakeMill) -> None:
    shop = mill()

    versions = [
        shop.price_by({"tax": VAT}),
        shop.price_by({"tax": dict(VAT)}),
        shop.price_by({"promotions": [TEN_OFF]}),
        shop.price_by({"tax": VAT}),
    ]

    assert versions == [1, 1, 2, 3]


def test_sources_of_one_batch_are_priced_each_by_its_own_rules(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT}).stocked()
    other = shop.another_source("plain", Policy(rules="none"))

    taxed = shop.accept()
    receipt = shop.intake.accept(other, an_order())
    shop.turn()

    assert quote_of(shop, taxed).total == 2380
    assert quote_of(shop, receipt.order_id).total == 2000


def test_compiled_rules_are_kept_by_their_content_not_by_name_and_version(mill: MakeMill) -> None:
    """Two databases in one process may call different rules the same."""
    one = mill(rules={"tax": VAT}).stocked()
    assert priced(one).total == 2380

    with one.database.transaction() as tx:
        tx.execute(text("DELETE FROM pricing_rules"))
    one.price_by({"tax": VAT, "includes_tax": True})

    assert priced(one).total == 2000


# --- What is written ------------------------------------------------------------------------------


def test_discount_shipping_and_tax_are_written_and_explained(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT, "shipping": BY_POST, **with_coupon()}).stocked()

    order = turned(shop, lines=[(MUG, 2), (POSTER, 1)], coupons=["ten"])

    quote = quote_of(shop, order)
    assert lines_of(shop, order) == [(MUG, 1000, 200, 2142), (POSTER, 500, 50, 536)]
    assert (quote.shipping_method, quote.shipping_price, quote.shipping_discount) == (
        "post",
        490,
        0,
    )
    assert (quote.shipping_net, quote.shipping_tax) == (490, 93)
    assert (quote.net, quote.tax, quote.total) == (2740, 521, 3261)
    assert json.loads(quote.coupons) == ["TEN"]
    steps = json.loads(quote.steps)
    assert [step["step"] for step in steps] == [
        "price", "price", "promotion", "shipping", "tax", "tax", "tax",
    ]  # fmt: skip
    assert (steps[2]["id"], steps[2]["coupon"]) == ("ten", "TEN")


def test_what_is_written_is_read_back(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT, "shipping": BY_POST, **with_coupon()}).stocked()
    with_shipping = turned(shop, coupons=["TEN"])

    with shop.database.snapshot() as tx:
        quote = quotes.read(tx, [with_shipping])[with_shipping]

    assert quote.shipping is not None
    assert (quote.shipping.price, quote.shipping.gross) == (490, 583)
    assert [(line.discount, line.tax_rate) for line in quote.lines] == [(200, "0.19")]
    assert quote.coupons == ("TEN",)
    assert quote.total == sum(line.gross for line in quote.lines) + quote.shipping.gross


def test_whoever_looks_at_the_order_sees_how_its_price_came_about(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT, "shipping": BY_POST, **with_coupon()}).stocked()
    order = turned(shop, coupons=["TEN"])

    with shop.database.snapshot() as tx:
        seen = views.one(tx, order)

    rows = explain(seen["quote"]["steps"], "EUR")
    assert [(row["step"], row["where"], row["amount"]) for row in rows] == [
        ("price", "line 1", "20.00"),
        ("promotion", "line 1", "-2.00"),
        ("shipping", "shipping", "4.90"),
        ("tax", "line 1", "3.42"),
        ("tax", "shipping", "0.93"),
    ]
    assert rows[0]["what"] == "2 × MUG-01 at 10.00 (catalogue)"
    assert rows[1]["what"] == "Ten off (ten, coupon TEN)"
    assert rows[3]["what"] == "standard in DE: VAT 19 % of 18.00"
    assert seen["quote"]["coupons"] == ["TEN"]


def test_who_is_exempt_sees_the_tax_that_was_taken_off(mill: MakeMill) -> None:
    shop = mill(
        rules={"includes_tax": True, "tax": {**VAT, "exempt_groups": ["embassy"]}}
    ).stocked()
    order = turned(shop, customer={"group": "embassy"})

    steps = json.loads(quote_of(shop, order).steps)

    assert [(row["where"], row["what"], row["amount"]) for row in explain(steps, "EUR")[1:]] == [
        ("", "no tax: customer_group", None),
        ("line 1", "the tax that the price included", "-3.19"),
        ("line 1", "no tax: the customer's group is exempt (E)", None),
    ]


def test_the_customer_is_told_of_shipping_and_discount(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT, "shipping": BY_POST, **with_coupon()}).stocked()

    turned(shop, coupons=["TEN"])

    (told,) = shop.inbox.received
    assert told.payload["lines"] == [
        {"sku": MUG, "quantity": 2, "discount": "2.00", "net": "18.00", "gross": "21.42"}
    ]
    assert told.payload["shipping"] == {
        "method": "post", "discount": "0.00", "net": "4.90", "gross": "5.83",
    }  # fmt: skip
    assert told.payload["totals"] == {
        "net": "22.90", "tax": "4.35", "shipping": "5.83", "discount": "2.00", "gross": "27.25",
    }  # fmt: skip


def test_lines_are_numbered_as_the_order_has_them_and_one_sku_is_one_line(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = turned(shop, lines=[(TEE, 1), (MUG, 1), (TEE, 2)])

    assert [line[0] for line in lines_of(shop, order)] == [TEE, MUG]


# --- Prices ---------------------------------------------------------------------------------------


def test_the_catalogue_s_price_is_that_for_group_quantity_and_time(mill: MakeMill) -> None:
    shop = mill().stocked()
    yesterday, tomorrow = NOW - timedelta(days=1), NOW + timedelta(days=1)
    put(
        shop,
        ProductIn(
            MUG, "Mug", True, False, {"EUR": 1000},
            special=[
                ("EUR", ListPrice(950, from_quantity=10)),
                ("EUR", ListPrice(900, "trade")),
                ("EUR", ListPrice(700, valid_from=tomorrow)),
                ("EUR", ListPrice(650, valid_from=yesterday - timedelta(days=1), valid_until=yesterday)),
            ],
        ),
        ProductIn(
            TEE, "Tee", True, False, {"EUR": 2000},
            special=[("EUR", ListPrice(1500, valid_from=yesterday, valid_until=tomorrow))],
        ),
    )  # fmt: skip

    plain = turned(shop, lines=[(MUG, 1), (TEE, 1)])
    many = turned(shop, lines=[(MUG, 10)])
    trade = turned(shop, customer={"group": "trade"})

    assert [line[:2] for line in lines_of(shop, plain)] == [(MUG, 1000), (TEE, 1500)]
    assert [line[:2] for line in lines_of(shop, many)] == [(MUG, 950)]
    assert [line[:2] for line in lines_of(shop, trade)] == [(MUG, 900)]
    origins = [json.loads(quote_of(shop, order).steps)[0]["origin"] for order in (many, trade)]
    assert origins == ["catalogue from 10", "group trade"]


def test_the_moment_is_when_the_order_was_accepted_not_when_it_is_priced(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept()
    ended = NOW - timedelta(days=30)
    sale = ListPrice(500, valid_from=ended - timedelta(days=30), valid_until=ended)
    put(shop, ProductIn(MUG, "Mug", True, False, {"EUR": 1000}, special=[("EUR", sale)]))
    with shop.database.transaction() as tx:
        moment = str(ended - timedelta(days=1)).removesuffix("+00:00")
        if not shop.database.is_sqlite:
            moment += "+00:00"
        tx.execute(text("UPDATE orders SET accepted_at = :moment"), {"moment": moment})

    shop.turn()

    assert lines_of(shop, order) == [(MUG, 500, 0, 1000)]


def test_a_product_without_a_price_in_the_currency_rejects_the_order(mill: MakeMill) -> None:
    assert outcome(mill().stocked(), currency="USD") == ("rejected", "no_price")


def test_prices_as_sold_count_where_they_are_stated_and_the_catalogue_s_elsewhere(
    mill: MakeMill,
) -> None:
    policy = Policy(price_policy="as_sold", missing_price="catalogue")
    shop = mill(policy=policy, rules={"promotions": [TEN_OFF]}).stocked()
    lines = [{"sku": MUG, "quantity": 1, "unit_price": "7.77"}, {"sku": TEE, "quantity": 1}]

    order = shop.send(an_order() | {"lines": lines}).order_id
    shop.turn()

    assert lines_of(shop, order or 0) == [(MUG, 777, 0, 777), (TEE, 2000, 0, 2000)]


def test_category_tax_class_and_weight_are_the_product_s(mill: MakeMill) -> None:
    in_season = {**TEN_OFF, "lines": {"categories": ["season"]}}
    shop = mill(rules={"tax": VAT, "shipping": BY_POST, "promotions": [in_season]}).stocked()
    put(
        shop,
        ProductIn(MUG, "Mug", True, False, {}, categories=frozenset({"season", "mugs"})),
        ProductIn(POSTER, "Poster", True, False, {}, tax_class="books", weight=1001),
    )

    order = turned(shop, lines=[(MUG, 1), (POSTER, 1)])

    assert lines_of(shop, order) == [(MUG, 1000, 100, 1071), (POSTER, 500, 0, 535)]
    assert quote_of(shop, order).shipping_price == 990


# --- Turned away ----------------------------------------------------------------------------------


def test_no_tax_rate_holds_the_order_until_there_is_one(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT}).stocked()
    order = turned(shop, ship_to={"country": "FR"})
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "no_tax_rate")

    shop.price_by({"tax": {"zones": [{**VAT["zones"][0], "name": "world", "country": "*"}]}})
    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert (shop.status(order), quote_of(shop, order).rules_version) == ("confirmed", 2)


def test_a_total_over_the_limit_holds_the_order_and_counts_tax_and_shipping(mill: MakeMill) -> None:
    policy = Policy(hold_over={"EUR": 2962})
    shop = mill(policy=policy, rules={"tax": VAT, "shipping": BY_POST}).stocked()

    order = turned(shop)
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "amount_over_limit")
    assert shop.query("SELECT count(*) FROM quotes") == [(0,)]
    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert (shop.status(order), quote_of(shop, order).total) == ("confirmed", 2963)


def test_who_requeues_for_another_reason_has_not_let_the_total_pass(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 100}), rules={"tax": VAT}).stocked()
    order = turned(shop, ship_to={"country": "FR"})
    assert shop.row(order).reason == "no_tax_rate"

    shop.price_by({})
    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "amount_over_limit")


def test_a_stated_price_that_its_source_no_longer_sells_at_holds_the_order(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold")).stocked()
    lines = [{"sku": MUG, "quantity": 1, "unit_price": "7.77"}]
    order = shop.send(an_order() | {"lines": lines}).order_id or 0
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy())
    shop.turn()
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "price_not_agreed")

    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy(price_policy="as_sold"))
        requeue(tx, [order], "ada")
    shop.turn()

    assert lines_of(shop, order) == [(MUG, 777, 0, 777)]


def test_a_used_up_coupon_holds_what_is_sold_already(mill: MakeMill) -> None:
    shop = mill(rules=with_coupon(limit=1)).stocked()
    turned(shop, coupons=["TEN"])
    as_sold = Policy(price_policy="as_sold", missing_price="catalogue")
    market = shop.another_source("market", as_sold)

    order = shop.intake.accept(market, an_order(coupons=["TEN"])).order_id or 0
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "coupon_exhausted")


@pytest.mark.parametrize(
    ("rules", "order", "reason"),
    [
        (with_coupon(), {"coupons": ["ELEVEN"]}, "coupon_unknown"),
        (
            {**with_coupon(), "promotions": [{**TEN_OFF, "lines": {"skus": ["TEE-01"]}}]},
            {"coupons": ["TEN"]},
            "coupon_not_applicable",
        ),
        (with_coupon(limit_per_customer=1), {"coupons": ["TEN"], "customer": {}}, "coupon_not_applicable"),
        ({"shipping": BY_POST}, {"shipping_method": "pigeon"}, "no_shipping_method"),
    ],
)  # fmt: skip
def test_what_can_t_be_priced_as_asked_is_rejected(
    mill: MakeMill, rules: dict[str, Any], order: dict[str, Any], reason: str
) -> None:
    assert outcome(mill(rules=rules).stocked(), **order) == ("rejected", reason)


def test_a_coupon_that_is_used_up_is_seen_before_anyone_pays(mill: MakeMill) -> None:
    shop = mill(rules=with_coupon(limit=1)).stocked()
    turned(shop, coupons=["TEN"])

    late = turned(shop, coupons=["ten"])

    assert (shop.status(late), shop.row(late).reason) == ("rejected", "coupon_exhausted")
    assert shop.timeline(late) == ["received", "advanced", "rejected"]


# --- First orders ---------------------------------------------------------------------------------


def test_only_the_first_order_of_a_customer_is_a_first_order(mill: MakeMill) -> None:
    shop = mill(rules=first_order_only()).stocked()

    first, second = shop.accept(), shop.accept(customer={"email": "ADA@example.com"})
    stranger = shop.accept(customer={"email": "bob@example.com"})
    shop.turn()

    assert [quote_of(shop, o).total for o in (first, second, stranger)] == [1800, 2000, 1800]


@pytest.mark.parametrize("method", ["pm_card_declined", "pm_card_visa"])
def test_an_order_that_did_not_stand_was_none(mill: MakeMill, method: str) -> None:
    shop = mill(rules=first_order_only()).stocked()
    first = turned(shop, method=method)
    with shop.database.transaction() as tx:
        if method == "pm_card_visa":
            cancel(tx, first, "ada")
    shop.turn()
    assert shop.status(first) in ("rejected", "cancelled")

    assert priced(shop).total == 1800


def test_who_isn_t_known_has_no_first_order(mill: MakeMill) -> None:
    shop = mill(rules=first_order_only()).stocked()

    assert priced(shop, customer={"name": "Ada"}).total == 2000


def test_an_id_names_a_customer_within_its_source_only(mill: MakeMill) -> None:
    shop = mill(rules=first_order_only()).stocked()
    market = shop.another_source("market", Policy())
    turned(shop, customer={"id": "17", "email": "ada@example.com"})

    again = turned(shop, customer={"id": "17", "email": "ada@work.example"})
    theirs = shop.intake.accept(market, an_order() | {"customer": {"id": "17"}}).order_id
    shop.turn()

    assert [quote_of(shop, o).total for o in (again, theirs)] == [2000, 1800]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"email": "ada@example.com"}, {"id": "17", "email": "ada@example.com"}),
        ({"id": "17", "email": "ada@example.com"}, {"email": "ada@example.com"}),
        ({"id": "17", "email": "ada@example.com"}, {"id": "18", "email": "ADA@example.com"}),
        ({"id": "17"}, {"id": "17", "email": "ada@example.com"}),
    ],
)
@pytest.mark.parametrize("archived", [False, True], ids=["live", "archived"])
def test_who_is_known_by_an_id_and_an_e_mail_has_ordered_if_either_has(
    mill: MakeMill, before: dict[str, str], after: dict[str, str], archived: bool
) -> None:
    shop = mill(rules=first_order_only()).stocked()
    first = turned(shop, customer=before)
    turned(shop, customer={"email": "bob@example.com"})
    if archived:
        with shop.database.transaction() as tx:
            archive.move(tx, [first])

    assert priced(shop, customer=after).total == 2000


# --- In sets --------------------------------------------------------------------------------------


@contextmanager
def statements_counted(database: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def keep(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", keep)
    yield seen
    event.remove(database.engine, "before_cursor_execute", keep)


def test_a_batch_takes_as_many_statements_as_one_order(mill: MakeMill) -> None:
    first_with_coupon = {**with_coupon(limit=100), **first_order_only(), "tax": VAT}
    shop = mill(rules=first_with_coupon, serves=[]).stocked()
    counts = []

    for size in (1, 1, 40):  # the first of all compiles the rules
        for n in range(size):
            customer = {"email": f"{len(counts)}-{n}@example.com"}
            shop.accept(lines=[(MUG, 1), (TEE, n + 1)], customer=customer, coupons=["TEN"])
        shop.engine.work("validate")
        with statements_counted(shop.database) as seen:
            assert shop.engine.work("price") == size
        counts.append(len(seen))

    assert counts[1] == counts[2]
    assert shop.query("SELECT count(*) FROM quotes") == [(42,)]


def test_what_no_rule_and_no_order_asks_for_is_not_looked_up(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT}, serves=[]).stocked()
    shop.accept()
    shop.engine.work("validate")

    with statements_counted(shop.database) as seen:
        shop.engine.work("price")

    asked = " ".join(seen)
    assert "coupon_uses" not in asked
    assert "order_documents.customer" not in asked
