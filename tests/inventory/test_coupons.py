"""Uses of coupons: counted with the stock or not at all, never beyond a limit, given back once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from pipeline.audit.audit import audit
from pipeline.errors import InvariantBroken
from pipeline.operations import cancel
from pipeline.order import customer_key
from pipeline.pricing.redemption import Purse, Use
from pipeline.source import Policy
from pipeline.storage import coupons
from tests.support import MUG, TEE, Mill

MakeMill = Callable[..., Mill]
ADA, BOB = {"email": "ada@example.com"}, {"email": "bob@example.com"}


def rules(**limits: int) -> dict[str, Any]:
    """Two coupons: TEN as limited by `limits`, and FIVE without a limit."""
    return {
        "promotions": [
            {"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}},
            {"id": "five", "name": "Five off", "effect": {"type": "percent", "percent": 5}},
        ],
        "coupons": [
            {"code": "TEN", "promotions": ["ten"], **limits},
            {"code": "FIVE", "promotions": ["five"]},
        ],
    }


def a_shop(mill: MakeMill, *, units: int = 100, backorder: bool = False, **limits: int) -> Mill:
    """A shop whose orders wait in front of `reserve` until the test lets it run."""
    return mill(policy=Policy(chain="reserve_first"), rules=rules(**limits), serves=[]).stocked(
        units=units, backorder=backorder
    )


def prepare(shop: Mill) -> None:
    """Take all orders up to the reserve stage."""
    shop.engine.work("validate")
    shop.engine.work("price")


def ends(shop: Mill, *orders: int) -> list[str | None]:
    """Where orders are, or why they are no more."""
    return [row.reason or row.status for row in map(shop.row, orders)]


def counts(shop: Mill) -> dict[tuple[str, str], int]:
    """Uses by (code, customer), of those that are any."""
    found = shop.query("SELECT code, customer, used FROM coupon_uses WHERE used > 0")
    return {(code, customer): used for code, customer, used in found}


def redemptions(shop: Mill) -> list[tuple[int, str]]:
    found = shop.query("SELECT order_id, code FROM coupon_redemptions ORDER BY 1, 2")
    return [tuple(row) for row in found]


def findings(shop: Mill) -> list[str]:
    return [finding.what for finding in audit(shop.database, shop.gateways).findings]


def key(customer: dict[str, str]) -> str:
    return customer_key("shop", customer) or ""


# --- Counting -------------------------------------------------------------------------------------


def test_a_use_counts_for_all_and_for_the_customer(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = shop.accept(customer=ADA, coupons=["ten"])

    prepare(shop)
    shop.engine.work("reserve")

    assert counts(shop) == {("TEN", ""): 1, ("TEN", key(ADA)): 1}
    assert redemptions(shop) == [(order, "TEN")]


def test_who_isn_t_known_counts_for_all_only(mill: MakeMill) -> None:
    shop = a_shop(mill)
    shop.accept(customer={}, coupons=["TEN"])

    prepare(shop)
    shop.engine.work("reserve")

    assert counts(shop) == {("TEN", ""): 1}


def test_a_coupon_that_lost_in_its_group_is_not_used(mill: MakeMill) -> None:
    shop = a_shop(mill)
    exclusive = rules()
    for promotion in exclusive["promotions"]:
        promotion["group"] = "one only"
    shop.price_by(exclusive)
    order = shop.accept(coupons=["TEN", "FIVE"])

    prepare(shop)
    shop.engine.work("reserve")

    assert redemptions(shop) == [(order, "TEN")]


def test_of_a_batch_the_first_by_id_win_and_the_others_are_rejected(mill: MakeMill) -> None:
    shop = a_shop(mill, limit=2)
    orders = [shop.accept(coupons=["TEN"]) for _ in range(4)]

    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, *orders) == ["reserved"] * 2 + ["coupon_exhausted"] * 2
    assert counts(shop)["TEN", ""] == 2


def test_a_customer_s_own_limit_is_kept_within_a_batch_too(mill: MakeMill) -> None:
    shop = a_shop(mill, limit_per_customer=1)
    orders = [shop.accept(customer=who, coupons=["TEN"]) for who in (ADA, BOB, ADA)]

    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, *orders) == ["reserved", "reserved", "coupon_exhausted"]


def test_an_order_that_loses_one_of_its_coupons_uses_none_and_holds_no_stock(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill, limit=1)
    winner = shop.accept(coupons=["TEN"])
    loser = shop.accept(coupons=["FIVE", "TEN"])

    prepare(shop)
    shop.engine.work("reserve")

    assert redemptions(shop) == [(winner, "TEN")]
    assert ends(shop, loser) == ["coupon_exhausted"]
    assert shop.query("SELECT order_id FROM reservations") == [(winner,)]


def test_an_order_that_lacks_stock_uses_no_coupon_and_leaves_it_to_the_next(mill: MakeMill) -> None:
    shop = a_shop(mill, units=5, limit=1)
    first = shop.accept(lines=[(TEE, 5)])
    short, next_one = (shop.accept(lines=[(sku, 1)], coupons=["TEN"]) for sku in (TEE, MUG))

    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, first, short, next_one) == ["reserved", "out_of_stock", "reserved"]
    assert redemptions(shop) == [(next_one, "TEN")]


def test_an_order_that_waits_for_stock_holds_no_use(mill: MakeMill) -> None:
    shop = a_shop(mill, units=0, backorder=True, limit=1)
    waits = shop.accept(lines=[(MUG, 1)], coupons=["TEN"])
    prepare(shop)
    shop.engine.work("reserve")
    assert (shop.status(waits), counts(shop)) == ("backordered", {})

    shop.receive(TEE, 1)
    buys = shop.accept(lines=[(TEE, 1)], coupons=["TEN"])
    prepare(shop)
    shop.engine.work("reserve")
    shop.receive(MUG, 1)
    shop.engine.work("reserve")

    assert ends(shop, buys, waits) == ["reserved", "coupon_exhausted"]


def test_money_already_taken_goes_back_to_who_loses_the_last_use(mill: MakeMill) -> None:
    shop = mill(rules=rules(limit=1), serves=[]).stocked()
    orders = [shop.accept(coupons=["TEN"]) for _ in range(2)]
    prepare(shop)

    shop.turn()

    assert ends(shop, *orders) == ["confirmed", "coupon_exhausted"]
    assert shop.status(orders[1]) == "cancelled"
    refunded = (
        "SELECT order_id FROM payment_operations WHERE kind = 'refund' AND state = 'succeeded'"
    )
    assert shop.query(refunded) == [(orders[1],)]


# --- Known by an id and by an e-mail --------------------------------------------------------------

BY_ID, BY_BOTH = {"id": "c-1"}, {"id": "c-1", **ADA}
BY_ANOTHER = {"id": "c-2", **ADA}


def test_a_use_counts_under_the_id_and_under_the_e_mail_and_is_given_back_under_both(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill, limit_per_customer=1)
    order = shop.accept(customer=BY_BOTH, coupons=["TEN"])
    prepare(shop)
    shop.turn()
    assert counts(shop) == {("TEN", who): 1 for who in ("", key(BY_ID), key(ADA))}

    with shop.database.transaction() as tx:
        cancel(tx, order, "ada")
    shop.turn()

    assert (shop.status(order), counts(shop), redemptions(shop)) == ("cancelled", {}, [])
    assert findings(shop) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(ADA, BY_BOTH), (BY_ID, BY_BOTH), (BY_BOTH, ADA), (BY_BOTH, BY_ID), (BY_BOTH, BY_ANOTHER)],
)
def test_who_is_known_by_both_has_used_it_if_either_has(
    mill: MakeMill, before: dict[str, str], after: dict[str, str]
) -> None:
    shop = a_shop(mill, limit_per_customer=1)
    first = shop.accept(customer=before, coupons=["TEN"])
    prepare(shop)
    shop.engine.work("reserve")

    second = shop.accept(customer=after, coupons=["TEN"])
    prepare(shop)

    assert ends(shop, first, second) == ["reserved", "coupon_exhausted"]
    assert findings(shop) == []


@pytest.mark.parametrize(
    ("uses", "allowed"),
    [
        ([BY_ID, ADA, BY_BOTH], 2),
        ([BY_ID, ADA, BY_ANOTHER], 3),  # another id: two uses of one e-mail, and one of its own
        ([BY_BOTH, BY_BOTH, BY_BOTH], 2),
        ([BY_BOTH, ADA, BY_BOTH], 2),
        ([BY_BOTH, BY_ID, BY_BOTH], 2),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["in a batch", "one by one"])
def test_a_use_under_the_id_and_one_under_the_e_mail_are_two_of_who_is_known_by_both(
    mill: MakeMill, uses: list[dict[str, str]], allowed: int, at_once: bool
) -> None:
    shop = a_shop(mill, limit_per_customer=2)
    orders = []
    for customer in uses:
        orders.append(shop.accept(customer=customer, coupons=["TEN"]))
        if not at_once:
            prepare(shop)
            shop.engine.work("reserve")
    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, *orders) == ["reserved"] * allowed + ["coupon_exhausted"] * (3 - allowed)
    assert findings(shop) == []


def test_in_a_batch_too_a_use_under_both_is_one(mill: MakeMill) -> None:
    shop = a_shop(mill, limit_per_customer=4)
    before = shop.accept(customer=BY_BOTH, coupons=["TEN"])
    prepare(shop)
    shop.engine.work("reserve")

    orders = [shop.accept(customer=BY_BOTH, coupons=["TEN"]) for _ in range(4)]
    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, before, *orders) == ["reserved"] * 4 + ["coupon_exhausted"]


def test_of_a_batch_one_e_mail_has_one_use_whatever_id_it_comes_with(mill: MakeMill) -> None:
    """A code that each may use once was used three times: by the e-mail, and with two ids."""
    shop = a_shop(mill, limit_per_customer=1)
    upper = {"email": "ADA@example.com"}
    orders = [shop.accept(customer=c, coupons=["TEN"]) for c in (ADA, upper, BY_BOTH, BY_ANOTHER)]
    other = shop.accept(customer={"id": "c-3", **BOB}, coupons=["TEN"])
    prepare(shop)

    shop.engine.work("reserve")

    assert ends(shop, *orders) == ["reserved", *["coupon_exhausted"] * 3]
    assert shop.status(other) == "reserved"
    assert findings(shop) == []


# --- Limits that change ---------------------------------------------------------------------------


def test_an_order_keeps_the_limit_it_was_priced_under(mill: MakeMill) -> None:
    shop = a_shop(mill, limit=1)
    old = [shop.accept(coupons=["TEN"]) for _ in range(2)]
    prepare(shop)
    shop.price_by(rules(limit=3))
    new = [shop.accept(coupons=["TEN"]) for _ in range(3)]
    prepare(shop)

    shop.engine.work("reserve")

    assert ends(shop, *old, *new) == [
        "reserved", "coupon_exhausted", "reserved", "reserved", "coupon_exhausted",
    ]  # fmt: skip


def test_uses_from_before_there_was_a_limit_count(mill: MakeMill) -> None:
    shop = a_shop(mill)
    for _ in range(2):
        shop.accept(coupons=["TEN"])
    prepare(shop)
    shop.engine.work("reserve")
    shop.price_by(rules(limit=3))

    later = [shop.accept(coupons=["TEN"]) for _ in range(2)]
    prepare(shop)
    shop.engine.work("reserve")

    assert ends(shop, *later) == ["reserved", "coupon_exhausted"]


# --- Giving back ----------------------------------------------------------------------------------


def test_an_order_that_is_undone_gives_back_exactly_its_own(mill: MakeMill) -> None:
    shop = mill(rules=rules(limit=2)).stocked()
    kept, undone = (shop.accept(customer=who, coupons=["TEN", "FIVE"]) for who in (ADA, BOB))
    shop.turn()

    with shop.database.transaction() as tx:
        cancel(tx, undone, "ada")
    shop.turn()

    assert shop.status(undone) == "cancelled"
    assert redemptions(shop) == [(kept, "FIVE"), (kept, "TEN")]
    assert counts(shop) == {(code, who): 1 for code in ("FIVE", "TEN") for who in ("", key(ADA))}


def test_what_was_given_back_another_may_use(mill: MakeMill) -> None:
    shop = mill(rules=rules(limit=1)).stocked()
    first = shop.accept(coupons=["TEN"])
    shop.turn()
    with shop.database.transaction() as tx:
        cancel(tx, first, "ada")
    shop.turn()

    second = shop.accept(coupons=["TEN"])
    shop.turn()

    assert shop.status(second) == "confirmed"


def test_giving_back_twice_is_once(mill: MakeMill) -> None:
    shop = mill(rules=rules()).stocked()
    mine, theirs = (shop.accept(coupons=["TEN"]) for _ in range(2))
    shop.turn()

    given_back = []
    for _ in range(2):
        with shop.database.transaction() as tx:
            given_back.append(coupons.give_back(tx, [mine]))

    assert given_back == [1, 0]
    assert redemptions(shop) == [(theirs, "TEN")]
    assert counts(shop)["TEN", ""] == 1


# --- The database's own guards --------------------------------------------------------------------


def redeem(shop: Mill, *uses: Use) -> None:
    with shop.database.transaction() as tx:
        coupons.lock_used(tx, sorted({key for use in uses for key, _ in use.counts}))
        coupons.redeem(tx, uses)


def test_more_than_the_limit_is_refused_by_the_update_itself(mill: MakeMill) -> None:
    shop = mill().stocked()
    orders = [shop.accept() for _ in range(3)]
    redeem(shop, *(Use(order, "default", "TEN", "", limit=2) for order in orders[:2]))

    with pytest.raises(InvariantBroken, match="TEN"):
        redeem(
            shop,
            Use(orders[2], "default", "FIVE", "", limit=2),
            Use(orders[2], "default", "TEN", "", limit=2),
        )

    assert counts(shop) == {("TEN", ""): 2}
    assert len(redemptions(shop)) == 2


FORBIDDEN = {
    "a use above the limit": "UPDATE coupon_uses SET used = most + 1",
    "less than no use": "UPDATE coupon_uses SET used = -1",
    "a coupon used twice by one order": "INSERT INTO coupon_redemptions SELECT * FROM coupon_redemptions",
    "a discount above the amount": "UPDATE order_lines SET discount = unit_price * quantity + 1",
    "a discount below nothing": "UPDATE order_lines SET discount = -1",
    "shipping discounted above its price": "UPDATE quotes SET shipping_discount = shipping_price + 1",
    "a price from no unit": "UPDATE prices SET from_quantity = 0",
    "a weight below nothing": "UPDATE products SET weight = -1",
}  # fmt: skip


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN)
def test_the_database_itself_refuses(mill: MakeMill, statement: str) -> None:
    shop = mill(rules=rules(limit=5)).stocked()
    shop.accept(coupons=["TEN"], customer={})
    shop.turn()

    with pytest.raises(IntegrityError), shop.database.transaction() as tx:
        tx.execute(text(statement))


# --- Deciding, purely -----------------------------------------------------------------------------

uses = st.builds(
    Use,
    st.integers(1, 99),
    st.just("default"),
    st.sampled_from(["A", "B"]),
    st.sampled_from(["", "ada", "bob"]),
    st.sampled_from([None, 1, 3, 5]),
    st.sampled_from([None, 1, 2]),
)


@given(wanted=st.lists(st.lists(uses, max_size=2, unique_by=lambda use: use.code), max_size=30))
def test_nobody_takes_a_use_that_a_limit_of_theirs_forbids(wanted: list[list[Use]]) -> None:
    purse = Purse({})
    taken: dict[tuple[str, str, str], int] = {}

    for its in wanted:
        if purse.spent(its) is None:
            purse.take(its)
            for use in its:
                for counted, limit in use.counts:
                    taken[counted] = taken.get(counted, 0) + 1
                    assert limit is None or taken[counted] <= limit
