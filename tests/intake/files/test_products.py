"""Importing products: one verdict a line, several lines for several currencies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from pipeline.intake.files.products import import_products
from pipeline.storage import catalogue
from pipeline.storage.database import Database
from tests.intake.files.helpers import csv_file, written
from tests.support import Mill

HEADER = "sku,name,active,backorder,currency,price"
MakeMill = Callable[..., Mill]


def products(shop: Mill) -> list[tuple[object, ...]]:
    found = shop.query("SELECT sku, name, active, backorder FROM products ORDER BY sku")
    return [(sku, name, bool(active), bool(backorder)) for sku, name, active, backorder in found]


def test_a_line_for_each_currency_makes_one_product(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    path = csv_file(
        tmp_path, "MUG,A mug,true,false,EUR,10.00", "MUG,A mug,true,false,JPY,1200",
        "TEE,A shirt,no,yes,,", header=HEADER,
    )  # fmt: skip

    tally = import_products(shop.database, path)

    assert (tally.read, tally.accepted, tally.rejected) == (3, 3, 0)
    assert products(shop) == [("MUG", "A mug", True, False), ("TEE", "A shirt", False, True)]
    with shop.database.snapshot() as tx:
        prices = catalogue.unit_prices(tx, [("MUG", "EUR"), ("MUG", "JPY"), ("TEE", "EUR")])
    assert prices == {("MUG", "EUR"): 1000, ("MUG", "JPY"): 1200}


def test_json_lines_have_the_same_fields(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    path = tmp_path / "products.jsonl"
    path.write_text(json.dumps({"sku": "MUG", "name": "A mug"}) + "\n{\n")

    tally = import_products(shop.database, path)

    assert (tally.accepted, tally.rejected) == (1, 1)
    assert products(shop) == [("MUG", "A mug", True, False)]


def test_importing_again_replaces(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    old = csv_file(tmp_path, "MUG,A mug,true,false,EUR,10.00", header=HEADER)
    import_products(shop.database, old)

    new = csv_file(tmp_path, "MUG,A big mug,false,false,EUR,11.00", header=HEADER)
    import_products(shop.database, new)

    assert products(shop) == [("MUG", "A big mug", False, False)]


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        (",A mug,true,false,EUR,10.00", "sku", "a value"),
        ("MUG,A mug,perhaps,false,EUR,10.00", "active", "Input should be a valid boolean"),
        ("MUG,A mug,true,false,EUR,-1", "price", "a decimal string such as 12.50"),
        ("MUG,A mug,true,false,EUR,1.999", "price", "has more decimal places than EUR (2)"),
        ("MUG,A mug,true,false,,10.00", "price", "a currency and a price, or neither"),
        ("MUG,A mug,true,false,XXX,10.00", "currency", "an ISO 4217 currency code"),
        ("MUG,A mug", "row", "2 columns, the header has 6"),
    ],
)
def test_a_line_that_is_wrong_is_rejected_by_its_field(
    sqlite_database: Database, tmp_path: Path, line: str, field: str, reason: str
) -> None:
    rejects = tmp_path / "rejects.csv"
    path = csv_file(tmp_path, line, "TEE,A shirt,true,false,EUR,1", header=HEADER)

    tally = import_products(sqlite_database, path, rejects)

    assert (tally.read, tally.accepted, tally.rejected) == (2, 1, 1)
    (found,) = written(rejects)
    assert (found["line"], found["field"]) == ("2", field)
    assert reason in found["reason"]


@pytest.mark.parametrize(
    ("header", "said"),
    [("sku", "has no column name"), ("sku,name,colour", "has colour"), ("sku,name,sku", "has sku")],
)
def test_a_header_with_other_columns_is_refused(
    sqlite_database: Database, tmp_path: Path, header: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        import_products(sqlite_database, csv_file(tmp_path, header=header))
