"""Units: what is there; corrections and counts, for the whole shop, so with an operator's key."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from pipeline import stocktaking
from pipeline.errors import InvalidInput
from pipeline.payments.window import moment
from pipeline.stocktaking import Count
from pipeline.storage import idempotency, stock, stock_ledger
from pipeline.storage.database import Database, Tx
from pipeline.storage.stock_ledger import Kind
from web.api import shop_models as models
from web.api.examples import ADJUSTMENT, COUNT
from web.api.models import IdempotencyKey, Most, Next, Page, Word
from web.bodies import reads
from web.callers import LedgerReader, StockReader, StockWriter
from web.cursors import cursor, position
from web.routing import WITH_BODY, router, takes


def routes(database: Database) -> APIRouter:
    api = router("stock")

    @api.get("/stock", operation_id="listStock", response_model=Page[models.Level])
    def ls(
        caller: StockReader,
        sku: Annotated[Word | None, Query(description="Only this SKU.")] = None,
        limit: Most = 50,
        after: Next = None,
    ) -> Page[models.Level]:
        """List units on hand, reserved and available, by SKU and location."""
        last = tuple(position(after, str, str)) if after else None
        with database.snapshot() as tx:
            found = stock.levels(tx, sku, after=last, most=limit)
        items = [models.Level.model_validate(level) for level in found]
        more = cursor(items[-1].sku, items[-1].location) if len(items) == limit else None
        return Page[models.Level](items=items, next=more)

    @api.get("/stock/movements", operation_id="listMovements", response_model=models.Ledger)
    def movements(
        caller: LedgerReader,
        sku: Annotated[Word, Query(description="Of this SKU.")],
        kind: Annotated[list[Kind] | None, Query(description="Only of these kinds.")] = None,
        limit: Most = 50,
    ) -> models.Ledger:
        """List the newest movements of a SKU with what was on hand and promised after each. They name
        orders of all sources, so it takes an operator's key."""
        with database.snapshot() as tx:
            found = stock_ledger.ledger(tx, sku, limit, kind or ())
        return models.Ledger(items=[models.Movement.model_validate(m) for m in found[::-1]])

    @api.post(
        "/stock/adjustments",
        operation_id="adjustStock",
        response_model=models.Levels,
        responses=WITH_BODY,
        openapi_extra=takes(models.AdjustmentIn, ADJUSTMENT),
    )
    def adjust(
        caller: StockWriter,
        idempotency_key: IdempotencyKey,
        given: Annotated[models.AdjustmentIn, Depends(reads(models.AdjustmentIn))],
    ) -> models.Levels:
        """Correct what is on hand by so many units, with a reason. Orders that wait have theirs."""

        def do(tx: Tx) -> dict[str, Any]:
            level = (given.sku, given.location)
            stocktaking.adjust(tx, level, given.units, given.reason, caller.actor)
            return {"levels": stock.levels(tx, given.sku)}

        with database.transaction() as tx:
            told = idempotency.once(
                tx, caller.owner, idempotency_key, _digest("adjust", given), lambda: do(tx)
            )
        return models.Levels(**told)

    @api.post(
        "/stock/counts",
        operation_id="countStock",
        response_model=models.Levels,
        responses=WITH_BODY,
        openapi_extra=takes(models.CountIn, COUNT),
    )
    def count(
        caller: StockWriter,
        given: Annotated[models.CountIn, Depends(reads(models.CountIn))],
    ) -> models.Levels:
        """Make what is on hand agree with a count, as of its time. The same again finds no
        difference, so it needs no Idempotency-Key."""
        at = None if given.at is None else _moment(given.at)
        counted = Count((given.sku, given.location), given.units, at, given.reason)
        with database.transaction() as tx:
            difference = stocktaking.count(tx, counted, caller.actor)
            found = stock.levels(tx, given.sku)
        return models.Levels(
            difference=difference, levels=[models.Level.model_validate(x) for x in found]
        )

    return api


def _moment(written: str) -> Any:
    try:
        return moment(written)
    except OverflowError:
        raise InvalidInput("at: expected a time within the years 1 to 9999, in UTC") from None


def _digest(what: str, given: BaseModel) -> str:
    return hashlib.sha256(f"{what} {given.model_dump_json()}".encode()).hexdigest()
