"""Nine days of a real shop, dirt included, by the mapping that the docs show."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.intake.files.derive import derive_catalogue
from pipeline.intake.files.importer import Summary, import_orders
from pipeline.intake.files.levels import import_stock
from pipeline.intake.files.mapping import load_mapping
from pipeline.intake.files.products import import_products
from pipeline.money import to_text
from pipeline.source import Policy
from tests.intake.files.helpers import written
from tests.support import Mill

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("ORDERMILL_TEST_DATA", ROOT.parent / "shared" / "data"))
DAYS = sorted((DATA / "online-retail").glob("*.csv"))
MAPPING = load_mapping(ROOT / "docs" / "examples" / "online-retail.toml")
MakeMill = Callable[..., Mill]

pytestmark = pytest.mark.skipif(
    len(DAYS) != 9,
    reason=f"no online-retail data in {DATA}; set ORDERMILL_TEST_DATA to the folder that has it",
)


def import_all(shop: Mill) -> tuple[Counter[str], list[Summary]]:
    """The nine days' figures together, and each by itself."""
    days = [import_orders(shop.intake, shop.source, day, MAPPING) for day in DAYS]
    names = ("read", "rows", "accepted", "duplicates", "conflicts", "rejected")
    return Counter({name: sum(getattr(day, name) for day in days) for name in names}), days


def test_what_is_clean_is_accepted_and_worth_what_the_seller_says(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold"))

    figures, days = import_all(shop)
    again, same_days = import_all(shop)

    assert (figures["rows"], figures["read"]) == (25_281, 1_179)
    assert (figures["accepted"], figures["rejected"], figures["conflicts"]) == (907, 272, 0)
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 907, 272)
    assert shop.query("SELECT count(*) FROM orders") == [(907,)]
    for run in (days, same_days):
        worth = sum(day.accepted_value["GBP"] for day in run)
        assert to_text(worth, "GBP") == "478015.49"
        assert sum((day.reasons for day in run), Counter[str]()) == {
            "cancellation": 143, "lines.quantity": 67, "lines.unit_price": 62,
        }  # fmt: skip


def test_the_shop_it_describes_can_be_derived(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=Policy(price_policy="as_sold"))
    products, stock = tmp_path / "products.csv", tmp_path / "stock.csv"

    found = derive_catalogue(DAYS, MAPPING, products, stock)
    catalogue = import_products(shop.database, products)
    receipts = import_stock(shop.database, stock, "test")

    assert catalogue.accepted == catalogue.read == len(found)
    assert receipts.accepted == receipts.read == len(written(stock))
    units = shop.query("SELECT sum(on_hand) FROM stock_levels")[0][0]
    assert int(units) == sum(product.units for product in found.values())
