"""Importing products: one verdict a line, several lines for several currencies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from pipeline.errors import InvalidInput
from pipeline.intake.files.products import import_products
from pipeline.pricing.prices import ListPrice
from pipeline.storage import catalogue, clock
from pipeline.storage.catalogue import ProductIn
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
        items = [("MUG", "EUR"), ("MUG", "JPY"), ("TEE", "EUR")]
        prices = catalogue.price_book(tx, [(*item, clock.read(tx)) for item in items]).now
    assert prices == {("MUG", "EUR"): [ListPrice(1000)], ("MUG", "JPY"): [ListPrice(1200)]}


def goods(shop: Mill, sku: str) -> tuple[list[str], str, int]:
    with shop.database.snapshot() as tx:
        found = catalogue.goods(tx, [sku])[sku]
    return sorted(found.categories), found.tax_class, found.weight


def prices(shop: Mill, sku: str) -> list[ListPrice]:
    with shop.database.snapshot() as tx:
        found = catalogue.price_book(tx, [(sku, "EUR", clock.read(tx))]).now[sku, "EUR"]
    return sorted(found, key=lambda price: -price.amount)


WIDE = "sku,name,categories,tax_class,weight,currency,price,customer_group,from_quantity,valid_from,valid_until"


def test_what_pricing_wants_to_know_is_imported(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    path = csv_file(
        tmp_path,
        "MUG,Mug,mugs | gifts,reduced,350,EUR,10.00,,,,",
        "MUG,Mug,,,,EUR,9.00,trade,10,,",
        "MUG,Mug,,,,EUR,8.00,,,2026-11-27,2026-12-01T12:00:00+01:00",
        header=WIDE,
    )

    assert import_products(shop.database, path).accepted == 3

    assert goods(shop, "MUG") == (["gifts", "mugs"], "reduced", 350)
    sale = ListPrice(
        800,
        valid_from=datetime(2026, 11, 27, tzinfo=UTC),
        valid_until=datetime(2026, 12, 1, 11, tzinfo=UTC),
    )
    assert prices(shop, "MUG") == [ListPrice(1000), ListPrice(900, "trade", 10), sale]


def test_a_price_without_an_end_in_sight_is_read_wherever_the_server_stands(
    postgres_url: str, postgres_database: Database, tmp_path: Path
) -> None:
    there = Database(f"{postgres_url}{'&' if '?' in postgres_url else '?'}options=-cTimeZone%3DAsia/Tokyo")  # fmt: skip
    line = "MUG,Mug,,,,EUR,8.00,,,2026-11-27,9999-12-31T23:59:59"

    import_products(there, csv_file(tmp_path, line, header=WIDE))

    with there.snapshot() as tx:
        (price,) = catalogue.price_book(tx, [("MUG", "EUR", clock.read(tx))]).now["MUG", "EUR"]
    there.close()
    assert price.valid_until == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_price_replaces_its_like_and_no_other(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    lines = [
        "MUG,Mug,,,,EUR,10.00,,,,",
        "MUG,Mug,,,,EUR,9.00,trade,,,",
        "MUG,Mug,,,,EUR,5.00,,,2026-01-01,",
    ]
    import_products(shop.database, csv_file(tmp_path, *lines, header=WIDE))

    changed = [line.replace("9.00", "8.50") for line in lines]
    import_products(shop.database, csv_file(tmp_path, *changed, header=WIDE))

    assert [price.amount for price in prices(shop, "MUG")] == [1000, 850, 500]


def test_a_file_that_does_not_tell_leaves_categories_class_and_weight(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill()
    told = csv_file(tmp_path, "MUG,Mug,mugs,reduced,350,,,,,,", header=WIDE)
    import_products(shop.database, told)

    untold = csv_file(tmp_path, "MUG,Mug,true,false,EUR,10.00", header=HEADER)
    import_products(shop.database, untold)

    assert goods(shop, "MUG") == (["mugs"], "reduced", 350)


def test_json_lines_may_have_categories_as_a_list_or_with_bars(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill()
    path = tmp_path / "products.jsonl"
    lines = [
        {"sku": sku, "name": sku, "categories": categories}
        for sku, categories in (("A", ["x", "y"]), ("B", "x|y"), ("C", []))
    ]
    path.write_text("\n".join(map(json.dumps, lines)))

    assert import_products(shop.database, path).accepted == 3

    assert [goods(shop, sku)[0] for sku in "ABC"] == [["x", "y"], ["x", "y"], []]


@pytest.mark.parametrize(
    ("line", "field", "reason"),
    [
        ("MUG,Mug,,,-1,,,,,,", "weight", "greater than or equal to 0"),
        ("MUG,Mug,,,,,,trade,,,", "customer_group", "a price that it is about"),
        ("MUG,Mug,,,,EUR,1,,0,,", "from_quantity", "greater than or equal to 1"),
        ("MUG,Mug,,,,EUR,1,,,soon,", "valid_from", "valid datetime"),
        ("MUG,Mug,,,,EUR,1,,,20261123,", "valid_from", "a date or a date and time"),
        ("MUG,Mug,,,,EUR,1,,,1970-01-01,", "valid_from", "a time later than 1970-01-01"),
        ("MUG,Mug,,,,EUR,1,,,2026-12-01,9999-12-31T23:59:59-01:00", "valid_until", "9999, in UTC"),
        ("MUG,Mug,,,,EUR,1,,,0001-01-01T00:00:00+01:00,", "valid_from", "years 1 to 9999, in UTC"),
        ("MUG,Mug,,,,EUR,1,,,,2026-12-01", "valid_until", "a time after valid_from"),
        ("MUG,Mug,,,,EUR,1,,,2026-12-01,2026-12-01", "valid_until", "a time after valid_from"),
    ],
)
def test_a_line_that_can_not_be_priced_by_is_rejected_by_its_field(
    sqlite_database: Database, tmp_path: Path, line: str, field: str, reason: str
) -> None:
    rejects = tmp_path / "rejects.csv"

    tally = import_products(sqlite_database, csv_file(tmp_path, line, header=WIDE), rejects)

    assert (tally.accepted, tally.rejected) == (0, 1)
    (found,) = written(rejects)
    assert found["field"] == field
    assert reason in found["reason"]


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
        ("MUG,A mug,perhaps,false,EUR,10.00", "active", "a valid boolean"),
        ("MUG,A mug,true,false,EUR,-1", "price", "a decimal string such as 12.50, 0 or more"),
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


@pytest.mark.parametrize("is_known", [True, False])
def test_two_imports_at_once_lose_nothing_of_each_other(
    postgres_database: Database, is_known: bool
) -> None:
    """Each tells another column of one product; the second waits for the first to be over."""
    database = postgres_database
    mug = ProductIn("MUG", "Mug", True, False, {})
    if is_known:
        with database.transaction() as tx:
            catalogue.put(tx, [mug])

    def second() -> None:
        with database.transaction() as tx:
            catalogue.put(tx, [replace(mug, weight=350)])

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as tx:
            catalogue.put(tx, [replace(mug, tax_class="reduced")])
            waiting = pool.submit(second)
            wait_until_blocked(database)
        waiting.result(timeout=10)

    with database.snapshot() as tx:
        found = catalogue.goods(tx, ["MUG"])["MUG"]
    assert (found.tax_class, found.weight) == ("reduced", 350)


def wait_until_blocked(database: Database) -> None:
    """Until somebody waits for a lock."""
    blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    for _ in range(500):
        with database.snapshot() as tx:
            if tx.execute(blocked).scalar_one():
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")
