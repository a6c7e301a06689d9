"""An order as the API tells it: amounts as decimal strings, and its ETag."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.hold_reasons import hold_of
from pipeline.money import to_text
from pipeline.order import corrected
from pipeline.payments import tasks
from pipeline.payments.account import Operation
from pipeline.storage.database import Tx

_AMOUNTS = ("unit_price", "discount", "net", "tax", "gross")
_DOCUMENT = (
    "placed_at",
    "customer",
    "ship_to",
    "bill_to",
    "coupons",
    "shipping_method",
    "metadata",
)


def row_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a list."""
    return {**row, "total": amount(row["total"], row["currency"])}


def order_of(told: dict[str, Any]) -> dict[str, Any]:
    """All of an order, from `views.summary`."""
    document, quote, currency = told["document"], told["quote"], told["currency"]
    hold = hold_of(told["id"], told["reason"], told["held"]) if told["held"] else None
    shipping = None if quote is None else quote["shipping_net"] + quote["shipping_tax"]
    return {
        **row_of(told),
        "net": quote and amount(quote["net"], currency),
        "tax": quote and amount(quote["tax"], currency),
        "shipping": amount(shipping, currency),
        "lines": lines_of(told["lines"], currency) if quote else _asked(document["lines"]),
        **{name: document[name] for name in _DOCUMENT if name in document},
        "total_shown": amount(document.get("total"), currency),
        "ship_to": corrected(document["ship_to"], told["decided"]),
        "decided": told["decided"],
        "vat_check": told["vat_check"],
        "decisions": hold["decisions"] if hold else [],
    }


def lines_of(lines: Iterable[dict[str, Any]], currency: str) -> list[dict[str, Any]]:
    """Lines as priced."""
    return [{**line, **{name: amount(line[name], currency) for name in _AMOUNTS}} for line in lines]


def _asked(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    units: Counter[str] = Counter()
    for line in lines:
        units[line["sku"]] += line["quantity"]
    return [{"sku": sku, "quantity": quantity} for sku, quantity in units.items()]


def operation_of(asked: Operation) -> dict[str, Any]:
    """Money that was asked to be moved."""
    return {
        "id": asked.key, "order_id": asked.order_id, "currency": asked.currency,
        "amount": to_text(asked.amount, asked.currency), "state": asked.state,
    }  # fmt: skip


def refund_of(tx: Tx, asked: Operation) -> dict[str, Any]:
    """The same of a refund, with its net and its tax."""
    told = tasks.told(asked, tasks.splits(tx, [asked]))
    return operation_of(asked) | {name: told.get(name) for name in ("net", "tax")}


def units_of(lines: Mapping[str, int]) -> dict[int, int]:
    """Units by line number, as they are asked for: an object's names are strings."""
    return {int(number): units for number, units in lines.items()}


def amount(minor: int | None, currency: str) -> str | None:
    return None if minor is None else to_text(minor, currency)


def etag_of(version: int) -> str:
    """What is told of an order changes with its version, and only so."""
    return f'"{version}"'


def matches(given: str, version: int) -> bool:
    """Whether an If-Match, or If-None-Match, names this version."""
    tags = [tag.strip() for tag in given.split(",")]
    return "*" in tags or etag_of(version) in tags
