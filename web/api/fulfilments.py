"""What left of an order, and what came back. A reference names each within its order, for ever, so
that the same again is done once: no Idempotency-Key is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Response

from pipeline import fulfilment
from pipeline.fulfilment import Duplicate, NotFulfilled, Reused
from pipeline.inventory.shipping import Refused, Return, Shipment
from pipeline.payments.account import Operation
from pipeline.problems import Problem
from pipeline.storage import views
from web.api import models, shapes
from web.api.examples import FULFILMENT, RETURN
from web.api.models import IfMatch, OrderId
from web.api.order_access import lock, require_version, visible
from web.api.orders_told import operation_of, refund_of, units_of
from web.bodies import reads
from web.callers import Reader, Steerer
from web.problems import Refusal, invalid
from web.routing import WITH_BODY, answers, problems, router_of, takes

router = router_of("fulfilments")

_ACTED = {**WITH_BODY, **problems(404, 409, 412)}


@router.get(
    "/orders/{order_id}/fulfilments",
    operation_id="listFulfilments",
    response_model=shapes.Page[shapes.Fulfilment],
    responses=problems(404),
)
def shipments(caller: Reader, order_id: OrderId) -> shapes.Page[shapes.Fulfilment]:
    """Show what left of an order, the oldest first."""
    with caller.read() as tx:
        visible(tx, caller, order_id)
        found = views.shipments_of(tx, order_id)
    return shapes.Page[shapes.Fulfilment](items=[_shipment(each) for each in found])


@router.post(
    "/orders/{order_id}/fulfilments",
    operation_id="fulfilOrder",
    status_code=201,
    response_model=shapes.Fulfilled,
    responses={**answers(200, "It was shipped before", shapes.Fulfilled), **_ACTED},
    openapi_extra=takes(models.FulfilmentIn, FULFILMENT),
)
def fulfil(
    caller: Steerer,
    order_id: OrderId,
    asked: Annotated[models.FulfilmentIn, Depends(reads(models.FulfilmentIn))],
    response: Response,
    if_match: IfMatch = None,
) -> shapes.Fulfilled:
    """Ship a confirmed order: units of lines, or all that is left. The customer is told. The
    same again is 200 and changes nothing, other content under the same reference 409."""
    shipment = Shipment(
        order_id, asked.name, units_of(asked.lines) if asked.lines else None,
        asked.location, asked.carrier, asked.tracking, asked.capture,
    )  # fmt: skip
    with _refusals(), caller.write() as tx:
        row = lock(tx, caller, order_id)
        if not _named(views.shipments_of(tx, order_id), asked.name):
            require_version(row, if_match)  # sent again, it would meet its own change
        done = fulfilment.ship_one(tx, shipment, caller.actor)
        [made] = _named(views.shipments_of(tx, order_id), asked.name)
    response.status_code = _status(done)
    capture = None if isinstance(done, Duplicate) else _asked(done.capture)
    return shapes.Fulfilled(**_shipment(made).model_dump(), capture=capture)


@router.get(
    "/orders/{order_id}/returns",
    operation_id="listReturns",
    response_model=shapes.Page[shapes.Return],
    responses=problems(404),
)
def returns(caller: Reader, order_id: OrderId) -> shapes.Page[shapes.Return]:
    """Show what came back of an order, the oldest first."""
    with caller.read() as tx:
        visible(tx, caller, order_id)
        found = views.returns_of(tx, order_id)
    return shapes.Page[shapes.Return](items=[_return(each) for each in found])


@router.post(
    "/orders/{order_id}/returns",
    operation_id="returnUnits",
    status_code=201,
    response_model=shapes.Returned,
    responses={**answers(200, "It came back before", shapes.Returned), **_ACTED},
    openapi_extra=takes(models.ReturnIn, RETURN),
)
def take_back(
    caller: Steerer,
    order_id: OrderId,
    asked: Annotated[models.ReturnIn, Depends(reads(models.ReturnIn))],
    response: Response,
    if_match: IfMatch = None,
) -> shapes.Returned:
    """Take back units that were shipped; orders that wait for them have what is put into stock.
    The same again is 200 and changes nothing, other content under the same reference 409."""
    back = Return(order_id, asked.reference, units_of(asked.lines), asked.restock, asked.reason)
    with _refusals(), caller.write() as tx:
        row = lock(tx, caller, order_id)
        if not _named(views.returns_of(tx, order_id), asked.reference):
            require_version(row, if_match)
        done = fulfilment.take_back(tx, back, caller.actor, refund=asked.refund)
        [made] = _named(views.returns_of(tx, order_id), asked.reference)
        asked_for = None if isinstance(done, Duplicate) else done.refund
        refund = shapes.Refund(**refund_of(tx, asked_for)) if asked_for else None
    response.status_code = _status(done)
    return shapes.Returned(**_return(made).model_dump(), refund=refund)


@contextmanager
def _refusals() -> Iterator[None]:
    """What is refused, as a problem: of a field, of a reference that is taken, or of the order."""
    try:
        yield
    except NotFulfilled as error:
        refused = error.refused
        if isinstance(refused, Reused):
            raise Refusal(HTTPStatus.CONFLICT, "conflict", str(error), wrong=[_wrong(refused)]) from None  # fmt: skip
        if refused.field == "order":
            raise Refusal(HTTPStatus.CONFLICT, "not-allowed-now", str(error)) from None
        raise invalid([_wrong(refused)]) from None


def _wrong(refused: Refused) -> Problem:
    return Problem(refused.field, refused.value, refused.expected)


def _status(done: object) -> HTTPStatus:
    return HTTPStatus.OK if isinstance(done, Duplicate) else HTTPStatus.CREATED


def _asked(operation: Operation | None) -> Any:
    return operation and operation_of(operation)


def _named(parcels: Sequence[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    return [each for each in parcels if each["reference"] == reference]


def _shipment(told: dict[str, Any]) -> shapes.Fulfilment:
    return shapes.Fulfilment(**{**told, "lines": _lines(told)})


def _return(told: dict[str, Any]) -> shapes.Return:
    return shapes.Return(**{**told, "restock": told["location"], "lines": _lines(told)})


def _lines(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**line, "line": line["line_no"]} for line in told["lines"]]
