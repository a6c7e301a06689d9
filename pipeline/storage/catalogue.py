"""Products and their prices."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import bindparam, case, func, select, update

from pipeline.money import to_text
from pipeline.pricing.carts import Goods
from pipeline.pricing.prices import ListPrice
from pipeline.storage.database import Tx
from pipeline.storage.levels import FREE
from pipeline.storage.sql import pack, rows, texts
from pipeline.storage.tables import prices, products, stock_levels
from pipeline.storage.upsert import upsert

#: Since when a price counts that has no beginning.
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Product:
    """`available` is what may be promised, over all locations; `held`: at one of them nothing is."""

    sku: str
    active: bool
    backorder: bool
    available: int
    held: bool = False


_BY_SKU = (
    select(
        products.c.sku,
        products.c.active,
        products.c.backorder,
        func.coalesce(func.sum(case((FREE > 0, FREE), else_=0)), 0).label("free"),
        func.coalesce(func.max(case((stock_levels.c.held, 1), else_=0)), 0).label("held"),
    )
    .outerjoin(stock_levels, stock_levels.c.sku == products.c.sku)
    .where(products.c.sku.in_(texts("skus")))
    .group_by(products.c.sku, products.c.active, products.c.backorder)
)


def products_by_sku(tx: Tx, skus: Iterable[str]) -> dict[str, Product]:
    """Those of the given SKUs that exist."""
    found = tx.execute(_BY_SKU, {"skus": pack((sku,) for sku in skus)})
    return {r.sku: Product(r.sku, r.active, r.backorder, int(r.free), bool(r.held)) for r in found}


_GOODS = select(
    products.c.sku, products.c.categories, products.c.tax_class, products.c.weight
).where(products.c.sku.in_(texts("skus")))


def goods(tx: Tx, skus: Iterable[str]) -> dict[str, Goods]:
    """What pricing wants to know of the given SKUs, of those that exist."""
    found = tx.execute(_GOODS, {"skus": pack((sku,) for sku in skus)})
    return {r.sku: Goods(_categories(r.categories), r.tax_class, r.weight) for r in found}


@cache
def _categories(text: str) -> frozenset[str]:
    # Every batch meets the same few combinations, and a set that is shared costs no memory.
    return frozenset(json.loads(text))


_wanted = rows(prices.c.sku, prices.c.currency, parameter="wanted")
_PRICES = select(prices).join(
    _wanted, (prices.c.sku == _wanted.c.sku) & (prices.c.currency == _wanted.c.currency)
)


def list_prices(
    tx: Tx, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], list[ListPrice]]:
    """All catalogue prices by (sku, currency), of those that have any."""
    found: dict[tuple[str, str], list[ListPrice]] = defaultdict(list)
    for r in tx.execute(_PRICES, {"wanted": pack(wanted)}) if wanted else ():
        since = None if r.valid_from == ALWAYS else r.valid_from
        price = ListPrice(r.amount, r.customer_group, r.from_quantity, since, r.valid_until)
        found[(r.sku, r.currency)].append(price)
    return found


@dataclass(frozen=True, slots=True)
class ProductIn:
    """A product as imported. `prices` are what it costs everyone, in minor units by currency;
    `special` those for a group, a quantity or a time, each with its currency. None is: as it was,
    or for a new product no category, the class `standard`, no weight, no reorder
    point."""

    sku: str
    name: str
    active: bool
    backorder: bool
    prices: dict[str, int]
    special: Sequence[tuple[str, ListPrice]] = ()
    categories: frozenset[str] | None = None
    tax_class: str | None = None
    weight: int | None = None
    reorder_point: int | None = None

    def list_prices(self) -> list[tuple[str, ListPrice]]:
        """All of them, each with its currency."""
        standing = [(currency, ListPrice(amount)) for currency, amount in self.prices.items()]
        return [*standing, *self.special]

    def categories_as_text(self) -> str | None:
        return None if self.categories is None else json.dumps(sorted(self.categories))


_PRODUCT = [
    products.c.sku, products.c.name, products.c.active, products.c.backorder,
    products.c.categories, products.c.tax_class, products.c.weight, products.c.reorder_point,
]  # fmt: skip
_PRICE = [
    prices.c.sku, prices.c.currency, prices.c.customer_group, prices.c.from_quantity,
    prices.c.valid_from, prices.c.valid_until, prices.c.amount,
]  # fmt: skip


def put(tx: Tx, batch: Sequence[ProductIn]) -> None:
    """Make or replace products and set their prices. A price replaces the one of the same
    currency, group, quantity and beginning; all others stay."""
    upsert(
        tx,
        products,
        _PRODUCT,
        [
            (p.sku, p.name, p.active, p.backorder, p.categories_as_text(), p.tax_class, p.weight,
             p.reorder_point)
            for p in batch
        ],
        keep={"categories": "[]", "tax_class": "standard", "weight": 0, "reorder_point": None},
    )  # fmt: skip
    upsert(
        tx,
        prices,
        _PRICE,
        [
            (p.sku, currency, price.customer_group, price.from_quantity, price.valid_from or ALWAYS,
             price.valid_until, price.amount)
            for p in batch
            for currency, price in p.list_prices()
        ],
    )  # fmt: skip


_REORDER = (
    update(products)
    .where(products.c.sku == bindparam("of_sku"))
    .values(reorder_point=bindparam("units"))
)


def set_reorder_point(tx: Tx, sku: str, units: int | None) -> bool:
    """At how many units that are available, and fewer, it is low; None: never. Whether there is such
    a product."""
    return bool(tx.execute(_REORDER, {"of_sku": sku, "units": units}).rowcount)


_PRODUCTS = select(products).order_by(products.c.sku).limit(bindparam("most"))
_AFTER = _PRODUCTS.where(products.c.sku > bindparam("after"))
_NAMED = select(products).where(products.c.sku == bindparam("wanted"))
_PRICES_OF = (
    select(prices)
    .where(prices.c.sku.in_(texts("skus")))
    .order_by(
        prices.c.sku, prices.c.currency, prices.c.customer_group, prices.c.from_quantity,
        prices.c.valid_from,
    )
)  # fmt: skip


def page(tx: Tx, *, after: str | None, most: int) -> list[dict[str, Any]]:
    """Products with their prices, in order of SKU."""
    if after is None:
        return _told(tx, tx.execute(_PRODUCTS, {"most": most}).all())
    return _told(tx, tx.execute(_AFTER, {"most": most, "after": after}).all())


def one(tx: Tx, sku: str) -> dict[str, Any] | None:
    """A product with its prices, or None."""
    found = _told(tx, tx.execute(_NAMED, {"wanted": sku}).all())
    return found[0] if found else None


def _told(tx: Tx, found: Sequence[Any]) -> list[dict[str, Any]]:
    costs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for r in tx.execute(_PRICES_OF, {"skus": pack((p.sku,) for p in found)}) if found else ():
        costs[r.sku].append(
            {
                "currency": r.currency, "price": to_text(r.amount, r.currency),
                "customer_group": r.customer_group or None, "from_quantity": r.from_quantity,
                "valid_from": None if r.valid_from == ALWAYS else r.valid_from,
                "valid_until": r.valid_until,
            }
        )  # fmt: skip
    return [
        {**p._mapping, "categories": json.loads(p.categories), "prices": costs[p.sku]}
        for p in found
    ]
