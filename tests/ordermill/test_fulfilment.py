"""The commands of fulfilment: what is shipped, what comes back, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.assembly import assemble
from pipeline.chain import STEPS
from pipeline.settings import load_settings

Run = Callable[..., tuple[int, str]]
ORDER = {
    "external_id": "web-1", "currency": "EUR", "customer": {"email": "ada@example.com"},
    "ship_to": {"country": "DE"}, "lines": [{"sku": "MUG-01", "quantity": 3}],
    "payment": {"method": "pm_card_visa"},
}  # fmt: skip


class Nobody:
    def announce(self, step: str, dispatch_id: int) -> None: ...


@pytest.fixture
def shop(run: Run, tmp_path: Path) -> Run:
    """A home with ten mugs at 12.50, and a confirmed order of three of them that is not captured."""
    products, orders = tmp_path / "products.csv", tmp_path / "orders.jsonl"
    products.write_text("sku,name,currency,price\nMUG-01,Mug,EUR,12.50\n")
    orders.write_text(json.dumps(ORDER))
    assert run("products", "import", products)[0] == 0
    assert run("stock", "adjust", "MUG-01", "+10", "--reason", "found")[0] == 0
    assert run("sources", "set", "shop", "--set", "capture=later")[0] == 0
    assert run("import", orders, "--source", "shop")[0] == 0
    app = assemble(load_settings(), Nobody())
    while sum(app.engine.work(step) for step in STEPS):
        pass
    app.close()
    return run


def shown(shop: Run) -> dict[str, object]:
    told: dict[str, object] = json.loads(shop("orders", "show", 1, "--json")[1])
    return told


def test_an_order_is_shipped_in_parts_and_the_money_taken_with_the_first(shop: Run) -> None:
    first = shop("orders", "fulfil", 1, "--line", "1=2", "--tracking", "JD01", "--capture")
    second = shop("orders", "fulfil", 1, "--carrier", "DHL", "--reference", "P-2")

    assert first == (
        0, "Order 1: shipped 2 × MUG-01 from main.\nOrder 1: 37.50 EUR captured.\n"
    )  # fmt: skip
    assert second == (0, "Order 1: shipped 1 × MUG-01 from main.\n")
    assert (shown(shop)["fulfilment_status"], shown(shop)["payment_status"]) == (
        "fulfilled", "captured",
    )  # fmt: skip
    assert shop("audit")[0] == 0


def test_the_same_again_is_said_to_have_been_shipped_before(shop: Run) -> None:
    shop("orders", "fulfil", 1, "--line", "1=2", "--tracking", "JD01")

    again = shop("orders", "fulfil", 1, "--line", "1=2", "--tracking", "JD01")

    assert again == (0, "Order 1: JD01 was shipped before.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((1, "--line", "1=4"), "order 1: lines.1: got 4, expected 1 to 3 units, as are left to"),
        ((1, "--line", "1=1", "--line", "1=2"), "--line: expected each line once"),
        ((7,), "there is no order 7"),
        ((), "name one order by its id, or give --file"),
        ((1, "--location", "moon"), "lines: got all, expected units left to ship at moon"),
    ],
)
def test_what_can_not_be_shipped_is_wrong_use(
    shop: Run, arguments: tuple[object, ...], said: str
) -> None:
    code, printed = shop("orders", "fulfil", *arguments)

    assert (code, said in printed) == (2, True)


def test_a_file_of_shipments_has_its_figures_and_its_rejects(shop: Run, tmp_path: Path) -> None:
    file, rejects = tmp_path / "shipped.csv", tmp_path / "rejects.csv"
    file.write_text("id,lines,tracking\n1,1=2,JD01\n1,1=2,JD02\n")

    code, printed = shop("orders", "fulfil", "--file", file, "--rejects", rejects, "--json")

    assert code == 0
    assert json.loads(printed) == {
        "read": 2, "accepted": 1, "skipped": 0, "rejected": 1, "reasons": {"lines": 1},
    }  # fmt: skip
    assert "1 to 1 units, as are left to ship" in rejects.read_text()
    assert shop("orders", "fulfil", "--file", file, "--strict")[0] == 1


def test_units_come_back_into_stock_and_are_refunded(shop: Run) -> None:
    shop("orders", "fulfil", 1, "--capture")

    back = shop(
        "orders", "return", 1, "--line", "1=2", "--restock", "main", "--refund",
        "--reason", "too small",
    )  # fmt: skip

    assert back == (
        0, "Order 1: 2 units returned, put into stock at main.\nOrder 1: 25.00 EUR refunded.\n"
    )  # fmt: skip
    ledger = json.loads(shop("stock", "show", "MUG-01", "--ledger", "--json")[1])["ledger"]
    assert [(m["kind"], m["quantity"], m["balance"], m["reference"]) for m in ledger] == [
        ("adjustment", 10, 10, None), ("reservation", 0, 10, "order 1"),
        ("shipment", -3, 7, "order 1"), ("return", 2, 9, "order 1"),
    ]  # fmt: skip
    assert shop("audit")[0] == 0


def test_where_returned_units_go_has_to_be_said(shop: Run) -> None:
    shop("orders", "fulfil", 1)

    for where in ((), ("--restock", "main", "--no-restock")):
        code, printed = shop("orders", "return", 1, "--line", "1=1", *where)
        assert (code, "--restock LOCATION, or --no-restock" in printed) == (2, True)


def test_an_order_is_shown_with_what_left_what_came_back_and_what_was_cancelled(shop: Run) -> None:
    shop("orders", "fulfil", 1, "--line", "1=2", "--carrier", "DHL", "--tracking", "JD01")
    shop("orders", "return", 1, "--line", "1=1", "--no-restock", "--reference", "R-1")
    assert shop("orders", "cancel", 1)[0] == 0

    _, printed = shop("orders", "show", 1)

    for told in ("fulfilled", "Shipments", "JD01", "1=2 MUG-01 (main)", "Returns", "R-1",
                 "1=1 MUG-01", "Cancelled", "12.50"):  # fmt: skip
        assert told in printed


def test_orders_are_listed_by_what_was_shipped_of_them(shop: Run) -> None:
    shop("orders", "fulfil", 1, "--line", "1=2")

    told = [
        len(json.loads(shop("orders", "ls", "--fulfilment", status, "--json")[1]))
        for status in ("unfulfilled", "partial", "fulfilled")
    ]

    assert told == [0, 1, 0]
    assert shop("orders", "ls", "--fulfilment", "half")[0] == 2


def test_what_was_shipped_can_not_be_cancelled(shop: Run) -> None:
    shop("orders", "fulfil", 1)

    code, printed = shop("orders", "cancel", 1)

    assert code == 2
    assert (
        "order 1 is shipped and can't be cancelled; if its goods come back, `ordermill" in printed
    )
