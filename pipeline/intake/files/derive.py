"""Setting a shop up from its past orders: the products and the stock that they would have needed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.errors import InvalidInput
from pipeline.formulas import write_rows
from pipeline.intake.files.keys import KeySet
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.output import open_output
from pipeline.intake.files.reader import OrderFile
from pipeline.intake.files.sent import Sent
from pipeline.intake.schema import Document, LineIn
from pipeline.money import to_minor, to_text

LOCATION = "main"
REASON = "derived from past orders"

PRODUCT_COLUMNS = ("sku", "name", "active", "backorder", "currency", "price")
STOCK_COLUMNS = ("sku", "location", "quantity", "kind", "reason")


@dataclass(slots=True)
class Derived:
    """A product as orders show it: its names by how often they occur, the highest price by
    currency in minor units, the units that acceptable orders ask for."""

    names: Counter[str] = field(default_factory=Counter)
    prices: dict[str, int] = field(default_factory=dict)
    units: int = 0


def derive_catalogue(
    orders: Sequence[Path], mapping: Mapping | None, products_out: Path, stock_out: Path
) -> dict[str, Derived]:
    """Write a product file and a stock file for the SKUs of the given order files; both are ready
    to be imported. Memory grows with the SKUs, not with the orders. Errors as `import_orders`.

    All orders that can be read are looked at, but for those a mapping's rule refuses; only the
    ones that would be accepted (each external id once) count for the stock.
    """
    found: dict[str, Derived] = defaultdict(Derived)
    with closing(KeySet()) as seen:
        for path in orders:
            with OrderFile(path, mapping) as sent_orders:
                for sent in sent_orders:
                    _add(found, sent, seen)
    with open_output(products_out, orders) as file:
        write_rows(file, [PRODUCT_COLUMNS, *_product_rows(found)])
    with open_output(stock_out, orders) as file:
        write_rows(file, [STOCK_COLUMNS, *_stock_rows(found)])
    return dict(sorted(found.items()))


def _add(found: dict[str, Derived], sent: Sent, seen: KeySet) -> None:
    document = sent.judgement
    is_sold = isinstance(document, Document) and seen.add(document.external_id)
    names = dict(enumerate(sent.names))
    for position, line in _lines_of(sent.data):
        product = found[line.sku]
        product.units += line.quantity * is_sold
        if name := " ".join((names.get(position) or "").split()):
            product.names[name[:255]] += 1
        if line.unit_price is not None:
            _raise_price(product, sent.data.get("currency"), line.unit_price)


def _lines_of(data: Any) -> Iterator[tuple[int, LineIn]]:
    """The lines that are sound by themselves, with their position; `data` may be anything."""
    lines = data.get("lines") if isinstance(data, dict) else None
    for position, line in enumerate(lines if isinstance(lines, list) else []):
        with suppress(ValidationError):
            yield position, LineIn.model_validate(line)


def _raise_price(product: Derived, currency: Any, price: str) -> None:
    with suppress(InvalidInput):  # a refused order's: its currency may be none
        amount = to_minor(price, str(currency))
        if amount > product.prices.get(currency, 0):
            product.prices[currency] = amount


def _product_rows(found: dict[str, Derived]) -> Iterator[tuple[str, ...]]:
    for sku, product in sorted(found.items()):
        [(name, _)] = product.names.most_common(1) or [(sku, 1)]
        prices = [(code, to_text(minor, code)) for code, minor in sorted(product.prices.items())]
        for currency, price in prices or [("", "")]:
            yield sku, name, "true", "false", currency, price


def _stock_rows(found: dict[str, Derived]) -> Iterator[tuple[str, ...]]:
    for sku, product in sorted(found.items()):
        if product.units:
            yield sku, LOCATION, str(product.units), "receipt", REASON
