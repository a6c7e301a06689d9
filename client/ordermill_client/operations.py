"""What can be asked, each once: a generator of steps, driven by `Client` and `AsyncClient` alike.

Amounts are decimal strings in the order's currency. Each raises OrdermillError, in the forms that
`errors` lists.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar
from urllib.parse import quote as quoted

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from ordermill_client.errors import NoAnswer, NotSettled
from ordermill_client.given import AnyOrder, NewPrice
from ordermill_client.shapes import (
    SETTLED,
    Accepted,
    Decided,
    Event,
    Feed,
    Level,
    Levels,
    Order,
    OrderRow,
    OrderStock,
    Out,
    Page,
    Product,
    Quote,
    Refund,
)
from ordermill_client.steps import (
    Answer,
    Request,
    Retries,
    Steps,
    Tell,
    Telling,
    Wait,
    send,
)

M = TypeVar("M", bound=BaseModel)
Item = TypeVar("Item", bound=Out)

#: Seconds between two looks at an order that is waited for, at first and at most.
LOOK, SELDOM = 0.1, 2.0


# --- Orders ---------------------------------------------------------------------------------------


def place(retries: Retries, order: AnyOrder) -> Steps[Accepted]:
    """Place an order; when this returns it is durable. The same again is a `duplicate`, with its id
    and its status by now: its external_id is what makes repeating it safe. Conflict: the same
    external_id with another content."""
    return read(Accepted, (yield from send(_post("/v1/orders", dict(order)), retries)))


def quote(retries: Retries, order: AnyOrder) -> Steps[Quote]:
    """What an order would cost now, and why; nothing is placed, promised or kept. ApiError 409 if it
    has no price: its `members` have the reason."""
    return read(Quote, (yield from send(_post("/v1/quotes", dict(order)), retries)))


def order(retries: Retries, order_id: int) -> Steps[Order]:
    """An order as it is now."""
    return read(Order, (yield from send(_get(f"/v1/orders/{order_id}"), retries)))


def timeline(retries: Retries, order_id: int) -> Steps[Sequence[Event]]:
    """All that happened to an order, the oldest first."""
    answer = yield from send(_get(f"/v1/orders/{order_id}/events"), retries)
    return read(Page[Event], answer).items


def stock_of(retries: Retries, order_id: int) -> Steps[OrderStock]:
    """What an order holds that is not shipped yet, and what it waits for, and its place there."""
    return read(OrderStock, (yield from send(_get(f"/v1/orders/{order_id}/stock"), retries)))


def wait_until_settled(retries: Retries, order_id: int, timeout: float = 60.0) -> Steps[Order]:
    """The order once nothing moves it by itself any more: it is confirmed, rejected or cancelled, or
    on hold for a person. NotSettled after `timeout` seconds."""
    end = time.monotonic() + timeout
    request, pause = _get(f"/v1/orders/{order_id}"), LOOK
    answer = yield from send(request, retries)
    found = read(Order, answer)
    while found.status not in SETTLED:
        left = end - time.monotonic()
        if left <= 0:
            raise NotSettled(found)
        yield Wait(min(pause, left))
        pause = min(pause * 1.5, SELDOM)
        seen = {"If-None-Match": answer.headers.get("etag", '""')}
        in_time = replace(retries, within=min(retries.within, left))
        answer = yield from send(replace(request, headers=seen), in_time)
        if answer.status != 304:
            found = read(Order, answer)
    return found


def orders(
    retries: Retries,
    *,
    status: str | None = None,
    reason: str | None = None,
    external_id: str | None = None,
    accepted_since: datetime | None = None,
    updated_since: datetime | None = None,
) -> Telling[OrderRow]:
    """Orders, the newest first. To follow what happens read `events` instead."""
    return _all(
        OrderRow, "/v1/orders", retries,
        status=status, reason=reason, external_id=external_id,
        accepted_since=accepted_since, updated_since=updated_since,
    )  # fmt: skip


def events(
    retries: Retries,
    cursor: str | None = None,
    *,
    since: datetime | None = None,
    limit: int = 100,
) -> Telling[Feed]:
    """All that happened to all orders, the oldest first, a page at a time, until there is no more
    now. Keep a page's `next` along with what you have made of the page, and begin with it the next
    time: nothing is skipped, and nothing told twice."""
    while True:
        params = _params(cursor=cursor, since=None if cursor else since, limit=limit)
        page = read(Feed, (yield from send(_get("/v1/events", params), retries)))
        yield Tell(page)
        if not page.more:
            return
        cursor = page.next


def cancel(retries: Retries, order_id: int, *, if_version: int | None = None) -> Steps[Order]:
    """Cancel an order wherever it is; what was done for it is undone. Twice is once. With
    `if_version` only if it is as you saw it; then it is not tried again where nobody knows whether
    it was done, as that would be told to have come too late."""
    request = _post(
        f"/v1/orders/{order_id}/cancel", headers=_if_match(if_version), repeatable=not if_version
    )
    return read(Order, (yield from send(request, retries)))


def requeue(retries: Retries, order_id: int, *, if_version: int | None = None) -> Steps[Order]:
    """Put an order on hold back to work, where it was held. Not tried again where nobody knows
    whether it was done: look at the order."""
    request = _post(
        f"/v1/orders/{order_id}/requeue", headers=_if_match(if_version), repeatable=False
    )
    return read(Order, (yield from send(request, retries)))


def decide(
    retries: Retries,
    order_id: int,
    *,
    charge: Literal["shown"] | None = None,
    ship_to: Mapping[str, str | None] | None = None,
    tax_zone: str | None = None,
    vat: Literal["form", "tax"] | None = None,
    wait_until: str | None = None,
    if_version: int | None = None,
) -> Steps[Order]:
    """Decide about an order on hold, by exactly one of these, and put it back to work. Not tried
    again where nobody knows whether it was done: look at the order."""
    asked = _without_none(
        charge=charge, ship_to=ship_to, tax_zone=tax_zone, vat=vat, wait_until=wait_until
    )
    request = _post(
        f"/v1/orders/{order_id}/decisions", asked, _if_match(if_version), repeatable=False
    )
    return read(Order, (yield from send(request, retries)))


def decide_all(
    retries: Retries,
    order_ids: Sequence[int],
    *,
    charge: Literal["shown"] | None = None,
    ship_to: Mapping[str, str | None] | None = None,
    tax_zone: str | None = None,
    vat: Literal["form", "tax"] | None = None,
    wait_until: str | None = None,
) -> Steps[Decided]:
    """Decide so about each of up to 500 orders on hold, all of them or none; else as `decide`."""
    decision = _without_none(
        charge=charge, ship_to=ship_to, tax_zone=tax_zone, vat=vat, wait_until=wait_until
    )
    asked = {"orders": list(order_ids), "decision": decision}
    request = _post("/v1/orders/decisions", asked, repeatable=False)
    return read(Decided, (yield from send(request, retries)))


def refund(
    retries: Retries,
    order_id: int,
    *,
    amount: str | Decimal | None = None,
    lines: Mapping[int, int] | None = None,
    shipping: bool = False,
    reason: str | None = None,
    if_version: int | None = None,
    idempotency_key: str | None = None,
) -> Steps[Refund]:
    """Ask for a refund: an amount; or units of lines (by number from 1), and shipping; or, with none
    of these, all that is left. The timeline tells how it ended. Done once under its
    `idempotency_key`, for 7 days: give one that you keep, and you may ask again after you have
    crashed; without it one is made for this call."""
    asked = _without_none(
        amount=_decimal("amount", amount), shipping=shipping or None, reason=reason,
        lines=None if lines is None else {str(number): units for number, units in lines.items()},
    )  # fmt: skip
    request = _post(
        f"/v1/orders/{order_id}/refunds", asked, {**_if_match(if_version), **_once(idempotency_key)}
    )
    return read(Refund, (yield from send(request, retries)))


# --- Catalogue and stock --------------------------------------------------------------------------


def products(retries: Retries) -> Telling[Product]:
    """Products with their prices, by SKU."""
    return _all(Product, "/v1/products", retries)


def product(retries: Retries, sku: str) -> Steps[Product]:
    """A product with its prices."""
    return read(Product, (yield from send(_get(f"/v1/products/{quoted(sku, safe='')}"), retries)))


def put_product(
    retries: Retries,
    sku: str,
    *,
    name: str,
    active: bool = True,
    backorder: bool = False,
    categories: Sequence[str] | None = None,
    tax_class: str | None = None,
    weight: int | None = None,
    prices: Sequence[NewPrice] = (),
) -> Steps[Product]:
    """Make a product, or replace what is said of it; what is None stays, and so do prices that are
    not replaced by one of the same currency, group, quantity and beginning."""
    said = _without_none(
        name=name, active=active, backorder=backorder, categories=categories,
        tax_class=tax_class, weight=weight, prices=prices,
    )  # fmt: skip
    path = f"/v1/products/{quoted(sku, safe='')}"
    return read(Product, (yield from send(_post(path, said, method="PUT"), retries)))


def stock(retries: Retries, sku: str | None = None) -> Telling[Level]:
    """Units on hand, reserved and available, by SKU and location."""
    return _all(Level, "/v1/stock", retries, sku=sku)


def adjust_stock(
    retries: Retries,
    sku: str,
    units: int,
    reason: str,
    *,
    location: str = "main",
    idempotency_key: str | None = None,
) -> Steps[Levels]:
    """So many units more or, negative, fewer. Done once under its `idempotency_key`, as `refund`."""
    said = {"sku": sku, "units": units, "reason": reason, "location": location}
    request = _post("/v1/stock/adjustments", said, _once(idempotency_key))
    return read(Levels, (yield from send(request, retries)))


def count_stock(
    retries: Retries,
    sku: str,
    units: int,
    *,
    location: str = "main",
    at: datetime | None = None,
    reason: str | None = None,
) -> Steps[Levels]:
    """So many units were found `at` that time: the difference is posted. Without `at` they were
    found now; as now is later when it is tried again, it is not, where nobody knows whether it was
    done."""
    said = _without_none(sku=sku, units=units, location=location, at=_moment("at", at),
                         reason=reason)  # fmt: skip
    request = _post("/v1/stock/counts", said, repeatable=at is not None)
    return read(Levels, (yield from send(request, retries)))


# --- Anything else --------------------------------------------------------------------------------


def request(
    retries: Retries,
    method: str,
    path: str,
    *,
    json: Any = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    idempotency_key: str | None = None,
) -> Steps[Any]:
    """Any call of docs/api.md (`path` begins with /v1/); its answer as read from JSON, None where it
    has no body. GET, PUT and DELETE are tried again; another only under an `idempotency_key`, which
    is for calls that say they take one."""
    method, key = method.upper(), {} if idempotency_key is None else _once(idempotency_key)
    repeatable = bool(key) or method in ("GET", "HEAD", "PUT", "DELETE")
    body = None if json is None else to_json(json)
    answer = yield from send(
        Request(method, path, params or {}, {**(headers or {}), **_typed(body), **key}, body,
                repeatable), retries,
    )  # fmt: skip
    try:
        return from_json(answer.body) if answer.body else None
    except ValueError:
        raise NoAnswer(f"{method} {path}: answered {answer.status}, not in JSON") from None


# --- What they are made of ------------------------------------------------------------------------


def _get(path: str, params: Mapping[str, str] | None = None) -> Request:
    return Request("GET", path, params or {})


def _post(
    path: str,
    said: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    repeatable: bool = True,
) -> Request:
    body = None if said is None else to_json(said)
    return Request(method, path, {}, {**(headers or {}), **_typed(body)}, body, repeatable)


def _all(model: type[Item], path: str, retries: Retries, **filters: Any) -> Telling[Item]:
    """All of a list, a page after the other."""
    cursor: str | None = None
    while True:
        params = _params(**filters, cursor=cursor, limit=500)
        page = read(Page[model], (yield from send(_get(path, params), retries)))  # type: ignore[valid-type]
        for item in page.items:
            yield Tell(item)
        cursor = page.next
        if cursor is None:
            return


def read(model: type[M], answer: Answer) -> M:
    """The answer's body as `model`. NoAnswer if it is something else: a proxy's own page, say."""
    try:
        return model.model_validate_json(answer.body)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) or e["type"] for e in error.errors())
        raise NoAnswer(f"answered {answer.status}, but not by {model.__name__}: {wrong}") from None


def _params(**given: Any) -> dict[str, str]:
    return {
        name: (_moment(name, value) or "") if isinstance(value, datetime) else str(value)
        for name, value in given.items()
        if value is not None
    }


def _without_none(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def _moment(name: str, given: datetime | None) -> str | None:
    if given is not None and given.tzinfo is None:
        raise ValueError(f"{name}: got {given}, expected a time with its zone")
    return None if given is None else given.isoformat()


def _decimal(name: str, given: str | Decimal | None) -> str | None:
    """Not a float: 0.1 is none of them."""
    if given is not None and not isinstance(given, str | Decimal):
        raise TypeError(f"{name}: got {given!r}, expected a decimal string such as '12.50'")
    return None if given is None else str(given)


def _typed(body: bytes | None) -> dict[str, str]:
    return {} if body is None else {"Content-Type": "application/json"}


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _once(key: str | None) -> dict[str, str]:
    if key is not None and not (key and key.isascii() and key.isprintable()):
        raise ValueError(f"idempotency_key: got {key!r}, expected printable ASCII characters")
    return {"Idempotency-Key": str(uuid.uuid4()) if key is None else key}
