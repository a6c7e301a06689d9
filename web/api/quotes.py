"""What an order would cost, without placing it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from itertools import islice

from fastapi import Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from pipeline import quoting
from pipeline.assembly import Application
from pipeline.intake.schema import MOST_BYTES, OrderIn
from pipeline.money import to_text
from pipeline.outcome import Advance
from pipeline.pricing import budget, explanation
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.quoting import Quoted
from pipeline.source import Source
from pipeline.storage.database import Database
from web.api import shapes
from web.api.examples import ORDER
from web.api.orders_told import lines_of
from web.bodies import is_long, parsed, read_unparsed
from web.callers import Quoter
from web.problems import Refusal
from web.routing import WITH_BODY, problems, router_of, takes

router = router_of("quotes")

#: Seconds of CPU that one quote may take; long ones that are worked on at once, and that wait for it
#: with their bodies unparsed: as objects they take ten times the memory.
MOST_SECONDS = 2.0
MOST_LONG, MOST_WAITING = 2, 8
#: Rows of an explanation that are told: a long order by many promotions has millions.
MOST_ROWS = 1_000


@router.post(
    "/quotes",
    operation_id="quoteOrder",
    response_model=shapes.Quote,
    responses={**WITH_BODY, **problems(409)},
    openapi_extra=takes(OrderIn, ORDER),
)
async def quote(source: Quoter, request: Request) -> Response:
    """Price an order as it would be priced now, and say why. Nothing is placed, promised or
    kept. 409: it has no price, and the problem's `reason` is what the order would be rejected or
    held for."""
    if not is_long(request):
        return await _quoted(source, request, await read_unparsed(request, MOST_BYTES))
    in_turn: InTurn = request.app.state.long_quotes
    with in_turn.in_line():
        raw = await read_unparsed(request, MOST_BYTES)
        async with in_turn.places:
            return await _quoted(source, request, raw)


class InTurn:
    """Long quotes, a few at once."""

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(MOST_LONG)
        self._in_line = 0

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """Waiting or worked on. Refusal 429: too many are."""
        if self._in_line >= MOST_LONG + MOST_WAITING:
            raise Refusal(
                429, "rate-limited", f"{self._in_line} long quotes are being made",
                headers={"Retry-After": "1"},
            )  # fmt: skip
        self._in_line += 1
        try:
            yield
        finally:
            self._in_line -= 1


async def _quoted(source: Source, request: Request, raw: bytes) -> Response:
    data = await parsed(raw)
    await request.app.state.guesses.require(request.state.key, source, data)
    app: Application = request.app.state.application
    return await run_in_threadpool(_answer, app.database, source, data)


def _answer(database: Database, source: Source, data: object) -> Response:
    with budget.of_seconds(MOST_SECONDS):
        found = _price(database, source, data)
    return Response(found.model_dump_json(), media_type="application/json")


def _price(database: Database, source: Source, data: object) -> shapes.Quote:
    with database.snapshot() as tx:
        quoted = quoting.quote(tx, source, data)
    if isinstance(quoted.found, NotPriced):
        found = quoted.found
        raise Refusal(
            HTTPStatus.CONFLICT, "", f"it has no price: {found.reason}",
            reason=found.reason, why=dict(found.detail),
        )  # fmt: skip
    return _told(quoted, quoted.found)


def _told(quoted: Quoted, found: Quote) -> shapes.Quote:
    currency, shipping = quoted.order.currency, found.shipping
    rows = list(islice(explanation.rows(found.steps, currency), MOST_ROWS + 1))
    lines = lines_of([asdict(line) for line in found.lines], currency)
    return shapes.Quote(
        currency=currency,
        net=to_text(found.net, currency),
        tax=to_text(found.tax, currency),
        total=to_text(found.total, currency),
        includes_tax=found.includes_tax,
        lines=[shapes.Line(**line) for line in lines],
        shipping=None if shipping is None else to_text(shipping.gross, currency),
        shipping_method=None if shipping is None else shipping.method,
        coupons=list(found.coupons),
        rules=quoted.rules.name,
        rules_version=quoted.rules.number,
        holds=None if isinstance(quoted.outcome, Advance) else quoted.outcome.reason,
        explanation=rows[:MOST_ROWS],
        explanation_is_cut=len(rows) > MOST_ROWS,
    )
