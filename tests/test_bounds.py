"""What can't be kept exactly is refused where it comes in, with the limit named, on both databases."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError

from ordermill.main import main
from pipeline.intake.accept import Verdict
from pipeline.money import MOST_AMOUNT
from pipeline.pricing.rules import Coupon
from pipeline.source import Policy
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ProductIn
from pipeline.storage.database import Database
from pipeline.storage.sql import ids, pack, rows
from pipeline.storage.tables import orders, quotes
from tests.support import MUG, TEE, Mill, an_order

AS_SOLD = Policy(price_policy="as_sold")
MOST = "99999999999999.99"


def line(quantity: int, price: str, sku: str = MUG) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "unit_price": price}


@pytest.fixture
def shop(mill: Any) -> Mill:
    made: Mill = mill(policy=AS_SOLD)
    return made.stocked()


def sent(shop: Mill, *lines: dict[str, Any], **changes: Any) -> Any:
    return shop.send({**an_order(**changes), "lines": list(lines)})


def test_a_line_that_costs_more_than_any_amount_may_is_refused(shop: Mill) -> None:
    receipt = sent(shop, line(1, "1.00"), line(92_234, "999999999999.99"))

    assert receipt.verdict is Verdict.REJECTED
    assert [str(p) for p in receipt.problems] == [
        f"lines.1: got 92234 × 999999999999.99, expected at most {MOST} EUR"
    ]
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_lines_that_together_cost_more_than_any_amount_may_are_refused(shop: Mill) -> None:
    receipt = sent(shop, line(60, "999999999999.99"), line(60, "999999999999.99", TEE))

    assert [str(p) for p in receipt.problems] == [
        f"lines: got 119999999999998.80 in all, expected at most {MOST} EUR"
    ]


@pytest.mark.parametrize(
    ("currency", "quantity", "price", "rest"),
    [
        ("EUR", 100, "999999999999.99", "0.99"),
        ("KWD", 10, "999999999999.999", "0.009"),
        ("JPY", 10_000, "999999999999", "9999"),
    ],
)
def test_the_largest_order_is_charged_to_the_minor_unit(
    shop: Mill, currency: str, quantity: int, price: str, rest: str
) -> None:
    shop.receive(MUG, quantity)
    before = sent(shop, line(2, "10.00", TEE)).order_id
    order = sent(shop, line(quantity, price), line(1, rest, TEE), currency=currency).order_id
    after = sent(shop, line(2, "10.00", TEE)).order_id

    shop.turn()

    assert [shop.status(n) for n in (before, order, after)] == ["confirmed"] * 3
    [(total,)] = shop.query("SELECT total FROM quotes WHERE order_id = :id", id=order)
    captured = [e.amount for e in shop.gateway.book() if e.kind == "capture"]
    assert (total, captured) == (MOST_AMOUNT, [2000, MOST_AMOUNT, 2000])


def test_an_agreed_order_that_its_tax_makes_too_dear_waits(mill: Any) -> None:
    zone = {"name": "all", "country": "*", "rates": {"standard": [{"name": "VAT", "rate": "0.2"}]}}
    shop: Mill = mill(policy=AS_SOLD, rules={"tax": {"zones": [zone]}}).stocked()
    order = sent(shop, line(90, "999999999999.99")).order_id

    shop.turn()

    row = shop.row(order)
    assert (row.status, row.reason) == ("on_hold", "amount_too_large")


def test_an_order_too_dear_by_the_catalogue_is_rejected_with_the_limit(mill: Any) -> None:
    shop: Mill = mill().stocked()
    with shop.database.transaction() as tx:
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {"EUR": 99_999_999_999_999})])
    shop.receive(MUG, 1_000_000)
    others = [shop.accept(lines=[(TEE, 1)])]
    order = shop.accept(lines=[(MUG, 1_000_000)])
    others.append(shop.accept(lines=[(TEE, 1)]))

    shop.turn()

    assert (shop.row(order).status, shop.row(order).reason) == ("rejected", "amount_too_large")
    [(detail,)] = shop.query(
        "SELECT detail FROM events WHERE order_id = :id AND kind = 'rejected'", id=order
    )
    assert json.loads(detail)["most"] == MOST
    assert [shop.status(n) for n in others] == ["confirmed"] * 2


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**20])
def test_a_number_that_64_bits_cant_hold_is_never_written_as_another(
    database: Database, number: int
) -> None:
    given = rows(*quotes.c)
    columns = list(quotes.c.keys())
    row = [
        {"order_id": 1, "total": number, "net": number, "includes_tax": False}.get(name, 0)
        for name in columns
    ]

    with pytest.raises(DBAPIError), database.transaction() as tx:
        tx.execute(insert(quotes).from_select(columns, select(*given.c)), {"rows": pack([row])})


def test_an_id_that_64_bits_cant_hold_is_no_other_orders(shop: Mill) -> None:
    sent(shop, line(1, "1.00"))

    with pytest.raises(DBAPIError), shop.database.snapshot() as tx:
        tx.execute(select(orders.c.id).where(orders.c.id.in_(ids())), {"ids": pack([10**20])}).all()


@pytest.mark.parametrize("command", ["show", "cancel", "refund", "requeue", "capture"])
def test_an_id_larger_than_any_is_refused_by_the_command_line(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["ordermill", "orders", command, "9223372036854775808"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "9223372036854775807" in capsys.readouterr().err


def test_a_coupon_may_not_be_limited_to_more_uses_than_can_be_counted() -> None:
    limits = {"code": "TEN", "promotions": ["p"], "limit": 10**12 + 1}

    with pytest.raises(ValidationError, match=r"at most 1,000,000,000,000"):
        Coupon.model_validate(limits)
