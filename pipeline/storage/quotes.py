"""What an order costs: the quote and its lines, written once by the price stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import insert, select

from pipeline.pricing.quote import Quote, QuotedLine
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, pack, rows
from pipeline.storage.tables import order_lines, quotes

_quote = rows(*quotes.c)
_QUOTES = insert(quotes).from_select(list(quotes.c.keys()), select(*_quote.c))
_line = rows(*order_lines.c)
_LINES = insert(order_lines).from_select(list(order_lines.c.keys()), select(*_line.c))
_TOTALS = select(quotes.c.order_id, quotes.c.total).where(quotes.c.order_id.in_(ids()))
_READ_QUOTES = select(quotes).where(quotes.c.order_id.in_(ids()))
_READ_LINES = (
    select(order_lines)
    .where(order_lines.c.order_id.in_(ids()))
    .order_by(order_lines.c.order_id, order_lines.c.line_no)
)


def add(tx: Tx, priced: Sequence[tuple[int, Quote]]) -> None:
    """Write the quotes of orders (by id) and their lines."""
    if not priced:
        return
    tx.execute(
        _QUOTES,
        {
            "rows": pack(
                (i, q.net, q.tax, q.total, q.includes_tax, q.rounding_mode, q.rounding_level)
                for i, q in priced
            )
        },
    )
    tx.execute(
        _LINES,
        {
            "rows": pack(
                (i, n, x.sku, x.quantity, x.unit_price, str(x.tax_rate), x.net, x.tax, x.gross)
                for i, q in priced
                for n, x in enumerate(q.lines, start=1)
            )
        },
    )


def totals(tx: Tx, order_ids: Iterable[int]) -> dict[int, int]:
    """What each order costs in all, in minor units, by order id."""
    return {r.order_id: r.total for r in tx.execute(_TOTALS, {"ids": pack(order_ids)})}


def read(tx: Tx, order_ids: Sequence[int]) -> dict[int, Quote]:
    """The quotes of orders by order id, with their lines; one that wasn't priced is absent."""
    packed = {"ids": pack(order_ids)}
    lines: dict[int, list[QuotedLine]] = defaultdict(list)
    for r in tx.execute(_READ_LINES, packed):
        lines[r.order_id].append(_line_of(r))
    return {
        r.order_id: Quote(
            tuple(lines[r.order_id]), r.net, r.tax, r.total,
            r.includes_tax, r.rounding_mode, r.rounding_level,
        )
        for r in tx.execute(_READ_QUOTES, packed)
    }  # fmt: skip


def _line_of(r: Any) -> QuotedLine:
    return QuotedLine(r.sku, r.quantity, r.unit_price, r.tax_rate, r.net, r.tax, r.gross)
