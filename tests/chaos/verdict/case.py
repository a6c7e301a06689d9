"""What the verdict goes by."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.chaos.journal import Journal
from tests.chaos.listeners import Name
from tests.chaos.records import Snapshot
from tests.chaos.shop import PERCENT_OFF, PRICES, Shop

#: Holding neither goods nor money.
OVER = ("rejected", "cancelled")


@dataclass(frozen=True)
class Case:
    """`book`: the gateway's lines. `mirror`: events by the feed; `received`: webhooks, how often each;
    `late`: those that failed twice, and wait for their third attempt as documented."""

    rows: Snapshot
    book: list[dict[str, Any]]
    journal: Journal
    shop: Shop
    mirror: dict[Name, tuple[str, str | None]]
    received: dict[Name, int]
    late: frozenset[Name] = frozenset()

    @cached_property
    def sent(self) -> dict[int, dict[str, Any]]:
        """What was sent, by the id that it was answered with."""
        return {entry["id"]: entry["order"] for entry in self.journal.of("order")}

    @cached_property
    def shipped_orders(self) -> set[int]:
        return {row["order_id"] for row in self.rows.shipments}

    def price(self, order_id: int) -> int:
        """What an order costs, in minor units, by what was sent and the shop's prices."""
        order = self.sent[order_id]
        gross = sum(PRICES[line["sku"]] * line["quantity"] for line in order["lines"])
        return gross * (100 - PERCENT_OFF) // 100 if order["coupons"] else gross

    def ordered(self, order_id: int) -> Counter[str]:
        """Units by SKU."""
        units = Counter[str]()
        for line in self.sent[order_id]["lines"]:
            units[line["sku"]] += line["quantity"]
        return units


def read_book(path: Path) -> list[dict[str, Any]]:
    """The lines of the gateway's book that say that something was done."""
    with closing(sqlite3.connect(path, timeout=30)) as book:
        book.row_factory = sqlite3.Row
        found = book.execute("SELECT * FROM book WHERE decline IS NULL ORDER BY seq")
        return [dict(row) for row in found]
