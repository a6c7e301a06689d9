"""Units: what is there; corrections and counts, for the whole shop, so with an operator's key."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel

from pipeline import stocktaking
from pipeline.errors import InvalidInput
from pipeline.inventory.movement import Kind
from pipeline.payments.window import moment
from pipeline.stocktaking import Count
from pipeline.storage import idempotency, stock, stock_ledger
from pipeline.storage.database import Tx
from web.api import shapes
from web.api import shop_models as models
from web.api.examples import ADJUSTMENT, COUNT
from web.api.models import IdempotencyKey, Key, Most, Next
from web.bodies import reads
from web.callers import LedgerReader, StockReader, StockWriter
from web.cursors import cursor, position
from web.routing import WITH_BODY, router_of, takes

router = router_of("stock")


@router.get("/stock", operation_id="listStock", response_model=shapes.Page[shapes.Level])
def ls(
    caller: StockReader,
    sku: Annotated[Key | None, Query(description="Only this SKU.")] = None,
    limit: Most = 50,
    after: Next = None,
) -> shapes.Page[shapes.Level]:
    """List units on hand, reserved and available, by SKU and location."""
    last = tuple(position(after, str, str)) if after else None
    with caller.read() as tx:
        found = stock.levels(tx, sku, after=last, most=limit)
    items = [shapes.Level.model_validate(level) for level in found]
    more = cursor(items[-1].sku, items[-1].location) if len(items) == limit else None
    return shapes.Page[shapes.Level](items=items, next=more)


@router.get("/stock/movements", operation_id="listMovements", response_model=shapes.Ledger)
def movements(
    caller: LedgerReader,
    sku: Annotated[Key, Query(description="Of this SKU.")],
    kind: Annotated[list[Kind] | None, Query(description="Only of these kinds.")] = None,
    limit: Most = 50,
) -> shapes.Ledger:
    """List the newest movements of a SKU with what was on hand and promised after each. They name
    orders of all sources, so it takes an operator's key."""
    with caller.read() as tx:
        found = stock_ledger.ledger(tx, sku, limit, kind or ())
    return shapes.Ledger(items=[shapes.Movement.model_validate(m) for m in found[::-1]])


@router.post(
    "/stock/adjustments",
    operation_id="adjustStock",
    response_model=shapes.Levels,
    responses=WITH_BODY,
    openapi_extra=takes(models.AdjustmentIn, ADJUSTMENT),
)
def adjust(
    caller: StockWriter,
    idempotency_key: IdempotencyKey,
    given: Annotated[models.AdjustmentIn, Depends(reads(models.AdjustmentIn))],
) -> shapes.Levels:
    """Correct what is on hand by so many units, with a reason. Orders that wait have theirs."""

    def do(tx: Tx) -> dict[str, Any]:
        level = (given.sku, given.location)
        stocktaking.adjust(tx, level, given.units, given.reason, caller.actor)
        return {"levels": stock.levels(tx, given.sku)}

    with caller.write() as tx:
        told = idempotency.once(
            tx, caller.owner, idempotency_key, _digest("adjust", given), lambda: do(tx)
        )
    return shapes.Levels(**told)


@router.post(
    "/stock/counts",
    operation_id="countStock",
    response_model=shapes.Levels,
    responses=WITH_BODY,
    openapi_extra=takes(models.CountIn, COUNT),
)
def count(
    caller: StockWriter, given: Annotated[models.CountIn, Depends(reads(models.CountIn))]
) -> shapes.Levels:
    """Make what is on hand agree with a count, as of its time. The same again finds no
    difference, so it needs no Idempotency-Key."""
    at = None if given.at is None else _moment(given.at)
    counted = Count((given.sku, given.location), given.units, at, given.reason)
    with caller.write() as tx:
        difference = stocktaking.count(tx, counted, caller.actor)
        found = stock.levels(tx, given.sku)
    return shapes.Levels(
        difference=difference, levels=[shapes.Level.model_validate(x) for x in found]
    )


def _moment(written: str) -> Any:
    try:
        return moment(written)
    except OverflowError:
        raise InvalidInput("at: expected a time within the years 1 to 9999, in UTC") from None


def _digest(what: str, given: BaseModel) -> str:
    return hashlib.sha256(f"{what} {given.model_dump_json()}".encode()).hexdigest()
