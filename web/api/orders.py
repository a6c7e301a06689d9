"""Orders: placed one by one, looked at, cancelled, put back to work, decided about, refunded."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from pipeline import operations
from pipeline.assembly import Application
from pipeline.decisions import DecisionIn
from pipeline.errors import InvalidInput
from pipeline.intake.accept import Intake, Receipt, Verdict
from pipeline.intake.schema import MOST_BYTES, OrderIn
from pipeline.money import to_minor
from pipeline.operations import Announcements
from pipeline.order import Status
from pipeline.source import Source
from pipeline.storage import idempotency, levels, views, waiting
from pipeline.storage.database import Database, Tx
from pipeline.storage.selection import Selection
from web.api import models, shapes
from web.api.examples import DECISION, DECISIONS, ORDER, REFUND
from web.api.models import (
    IdempotencyKey,
    IfMatch,
    IfNoneMatch,
    Key,
    Most,
    Next,
    OrderId,
    Since,
    Word,
)
from web.api.order_access import lock, lock_all, visible
from web.api.orders_told import etag_of, matches, order_of, refund_of, row_of, units_of
from web.bodies import is_long, read_json, reads
from web.callers import Caller, Reader, Seller, Steerer
from web.cursors import cursor, position
from web.problems import Refusal, invalid, no_gateway
from web.routing import WITH_BODY, answers, problems, router_of, takes

router = router_of("orders")

_ACTED = {
    **answers(202, "It is begun", shapes.Order, ETag="its version"),
    **problems(404, 409, 412),
}


@router.post(
    "/orders",
    operation_id="placeOrder",
    status_code=202,
    response_model=shapes.Accepted,
    responses={
        **answers(202, "It is durable", shapes.Accepted, Location="the order"),
        **answers(200, "It was sent before", shapes.Accepted, Location="the order"),
        **WITH_BODY,
        **problems(409),
    },
    openapi_extra=takes(OrderIn, ORDER),
)
async def place(source: Seller, request: Request) -> Response:
    """Place an order. 202 says that it is durable; the same again is 200 and the same id, the
    same external_id with another content 409. An Idempotency-Key is not needed: external_id is
    one."""
    app: Application = request.app.state.application
    data = await read_json(request, MOST_BYTES)
    if lack := app.choice.lack(source.name, source.policy):
        await run_in_threadpool(_require_known, app.intake, source, data, lack)
    await request.app.state.guesses.require(request.state.key, source, data)
    offered = (
        await run_in_threadpool(app.intake.offer, source, data)
        if is_long(request)
        else app.intake.offer(source, data)
    )
    receipt = await asyncio.wrap_future(offered)
    if receipt.verdict is Verdict.ACCEPTED:
        return _accepted(receipt, Status.RECEIVED, 202)
    if receipt.verdict is Verdict.DUPLICATE:
        status = await run_in_threadpool(_status_of, app.database, receipt)
        return _accepted(receipt, status, 200)
    raise _refused(receipt)


def _require_known(intake: Intake, source: Source, data: Any, lack: str) -> None:
    """Nothing new is taken in that can't be paid; an order that is here is still told of."""
    external_id = data.get("external_id") if isinstance(data, dict) else None
    if not isinstance(external_id, str) or not intake.has(source, external_id):
        raise no_gateway(lack)


def _status_of(database: Database, receipt: Receipt) -> Status:
    with database.snapshot() as tx:
        return Status(views.status(tx, receipt.order_id or 0))


@router.get("/orders", operation_id="listOrders", response_model=shapes.Page[shapes.OrderRow])
def ls(
    caller: Reader,
    status: Status | None = None,
    reason: Word | None = None,
    external_id: Key | None = None,
    accepted_since: Since = None,
    updated_since: Since = None,
    limit: Most = 50,
    after: Next = None,
) -> shapes.Page[shapes.OrderRow]:
    """List orders, newest first. The ids are walked down until the page is full: for all that
    happens, read /v1/events instead."""
    selection = Selection(
        status=status, reason=reason, external_id=external_id, source=caller.source_name,
        accepted_since=accepted_since, updated_since=updated_since,
    )  # fmt: skip
    before = position(after, int)[0] if after else None
    with caller.read() as tx:
        found = views.page(tx, selection, before=before, most=limit)
    rows = [shapes.OrderRow(**row_of(row)) for row in found]
    last = cursor(rows[-1].id) if len(rows) == limit else None
    return shapes.Page[shapes.OrderRow](items=rows, next=last)


@router.get(
    "/orders/{order_id}",
    operation_id="getOrder",
    response_model=shapes.Order,
    responses={
        **answers(200, "The order", shapes.Order, ETag="its version, for If-Match"),
        304: {"description": "It is as it was"},
        **problems(404),
    },
)
def show(caller: Reader, order_id: OrderId, if_none_match: IfNoneMatch = None) -> Response:
    """Show an order. Its ETag changes when it does."""
    with caller.read() as tx:
        visible(tx, caller, order_id)
        told = views.summary(tx, order_id)
    if if_none_match is not None and matches(if_none_match, told["version"]):
        return Response(status_code=304, headers=_tagged(told["version"]))
    return _shown(told)


@router.get(
    "/orders/{order_id}/stock",
    operation_id="getOrderStock",
    response_model=shapes.OrderStock,
    responses=problems(404),
)
def stock_of(caller: Reader, order_id: OrderId) -> shapes.OrderStock:
    """Show what an order holds of its units, and what it waits for, and its place there. It may
    change while the order's version doesn't."""
    with caller.read() as tx:
        visible(tx, caller, order_id)
        held, waits = levels.held(tx, [order_id]), waiting.of_order(tx, order_id)
    return shapes.OrderStock(
        holds=[
            shapes.Held(line_no=a.line_no, sku=a.sku, location=a.location, units=a.quantity)
            for a in held
        ],
        waits_for=[shapes.Awaited(**each) for each in waits],
    )


@router.get(
    "/orders/{order_id}/events",
    operation_id="listOrderEvents",
    response_model=shapes.Page[shapes.Event],
    responses=problems(404),
)
def timeline(caller: Reader, order_id: OrderId) -> shapes.Page[shapes.Event]:
    """Show all that happened to an order, the oldest first."""
    with caller.read() as tx:
        visible(tx, caller, order_id)
        found = views.timeline(tx, order_id)
    return shapes.Page[shapes.Event](items=[shapes.Event(**event) for event in found])


def _act(
    caller: Caller, order_id: int, if_match: str | None, do: Callable[[Tx], Announcements]
) -> Response:
    """Do something to an order, and show what became of it."""
    with caller.write() as tx:
        lock(tx, caller, order_id, if_match)
        announcements = do(tx)
        told = views.summary(tx, order_id)
    caller.app.engine.announce(announcements)
    return _shown(told, 202)


@router.post(
    "/orders/{order_id}/cancel",
    operation_id="cancelOrder",
    status_code=202,
    response_model=shapes.Order,
    responses=_ACTED,
)
def cancel(caller: Steerer, order_id: OrderId, if_match: IfMatch = None) -> Response:
    """Cancel an order wherever it is; what was done for it is undone. Twice is once."""
    return _act(
        caller, order_id, if_match,
        lambda tx: operations.cancel(tx, order_id, caller.actor),
    )  # fmt: skip


@router.post(
    "/orders/{order_id}/requeue",
    operation_id="requeueOrder",
    status_code=202,
    response_model=shapes.Order,
    responses=_ACTED,
)
def requeue(caller: Steerer, order_id: OrderId, if_match: IfMatch = None) -> Response:
    """Put an order on hold back to work, where it was held."""
    return _act(
        caller, order_id, if_match,
        lambda tx: operations.requeue(tx, [order_id], caller.actor),
    )  # fmt: skip


@router.post(
    "/orders/{order_id}/decisions",
    operation_id="decideOrder",
    status_code=202,
    response_model=shapes.Order,
    responses={**_ACTED, **WITH_BODY},
    openapi_extra=takes(DecisionIn, DECISION),
)
def decide(
    caller: Steerer,
    order_id: OrderId,
    asked: Annotated[DecisionIn, Depends(reads(DecisionIn))],
    if_match: IfMatch = None,
) -> Response:
    """Decide about an order on hold, and put it back to work. An order's `decisions` are the
    kinds that answer why it is held; a requeue without one holds it again."""
    return _act(
        caller, order_id, if_match,
        lambda tx: operations.decide(tx, [order_id], asked.decision, caller.actor),
    )  # fmt: skip


@router.post(
    "/orders/decisions",
    operation_id="decideOrders",
    status_code=202,
    response_model=shapes.Decided,
    responses={**WITH_BODY, **problems(404, 409)},
    openapi_extra=takes(models.DecisionsIn, DECISIONS),
)
def decide_many(
    caller: Steerer, asked: Annotated[models.DecisionsIn, Depends(reads(models.DecisionsIn))]
) -> shapes.Decided:
    """Decide so about each of these orders, all of them or none."""
    with caller.write() as tx:
        lock_all(tx, caller, asked.orders)
        announcements = operations.decide(tx, asked.orders, asked.decision.decision, caller.actor)
    caller.app.engine.announce(announcements)
    return shapes.Decided(decided=len(set(asked.orders)))


@router.post(
    "/orders/{order_id}/refunds",
    operation_id="refundOrder",
    status_code=202,
    response_model=shapes.Refund,
    responses={**WITH_BODY, **problems(404, 409, 412)},
    openapi_extra=takes(models.RefundIn, REFUND),
)
def refund(
    caller: Steerer,
    order_id: OrderId,
    idempotency_key: IdempotencyKey,
    asked: Annotated[models.RefundIn, Depends(reads(models.RefundIn))],
    if_match: IfMatch = None,
) -> shapes.Refund:
    """Refund a confirmed order: an amount, lines, shipping, or all that is left. 202: it is
    asked for, and will be done; the timeline tells."""
    digest = hashlib.sha256(f"refund {order_id} {asked.model_dump_json()}".encode()).hexdigest()
    with caller.write() as tx:
        visible(tx, caller, order_id)
        told = idempotency.once(
            tx, caller.owner, idempotency_key, digest,
            lambda: _refund(tx, caller, order_id, if_match, asked),
        )  # fmt: skip
    return shapes.Refund(**told)


def _accepted(receipt: Receipt, status: Status, code: int) -> Response:
    body = {"id": receipt.order_id, "external_id": receipt.external_id,
            "verdict": receipt.verdict, "status": status}  # fmt: skip
    return JSONResponse(body, code, {"Location": f"/v1/orders/{receipt.order_id}"})


def _refused(receipt: Receipt) -> Refusal:
    if receipt.verdict is Verdict.REJECTED:
        return invalid(receipt.problems, receipt.more)
    return Refusal(
        HTTPStatus.CONFLICT, "conflict",
        f"external_id {receipt.external_id} is order {receipt.order_id}, with another content",
        wrong=receipt.problems, more_wrong=receipt.more, order_id=receipt.order_id,
    )  # fmt: skip


def _refund(
    tx: Tx, caller: Caller, order_id: int, if_match: str | None, asked: models.RefundIn
) -> dict[str, Any]:
    row = lock(tx, caller, order_id, if_match)
    try:
        amount = None if asked.amount is None else to_minor(asked.amount, row.currency)
    except InvalidInput as error:
        raise InvalidInput(f"amount: {error}") from None
    operation = operations.refund(
        tx, order_id, caller.actor,
        amount=amount, lines=units_of(asked.lines), shipping=asked.shipping, reason=asked.reason,
    )  # fmt: skip
    return refund_of(tx, operation)


def _shown(told: dict[str, Any], status: int = 200) -> Response:
    body = shapes.Order(**order_of(told)).model_dump_json()
    headers = _tagged(told["version"])
    return Response(body, status, headers, media_type="application/json")


def _tagged(version: int) -> dict[str, str]:
    return {"ETag": etag_of(version), "Cache-Control": "private, no-cache"}
