"""What an order costs: the quote and its lines, written once by the price stage."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pydantic_core import to_json
from sqlalchemy import insert, select

from pipeline.pricing.quote import Quote, QuotedLine, QuotedShipping
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, pack, rows
from pipeline.storage.tables import order_lines, quotes

_quote = rows(*quotes.c)
_QUOTES = insert(quotes).from_select(list(quotes.c.keys()), select(*_quote.c))
_line = rows(*order_lines.c)
_LINES = insert(order_lines).from_select(list(order_lines.c.keys()), select(*_line.c))
_TOTALS = select(quotes.c.order_id, quotes.c.total).where(quotes.c.order_id.in_(ids()))
_READ_QUOTES = select(*(column for column in quotes.c if column.key != "steps")).where(
    quotes.c.order_id.in_(ids())
)
_READ_LINES = (
    select(order_lines)
    .where(order_lines.c.order_id.in_(ids()))
    .order_by(order_lines.c.order_id, order_lines.c.line_no)
)
_COUPONS = select(
    quotes.c.order_id, quotes.c.rules, quotes.c.rules_version, quotes.c.coupons
).where(quotes.c.order_id.in_(ids()), quotes.c.coupons != "[]")


@dataclass(frozen=True, slots=True)
class Priced:
    """An order's quote, and the rules it is by: their name and version (None: there was none)."""

    order_id: int
    quote: Quote
    rules: str
    version: int | None


def add(tx: Tx, priced: Sequence[Priced]) -> None:
    """Write the quotes of orders and their lines."""
    if not priced:
        return
    tx.execute(_QUOTES, {"rows": pack(map(_quote_row, priced))})
    tx.execute(_LINES, {"rows": pack(row for p in priced for row in _line_rows(p))})


def _quote_row(priced: Priced) -> tuple[Any, ...]:
    q = priced.quote
    s = q.shipping
    shipping = (s.method, s.price, s.discount, s.net, s.tax) if s else (None, 0, 0, 0, 0)
    return (
        priced.order_id, q.net, q.tax, q.total, q.includes_tax, q.rounding_mode, q.rounding_level,
        priced.rules, priced.version, *shipping, _text(q.coupons), _text(q.steps),
    )  # fmt: skip


def _text(values: Sequence[Any]) -> str:
    return to_json(values).decode() if values else "[]"  # most orders give no coupon


def _line_rows(priced: Priced) -> Iterable[tuple[Any, ...]]:
    for n, x in enumerate(priced.quote.lines, start=1):
        yield (
            priced.order_id, n, x.sku, x.quantity, x.unit_price, x.tax_rate, x.net, x.tax, x.gross,
            x.discount,
        )  # fmt: skip


def totals(tx: Tx, order_ids: Iterable[int]) -> dict[int, int]:
    """What each order costs in all, in minor units, by order id."""
    return {r.order_id: r.total for r in tx.execute(_TOTALS, {"ids": pack(order_ids)})}


@dataclass(frozen=True, slots=True)
class Redeemable:
    """The coupons that a quote used, and the rules they are of."""

    rules: str
    version: int
    codes: tuple[str, ...]


def coupons(tx: Tx, order_ids: Iterable[int]) -> dict[int, Redeemable]:
    """What the quotes of orders used, by order id; one that used no coupon is absent."""
    return {
        r.order_id: Redeemable(r.rules, r.rules_version, tuple(json.loads(r.coupons)))
        for r in tx.execute(_COUPONS, {"ids": pack(order_ids)})
    }


def read(tx: Tx, order_ids: Sequence[int]) -> dict[int, Quote]:
    """The quotes of orders by order id, with their lines and without their steps; one that wasn't
    priced is absent."""
    packed = {"ids": pack(order_ids)}
    lines: dict[int, list[QuotedLine]] = defaultdict(list)
    for r in tx.execute(_READ_LINES, packed):
        lines[r.order_id].append(line_of(r))
    return {r.order_id: quote_of(r, lines[r.order_id]) for r in tx.execute(_READ_QUOTES, packed)}


def quote_of(r: Any, lines: Iterable[QuotedLine]) -> Quote:
    """A row of the quotes with its lines, without its steps."""
    return Quote(
        tuple(lines), _shipping_of(r), r.net, r.tax, r.total,
        r.includes_tax, r.rounding_mode, r.rounding_level, tuple(json.loads(r.coupons)),
    )  # fmt: skip


def archived(quote: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> Quote:
    """The same of the rows that an archive holds."""
    return quote_of(SimpleNamespace(**quote), [line_of(SimpleNamespace(**line)) for line in lines])


def line_of(r: Any) -> QuotedLine:
    return QuotedLine(
        r.sku, r.quantity, r.unit_price, r.discount, r.tax_rate, r.net, r.tax, r.gross
    )


def _shipping_of(r: Any) -> QuotedShipping | None:
    if r.shipping_method is None:
        return None
    return QuotedShipping(
        r.shipping_method, r.shipping_price, r.shipping_discount, r.shipping_net, r.shipping_tax,
        r.shipping_net + r.shipping_tax,
    )  # fmt: skip
