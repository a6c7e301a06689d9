"""Deliveries of webhooks, and the log of every attempt at one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    Select,
    String,
    bindparam,
    case,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from pipeline.errors import UnknownDelivery
from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, now, pack, rows
from pipeline.storage.tables import webhook_attempts, webhook_deliveries
from pipeline.storage.upsert import InsertNew

_d, _a = webhook_deliveries.c, webhook_attempts.c


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery to attempt; of a test `order_id` and `seq` are None. `tries` were made before."""

    id: int
    order_id: int | None
    seq: int | None
    type: str
    tries: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an attempt that began `age` seconds ago, and of the delivery: its state, and if
    it is pending the seconds until the next attempt."""

    id: int
    age: float
    ms: int
    status: int | None
    error: str | None
    answer: str | None
    state: str
    delay: float


_given = rows(_d.order_id, _d.seq, _d.type)
_ADD = InsertNew(
    webhook_deliveries,
    ["endpoint_id", "order_id", "seq", "type", "state", "attempts", "tries", "due_at",
     "created_at"],
    select(
        bindparam("endpoint", type_=String), _given.c.order_id, _given.c.seq, _given.c.type,
        bindparam("state", "pending", type_=String), bindparam("attempts", 0, type_=Integer),
        bindparam("tries", 0, type_=Integer), now(), now(),
    ),
    conflict=["endpoint_id", "order_id", "seq"],
)  # fmt: skip
_of_endpoint = _d.endpoint_id == bindparam("endpoint", type_=String)
_FRESH = select(func.count()).select_from(
    select(_d.id)
    .where(_of_endpoint, _d.state == "pending", _d.attempts == 0)
    .limit(bindparam("most"))
    .subquery()
)
_DUE = (
    select(_d.id, _d.order_id, _d.seq, _d.type, _d.tries)
    .where(_of_endpoint, _d.state == "pending", _d.due_at <= now())
    .order_by(_d.due_at, _d.order_id, _d.seq, _d.id)
    .limit(bindparam("most"))
)


def add(tx: Tx, endpoint_id: str, wanted: Sequence[tuple[int, int, str]]) -> None:
    """Deliver these events (order id, sequence, type) to an endpoint. Twice is once."""
    if wanted:
        _ADD(tx, {"endpoint": endpoint_id, "rows": pack(wanted)})


def add_test(tx: Tx, endpoint_id: str, type_: str) -> int:
    """Deliver what is no order's event; the delivery's id."""
    row = {
        "endpoint_id": endpoint_id, "type": type_, "state": "pending", "attempts": 0, "tries": 0,
        "due_at": now(), "created_at": now(),
    }  # fmt: skip
    made = tx.execute(insert(webhook_deliveries).values(row).returning(_d.id))
    return int(made.scalar_one())


def fresh(tx: Tx, endpoint_id: str, most: int) -> int:
    """How many of an endpoint's have never been attempted; counted up to `most`."""
    return int(tx.execute(_FRESH, {"endpoint": endpoint_id, "most": most}).scalar_one())


def due(tx: Tx, endpoint_id: str, most: int) -> list[Due]:
    """What is to be attempted now, the longest due first. The caller holds the endpoint's lease."""
    found = tx.execute(_DUE, {"endpoint": endpoint_id, "most": most})
    return [Due(r.id, r.order_id, r.seq, r.type, r.tries) for r in found]


_result = rows(
    _d.id, Column("age", Float), _a.ms, _d.status, _d.error, _a.answer, _d.state,
    Column("delay", Float),
)  # fmt: skip
_SETTLE = (
    update(webhook_deliveries)
    .where(_d.id == _result.c.id)
    .values(
        state=_result.c.state,
        attempts=_d.attempts + 1,
        tries=_d.tries + 1,
        due_at=case((_result.c.state == "pending", now(_result.c.delay)), else_=_d.due_at),
        ended_at=case((_result.c.state == "pending", null()), else_=now()),
        status=_result.c.status,
        error=_result.c.error,
    )
)
_LOG = insert(webhook_attempts).from_select(
    ["delivery_id", "n", "at", "ms", "status", "error", "answer"],
    select(
        _d.id, _d.attempts, now(-_result.c.age), _result.c.ms, _result.c.status, _result.c.error,
        _result.c.answer,
    ).join(_result, _result.c.id == _d.id),
)  # fmt: skip


def settle(tx: Tx, results: Sequence[Result]) -> None:
    """Write what became of attempts, one a delivery, and log them. The caller has found the
    endpoint's lease to be his in this transaction."""
    if not results:
        return
    packed = pack(
        (r.id, r.age, r.ms, r.status, r.error, r.answer, r.state, r.delay) for r in results
    )
    tx.execute(_SETTLE, {"rows": packed})
    tx.execute(_LOG, {"rows": packed})


_TOLD = (
    _d.id, _d.order_id, _d.seq, _d.type, _d.state, _d.attempts, _d.status, _d.error,
    case((_d.state == "pending", _d.due_at), else_=null()).label("due_at"), _d.created_at,
    _d.ended_at,
)  # fmt: skip
_PAGE = select(*_TOLD).where(_of_endpoint).order_by(_d.id.desc()).limit(bindparam("most"))
_ONE = select(*_TOLD).where(_of_endpoint, _d.id == bindparam("wanted", type_=BigInteger))
_ATTEMPTS = (
    select(_a.n, _a.at, _a.ms, _a.status, _a.error, _a.answer)
    .where(_a.delivery_id == bindparam("wanted", type_=BigInteger))
    .order_by(_a.n)
)


def page(
    tx: Tx, endpoint_id: str, *, state: str | None = None, before: int | None = None, most: int = 50
) -> list[dict[str, Any]]:
    """Deliveries to an endpoint, newest first; `before` an id continues an earlier page."""
    query: Select[Any] = _PAGE
    if state is not None:
        query = query.where(_d.state == state)
    if before is not None:
        query = query.where(_d.id < before)
    found = tx.execute(query, {"endpoint": endpoint_id, "most": most})
    return [dict(r._mapping) for r in found]


def one(tx: Tx, endpoint_id: str, delivery_id: int) -> dict[str, Any]:
    """A delivery, and under `log` the attempts at it; UnknownDelivery if there is none."""
    values = {"endpoint": endpoint_id, "wanted": delivery_id}
    found = tx.execute(_ONE, values).one_or_none()
    if found is None:
        raise UnknownDelivery(delivery_id)
    log = [dict(r._mapping) for r in tx.execute(_ATTEMPTS, {"wanted": delivery_id})]
    return {**found._mapping, "log": log}


_AGAIN = (
    update(webhook_deliveries)
    .where(_of_endpoint)
    .values(state="pending", tries=0, due_at=now(), ended_at=null())
)
_THESE = _AGAIN.where(_d.id.in_(ids()))
_FAILED = _AGAIN.where(_d.state == "failed")


def redeliver(tx: Tx, endpoint_id: str, delivery_ids: Iterable[int]) -> int:
    """Attempt these now, whatever became of them, and as often as if they were new; how many of them
    there are."""
    values = {"endpoint": endpoint_id, "ids": pack(delivery_ids)}
    return int(tx.execute(_THESE, values).rowcount)


def redeliver_failed(tx: Tx, endpoint_id: str) -> int:
    """As `redeliver`, all that were given up; how many."""
    return int(tx.execute(_FAILED, {"endpoint": endpoint_id}).rowcount)


_LEAVE_OUT = (
    update(webhook_deliveries)
    .where(_of_endpoint, _d.state == "pending")
    .values(state="failed", ended_at=now(), error="left out when the endpoint was enabled again")
)


def leave_out(tx: Tx, endpoint_id: str) -> None:
    """Attempt nothing any more that is to be attempted, unless it is asked for again."""
    tx.execute(_LEAVE_OUT, {"endpoint": endpoint_id})


_OLD = (
    select(_d.id)
    .where(_d.due_at < now(bindparam("offset", type_=Float)))
    .order_by(_d.due_at)
    .limit(bindparam("most"))
)
_FORGET = delete(webhook_deliveries).where(_d.id.in_(_OLD))


def forget(tx: Tx, seconds: float, most: int) -> int:
    """Delete up to `most` that were last due longer ago than this, with their attempts; how many."""
    return int(tx.execute(_FORGET, {"offset": -seconds, "most": most}).rowcount)
