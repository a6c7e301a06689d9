"""A shop is derived from its past orders: what was sold is there to be sold again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.intake.files.derive import derive_catalogue
from pipeline.intake.files.importer import import_orders
from pipeline.intake.files.levels import import_stock
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.products import import_products
from pipeline.source import Policy
from tests.intake.files.helpers import HEADER, csv_file, json_file, mapping, row, written
from tests.support import MUG, Mill, an_order

MakeMill = Callable[..., Mill]


def named() -> Mapping:
    return mapping(**{"[line]": '[line]\nname = {column = "Title"}'})


def test_products_have_the_usual_name_the_highest_price_and_stock_of_what_was_sold(
    tmp_path: Path,
) -> None:
    path = csv_file(
        tmp_path,
        row("1", price="10.00") + ",A  mug",
        row("2", sku="mug-01", price="12.00") + ",A mug",
        row("3", price="0") + ",damaged",  # refused: its units were not sold
        row("C4", sku="GONE") + ",A return",  # no order at all
        row("2", sku="TEE-01") + ",",  # apart from the rest of order 2, and part of it
        header=f"{HEADER},Title",
    )
    products, stock = tmp_path / "products.csv", tmp_path / "stock.csv"

    found = derive_catalogue([path], named(), products, stock)

    assert list(found) == ["MUG-01", "TEE-01"]
    assert [list(line.values()) for line in written(products)] == [
        ["MUG-01", "A mug", "true", "false", "EUR", "12.00"],
        ["TEE-01", "TEE-01", "true", "false", "EUR", "10.00"],
    ]
    assert [(line["sku"], line["quantity"]) for line in written(stock)] == [
        ("MUG-01", "4"), ("TEE-01", "2"),
    ]  # fmt: skip


def test_an_order_without_prices_gives_products_without_prices(tmp_path: Path) -> None:
    products, stock = tmp_path / "products.csv", tmp_path / "stock.csv"
    path = json_file(tmp_path, an_order(), [1], {"lines": [7, {"sku": "X", "quantity": "2"}]})

    derive_catalogue([path], None, products, stock)

    assert [list(line.values()) for line in written(products)] == [
        [MUG, MUG, "true", "false", "", ""]
    ]


def test_a_derived_shop_can_confirm_the_orders_it_was_derived_from(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=Policy(price_policy="as_sold"))
    products, stock = tmp_path / "products.csv", tmp_path / "stock.csv"
    path = csv_file(tmp_path, row("1", qty="3"), row("1", sku="TEE-01"), row("2"))

    derive_catalogue([path], mapping(), products, stock)
    import_products(shop.database, products)
    import_stock(shop.database, stock, "ada")
    import_orders(shop.intake, shop.source, path, mapping())
    shop.turn()

    assert shop.query("SELECT status, reason FROM orders") == [("confirmed", None)] * 2
    assert {tuple(level) for level in shop.query("SELECT on_hand, reserved FROM stock_levels")} == {
        (5, 5), (2, 2),
    }  # fmt: skip


def test_names_like_formulas_are_defused_and_come_back_as_they_were(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill()
    products, stock = tmp_path / "products.csv", tmp_path / "stock.csv"
    path = json_file(tmp_path, an_order(lines=[("=1+1", 2), ("@X", 1)]))

    derive_catalogue([path], None, products, stock)
    import_products(shop.database, products)
    import_stock(shop.database, stock, "ada")

    assert {line["sku"] for line in written(products)} == {"'=1+1", "'@X"}
    kept = shop.query("SELECT sku FROM stock_levels WHERE on_hand > 0 ORDER BY sku")
    assert [sku for (sku,) in kept] == ["=1+1", "@X"]
