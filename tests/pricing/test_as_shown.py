"""What was shown is what is charged: the total that an order states, and the moment that it names."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from pipeline import operations
from pipeline.audit.audit import audit
from pipeline.decisions import read_decision
from pipeline.hold_reasons import hold_of
from pipeline.operations import requeue
from pipeline.pricing.explanation import explain
from pipeline.pricing.prices import ListPrice
from pipeline.source import Policy
from pipeline.storage import archive, catalogue, views
from pipeline.storage.catalogue import ProductIn
from tests.pricing.test_price_stage import (
    BY_POST,
    TEN_OFF,
    VAT,
    first_order_only,
    lines_of,
    quote_of,
)
from tests.support import MUG, TEE, Mill, an_order

MakeMill = Callable[..., Mill]
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def costs(shop: Mill, price: int, **special: Any) -> None:
    """Import a price for the mug."""
    prices = [("EUR", ListPrice(price, **special))]
    with shop.database.transaction() as tx:
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {}, special=prices)])


def ago(days: float) -> str:
    return (NOW - days * DAY).isoformat()


def as_if(shop: Mill, days: float) -> None:
    """As if everything that was recorded so far had been recorded so many days earlier."""
    with shop.database.transaction() as tx:
        for table, column in (
            ("prices", "recorded_at"), ("past_prices", "recorded_at"),
            ("past_prices", "replaced_at"), ("pricing_rules", "imported_at"),
        ):  # fmt: skip
            earlier = (
                f"strftime('%Y-%m-%d %H:%M:%f', {column}, '-{days * 86400} seconds') || '000'"
                if shop.database.is_sqlite
                else f"{column} - make_interval(secs => {days * 86400})"
            )
            tx.execute(text(f"UPDATE {table} SET {column} = {earlier}"))


def sent(shop: Mill, **changes: Any) -> int:
    order = shop.accept(**changes)
    shop.turn()
    return order


def held(shop: Mill, order: int) -> dict[str, Any]:
    """The detail of the event that held it."""
    (row,) = shop.query(
        "SELECT reason, detail FROM events WHERE order_id = :id AND kind IN ('held', 'rejected')",
        id=order,
    )
    return {"reason": row.reason, **json.loads(row.detail)}


def captured(shop: Mill) -> int:
    query = "SELECT count(*) FROM payment_operations"
    return int(shop.query(query)[0][0])


# --- The total ------------------------------------------------------------------------------------


def test_what_costs_as_much_as_was_shown_is_charged(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT}).stocked()

    order = sent(shop, total="23.80")

    assert (shop.status(order), quote_of(shop, order).total) == ("confirmed", 2380)


def test_what_would_cost_more_than_was_shown_is_not_charged_and_waits_with_both_figures(
    mill: MakeMill,
) -> None:
    shop = mill(rules={"tax": VAT}).stocked()

    order = sent(shop, total="23.79")

    assert shop.status(order) == "on_hold"
    assert held(shop, order) == {"reason": "total_differs", "total": "23.80", "shown": "23.79"}
    assert captured(shop) == 0


def test_a_requeue_alone_holds_it_again(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = sent(shop, total="19.99")

    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "total_differs")
    assert captured(shop) == 0


def test_a_policy_may_reject_what_would_cost_more(mill: MakeMill) -> None:
    shop = mill(policy=Policy(total_differs="reject")).stocked()

    order = sent(shop, total="19.99")

    assert shop.status(order) == "rejected"
    assert held(shop, order) == {"reason": "total_differs", "total": "20.00", "shown": "19.99"}


def test_what_costs_less_goes_on_at_the_lower_price_and_says_so(mill: MakeMill) -> None:
    shop = mill().stocked()

    order = sent(shop, total="25.00")

    assert (shop.status(order), quote_of(shop, order).total) == ("confirmed", 2000)
    (told,) = shop.query(
        "SELECT detail FROM events WHERE order_id = :id AND to_status = 'priced'", id=order
    )
    assert json.loads(told.detail) == {"total": "20.00", "shown": "25.00"}


@pytest.mark.parametrize("total", ["19.99", "20.01"])
@pytest.mark.parametrize("then", ["hold", "reject"])
def test_the_total_of_what_is_sold_already_is_met_exactly_or_it_waits(
    mill: MakeMill, total: str, then: str
) -> None:
    shop = mill(policy=Policy(price_policy="as_sold", total_differs=then)).stocked()
    lines = [{"sku": MUG, "quantity": 2, "unit_price": "10.00"}]

    exact = shop.send({**an_order(), "lines": lines, "total": "20.00"}).order_id or 0
    other = shop.send({**an_order(), "lines": lines, "total": total}).order_id or 0
    shop.turn()

    assert shop.status(exact) == "confirmed"
    assert (shop.status(other), shop.row(other).reason) == ("on_hold", "total_differs")


def decide(shop: Mill, order: int) -> None:
    """Decide that what was shown is charged, and let it go on."""
    with shop.database.transaction() as tx:
        found = operations.decide(tx, [order], read_decision({"charge": "shown"}), "ada")
    shop.engine.announce(found)
    shop.turn()


@pytest.mark.parametrize("includes_tax", [True, False])
@pytest.mark.parametrize("level", ["line", "unit", "document"])
@pytest.mark.parametrize("total", ["47.23", "30.00", "0.01", "0.00"])
def test_a_person_may_let_what_was_shown_be_charged_and_it_adds_up_to_the_cent(
    mill: MakeMill, includes_tax: bool, level: str, total: str
) -> None:
    rules = {"tax": VAT, "includes_tax": includes_tax, "rounding": {"level": level},
             "shipping": {**BY_POST, "default": "post"}}  # fmt: skip
    shop = mill(rules=rules).stocked()
    order = sent(shop, lines=[(MUG, 3), (TEE, 1)], total=total)
    assert shop.row(order).reason == "total_differs"

    decide(shop, order)

    quote, lines = quote_of(shop, order), lines_of(shop, order)
    shown = round(float(total) * 100)
    shipping = quote.shipping_net + quote.shipping_tax
    assert shop.status(order) == "confirmed"
    assert quote.total == quote.net + quote.tax == shown == sum(x[3] for x in lines) + shipping
    assert [row["step"] for row in explain(json.loads(quote.steps), "EUR")].count("shown") >= 1
    assert audit(shop.database, shop.gateways).is_clean


def test_what_is_charged_as_shown_may_still_be_over_its_source_s_limit(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1500})).stocked()
    order = sent(shop, total="19.99")

    decide(shop, order)

    assert shop.row(order).reason == "amount_over_limit"


def test_what_is_sold_already_is_charged_as_shown_if_that_is_less(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold")).stocked()
    lines = [{"sku": MUG, "quantity": 2, "unit_price": "10.00"}]
    order = shop.send({**an_order(), "lines": lines, "total": "19.99"}).order_id or 0
    shop.turn()

    decide(shop, order)

    assert (shop.status(order), quote_of(shop, order).total) == ("confirmed", 1999)


def test_of_what_is_sold_already_no_more_can_be_charged_than_is_known(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold")).stocked()
    lines = [{"sku": MUG, "quantity": 2, "unit_price": "10.00"}]
    order = shop.send({**an_order(), "lines": lines, "total": "24.90"}).order_id or 0
    shop.turn()
    with shop.database.snapshot() as tx:
        hold = hold_of(order, "total_differs", views.one(tx, order)["events"])

    assert hold["decisions"] == []
    assert "cancel" in hold["command"]
    decide(shop, order)
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "total_differs")
    assert captured(shop) == 0


# --- The moment -----------------------------------------------------------------------------------


def test_a_price_that_changes_after_an_order_came_in_does_not_change_it(mill: MakeMill) -> None:
    shop = mill().stocked()
    before = shop.accept()
    costs(shop, 9900)
    after = shop.accept()

    shop.turn()

    assert lines_of(shop, before) == [(MUG, 1000, 0, 2000)]
    assert lines_of(shop, after) == [(MUG, 9900, 0, 19800)]


def test_the_prices_on_record_when_it_was_placed_count(mill: MakeMill) -> None:
    shop = mill().stocked()
    as_if(shop, 5)
    costs(shop, 1100)
    as_if(shop, 5)  # 10.00 ten days ago, 11.00 five days ago, now 12.00
    costs(shop, 1200)

    orders = [sent(shop, placed_at=ago(days)) for days in (11, 9, 6, 4, 1)] + [sent(shop)]
    paid = [lines_of(shop, order)[0][1] for order in orders]

    assert paid == [1000, 1000, 1000, 1100, 1100, 1200]


def test_rules_go_by_the_moment_and_the_first_count_before_there_were_any(mill: MakeMill) -> None:
    shop = mill(rules={"tax": VAT}).stocked()
    as_if(shop, 5)
    shop.price_by({})
    as_if(shop, 5)
    shop.price_by({"promotions": [TEN_OFF]})

    orders = [sent(shop, placed_at=ago(days)) for days in (11, 9, 6, 4, 1)] + [sent(shop)]

    versions = [quote_of(shop, order).rules_version for order in orders]
    assert versions == [1, 1, 1, 2, 2, 3]


def test_rules_that_come_between_acceptance_and_pricing_are_too_late(mill: MakeMill) -> None:
    shop = mill(rules={"promotions": [TEN_OFF]}).stocked()
    order = shop.accept()
    shop.price_by({})

    shop.turn()

    assert (quote_of(shop, order).rules_version, quote_of(shop, order).total) == (1, 1800)


def test_a_coupon_that_was_good_when_the_order_was_placed_is_good(mill: MakeMill) -> None:
    coupon = {"code": "TEN", "promotions": ["ten"], "valid_until": ago(1)}
    shop = mill(rules={"promotions": [TEN_OFF], "coupons": [coupon]}).stocked()

    in_time, late = sent(shop, coupons=["TEN"], placed_at=ago(2)), sent(shop, coupons=["TEN"])

    assert quote_of(shop, in_time).total == 1800
    assert (shop.status(late), shop.row(late).reason) == ("rejected", "coupon_expired")


def test_an_earlier_order_counts_in_the_archive_by_when_it_was_placed_too(mill: MakeMill) -> None:
    shop = mill(rules=first_order_only()).stocked()
    kept = sent(shop, placed_at=ago(2))
    sent(shop, customer={"email": "bob@example.com"})  # the newest of all stays
    with shop.database.transaction() as tx:
        assert archive.move(tx, [kept]) == 1

    earlier, later = sent(shop, placed_at=ago(3)), sent(shop, placed_at=ago(1))

    assert [quote_of(shop, o).total for o in (earlier, later)] == [1800, 2000]


def test_what_is_archived_comes_back_with_its_moment_and_total(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = sent(shop, placed_at=ago(2), total="20.00")
    sent(shop)
    query = "SELECT placed_at, total_shown FROM order_documents WHERE order_id = :id"
    [before] = shop.query(query, id=order)

    with shop.database.transaction() as tx:
        archive.move(tx, [order])
        archive.restore(tx, [order], "ada")

    assert before.total_shown == 2000
    assert shop.query(query, id=order) == [before]


def test_a_first_order_is_the_first_that_was_placed(mill: MakeMill) -> None:
    shop = mill(rules=first_order_only()).stocked()

    second = sent(shop, placed_at=ago(2))
    first = sent(shop, placed_at=ago(3))
    third = sent(shop)

    assert [quote_of(shop, o).total for o in (second, first, third)] == [1800, 1800, 2000]
