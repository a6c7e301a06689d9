"""Products and their prices."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from pipeline.money import to_text
from pipeline.pricing.carts import Goods
from pipeline.pricing.prices import Item, ListPrice, PriceBook, Record, on_record
from pipeline.storage import clock
from pipeline.storage.database import Tx
from pipeline.storage.levels import FREE
from pipeline.storage.sql import UtcDateTime, pack, rows, texts
from pipeline.storage.tables import past_prices, prices, products, stock_levels
from pipeline.storage.upsert import InsertNew, upsert

#: Since when a price counts that has no beginning.
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


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


_KEY = ["sku", "currency", "customer_group", "from_quantity", "valid_from"]
_sought = rows(
    Column("place", Integer), *(prices.c[name] for name in _KEY),
    Column("moment", UtcDateTime), parameter="sought",
)  # fmt: skip


def _was(column: Column[Any]) -> Any:
    """Of what a price that is sought was until it was next replaced: a look-up each, whatever past
    there is; null if it was never replaced since the moment."""
    return (
        select(column)
        .where(
            *(past_prices.c[name] == _sought.c[name] for name in _KEY),
            past_prices.c.replaced_at > _sought.c.moment,
        )
        .order_by(past_prices.c.replaced_at)
        .limit(1)
        .scalar_subquery()
        .label(column.name)
    )


_THEN = select(
    _sought.c.place,
    _was(past_prices.c.amount),
    _was(past_prices.c.valid_until),
    _was(past_prices.c.recorded_at),
)


def price_book(tx: Tx, wanted: Sequence[tuple[str, str, datetime]]) -> PriceBook:
    """The catalogue's prices for (sku, currency) at moments. What was replaced is read only for a
    moment before one of the item's prices was recorded."""
    if not wanted:
        return PriceBook({})
    items = {(sku, currency) for sku, currency, _ in wanted}
    found = tx.execute(_PRICES, {"wanted": pack(items)}).all()
    now: dict[Item, list[ListPrice]] = defaultdict(list)
    for r in found:
        now[r.sku, r.currency].append(_price(r, r))
    earliest = min(moment for *_, moment in wanted)
    changed = {(r.sku, r.currency) for r in found if r.recorded_at and r.recorded_at > earliest}
    asked = {(sku, currency, at) for sku, currency, at in wanted if (sku, currency) in changed}
    return PriceBook(now, _then(tx, found, asked) if asked else {})


def _then(
    tx: Tx, current: Sequence[Any], asked: Collection[tuple[str, str, datetime]]
) -> dict[tuple[Item, datetime], list[ListPrice]]:
    """What was on record at each moment."""
    of_item: dict[Item, list[Any]] = defaultdict(list)
    for r in current:
        of_item[r.sku, r.currency].append(r)
    sought = [(r, moment) for *item, moment in asked for r in of_item[item[0], item[1]]]
    keys = ((n, *(r._mapping[k] for k in _KEY), moment) for n, (r, moment) in enumerate(sought))
    was = {r.place: r for r in tx.execute(_THEN, {"sought": pack(keys)}) if r.amount is not None}
    records: dict[tuple[Item, datetime], list[Record]] = defaultdict(list)
    for n, (row, moment) in enumerate(sought):
        record = Record(_price(row, was.get(n, row)), was.get(n, row).recorded_at)
        records[(row.sku, row.currency), moment].append(record)
    return {asked: on_record(each, asked[1]) for asked, each in records.items()}


def _price(key: Any, terms: Any) -> ListPrice:
    """A price: its key's row, and the row that says how much it is and until when."""
    since = None if key.valid_from == ALWAYS else key.valid_from
    return ListPrice(terms.amount, key.customer_group, key.from_quantity, since, terms.valid_until)


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
    currency, group, quantity and beginning, which is kept in `past_prices`; all others stay. The
    same price again changes nothing."""
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
    _set_prices(
        tx,
        {
            (p.sku, currency, price.customer_group, price.from_quantity, price.valid_from or ALWAYS):
            (price.valid_until, price.amount)
            for p in batch
            for currency, price in p.list_prices()
        },
    )  # fmt: skip


_given = rows(*_PRICE)
_this_price = and_(*(prices.c[name] == _given.c[name] for name in _KEY))
_at: ColumnElement[datetime] = bindparam("at", type_=UtcDateTime)
_NEW_PRICES = InsertNew(
    prices,
    [*(c.name for c in _PRICE), "recorded_at"],
    select(*_given.c, _at),
)
_LOCK_CHANGED = (
    select(prices)
    .join(_given, _this_price)
    .where(
        or_(
            prices.c.amount != _given.c.amount,
            prices.c.valid_until.is_distinct_from(_given.c.valid_until),
        )
    )
    .order_by(*(prices.c[name] for name in _KEY))
    .with_for_update(of=prices)
)
_PAST = [*_KEY, "replaced_at", "recorded_at", "valid_until", "amount"]
_past = rows(*(past_prices.c[name] for name in _PAST))
_KEEP = insert(past_prices).from_select(_PAST, select(*_past.c))
_changed = rows(*_PRICE, prices.c.recorded_at)
_CHANGE = (
    update(prices)
    .where(*(prices.c[name] == _changed.c[name] for name in _KEY))
    .values(
        valid_until=_changed.c.valid_until,
        amount=_changed.c.amount,
        recorded_at=_changed.c.recorded_at,
    )
)

#: By the key of a price, in the order of `_KEY`: until when it counts, and the amount.
_Given = dict[tuple[Any, ...], tuple[datetime | None, int]]


def _set_prices(tx: Tx, given: _Given) -> None:
    if not given:
        return
    # In key order, for everyone: two imports at once wait for each other rather than deadlock.
    packed = {"rows": pack((*key, *given[key]) for key in sorted(given))}
    at = clock.read(tx)
    _NEW_PRICES(tx, {**packed, "at": at})
    replaced = tx.execute(_LOCK_CHANGED, packed).all()
    if not replaced:
        return
    at = clock.read(tx)  # again: an order may have come in while we waited for the locks
    past, new = [], []
    for r in replaced:
        key = tuple(r._mapping[name] for name in _KEY)
        # However clocks go: it was on record for a while.
        until = at if r.recorded_at is None else max(at, r.recorded_at + _TICK)
        past.append((*key, until, r.recorded_at, r.valid_until, r.amount))
        new.append((*key, *given[key], until))
    tx.execute(_KEEP, {"rows": pack(past)})
    tx.execute(_CHANGE, {"rows": pack(new)})


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
