"""Products and their prices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows, texts
from pipeline.storage.tables import prices, products, stock_levels
from pipeline.storage.upsert import upsert


@dataclass(frozen=True, slots=True)
class Product:
    """`available` is on_hand − reserved over all locations."""

    sku: str
    active: bool
    backorder: bool
    available: int


_BY_SKU = (
    select(
        products.c.sku,
        products.c.active,
        products.c.backorder,
        func.coalesce(func.sum(stock_levels.c.on_hand - stock_levels.c.reserved), 0).label("free"),
    )
    .outerjoin(stock_levels, stock_levels.c.sku == products.c.sku)
    .where(products.c.sku.in_(texts("skus")))
    .group_by(products.c.sku, products.c.active, products.c.backorder)
)


def products_by_sku(tx: Tx, skus: Iterable[str]) -> dict[str, Product]:
    """Those of the given SKUs that exist."""
    found = tx.execute(_BY_SKU, {"skus": pack((sku,) for sku in skus)})
    return {r.sku: Product(r.sku, r.active, r.backorder, int(r.free)) for r in found}


_wanted = rows(prices.c.sku, prices.c.currency, parameter="wanted")
_PRICES = select(prices).join(
    _wanted, (prices.c.sku == _wanted.c.sku) & (prices.c.currency == _wanted.c.currency)
)


def unit_prices(tx: Tx, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Catalogue prices in minor units by (sku, currency), of those that have one."""
    found = tx.execute(_PRICES, {"wanted": pack(wanted)})
    return {(r.sku, r.currency): r.amount for r in found}


@dataclass(frozen=True, slots=True)
class ProductIn:
    """A product as imported; `prices` in minor units by currency."""

    sku: str
    name: str
    active: bool
    backorder: bool
    prices: dict[str, int]


def put(tx: Tx, batch: Sequence[ProductIn]) -> None:
    """Make or replace products and set their prices; prices in other currencies stay."""
    upsert(
        tx,
        products,
        [products.c.sku, products.c.name, products.c.active, products.c.backorder],
        [(p.sku, p.name, p.active, p.backorder) for p in batch],
    )
    upsert(
        tx,
        prices,
        [prices.c.sku, prices.c.currency, prices.c.amount],
        [(p.sku, currency, amount) for p in batch for currency, amount in p.prices.items()],
    )
