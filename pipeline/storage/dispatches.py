"""Dispatches: "these orders are due for this step, at this time". The durable truth behind messages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from pipeline.storage.database import Tx
from pipeline.storage.sql import ids, members, now, pack, rows
from pipeline.storage.tables import backorders, dispatches, queues


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A dispatch as found. `deaths` counts the leases that ran out under it, the last one included;
    `lapsed`: one did since it was last claimed. `cause`: why its orders wait, if they were looked at
    and do; `looks`: how often each was, by the side of `order_ids`."""

    id: int
    step: str
    lane: int
    order_ids: tuple[int, ...]
    attempts: int
    deaths: int
    lapsed: bool = False
    cause: str | None = None
    looks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDispatch:
    """A dispatch to be written, due in `delay` seconds; with a `lease` it is taken from birth."""

    step: str
    lane: int
    order_ids: tuple[int, ...]
    delay: float = 0.0
    attempts: int = 0
    deaths: int = 0
    lease: str | None = None
    leased_for: float | None = None
    cause: str | None = None
    looks: tuple[int, ...] = ()


def due() -> ColumnElement[bool]:
    """Its time has come, and nobody works on it (or whoever did has died, or hangs)."""
    return and_(
        dispatches.c.due_at <= now(),
        or_(dispatches.c.leased_until.is_(None), dispatches.c.leased_until <= now()),
    )


def paused() -> ColumnElement[bool]:
    return exists().where(queues.c.step == dispatches.c.step)


#: More than there will ever be.
ANY_DEATHS = 2**31 - 1

# A lease that is still there when a dispatch is found due ran out: its worker died under it.
_DEATHS = dispatches.c.deaths + case((dispatches.c.lease.is_(None), 0), else_=1)

_IN_TURN = (dispatches.c.lane, dispatches.c.due_at, dispatches.c.id)
_FOR_STEP = (
    dispatches.c.step == bindparam("step"),
    due(),
    ~paused(),
    bindparam("most_deaths", type_=Integer) >= _DEATHS,
)
# How many from the front hold the orders that are wanted, by their sizes alone: to read and lock all
# that might, were each of one order, is to read and lock the whole backlog of an import, each time.
_front = (
    select(dispatches.c.size, *_IN_TURN)
    .where(*_FOR_STEP)
    .order_by(*_IN_TURN)
    .limit(bindparam("most"))
    .subquery()
)
_before = func.sum(_front.c.size).over(
    order_by=(_front.c.lane, _front.c.due_at, _front.c.id)
) - _front.c.size  # fmt: skip
_begun = select(_before.label("before")).subquery()
_ENOUGH = select(func.count()).where(_begun.c.before < bindparam("most")).scalar_subquery()

_DUE = (
    select(
        dispatches.c.id,
        dispatches.c.step,
        dispatches.c.lane,
        dispatches.c.order_ids,
        dispatches.c.attempts,
        _DEATHS.label("deaths"),
        dispatches.c.lease.is_not(None).label("lapsed"),
        dispatches.c.cause,
        dispatches.c.looks,
    )
    .where(*_FOR_STEP)
    .order_by(*_IN_TURN)
    .limit(_ENOUGH + 1)
    .with_for_update(skip_locked=True)
)


def lock_due(tx: Tx, step: str, most: int, most_deaths: int = ANY_DEATHS) -> list[Dispatch]:
    """Lock due dispatches of `step` that nobody else is taking, lane first, oldest first: those that
    hold the first `most` orders, and one more, by which a backlog shows. What has seen more than
    `most_deaths` is passed over, and doesn't count."""
    found = tx.execute(_DUE, {"step": step, "most": most, "most_deaths": most_deaths})
    return [
        Dispatch(
            r.id,
            r.step,
            r.lane,
            tuple(json.loads(r.order_ids)),
            r.attempts,
            r.deaths,
            bool(r.lapsed),
            r.cause,
            _looks(r),
        )
        for r in found
    ]


def _looks(row: Any) -> tuple[int, ...]:
    return tuple(json.loads(row.looks)) if row.looks else ()


_LEASE = (
    update(dispatches)
    .where(dispatches.c.id.in_(ids()))
    .values(
        attempts=dispatches.c.attempts + 1,
        deaths=_DEATHS,
        lease=bindparam("token"),
        leased_until=now(bindparam("seconds", type_=Float)),
    )
)


def lease(tx: Tx, dispatch_ids: Sequence[int], token: str, seconds: float) -> None:
    """Take them, and count the attempt before the work, so that one that kills its worker counts."""
    tx.execute(_LEASE, {"ids": pack(dispatch_ids), "token": token, "seconds": seconds})


_RENEW = (
    update(dispatches)
    .where(dispatches.c.lease.in_(select(rows(dispatches.c.lease, parameter="tokens").c.lease)))
    .values(leased_until=now(bindparam("seconds", type_=Float)))
)


def renew(tx: Tx, tokens: Sequence[str], seconds: float) -> None:
    """Prolong the leases of work that is still going on."""
    tx.execute(_RENEW, {"tokens": pack((token,) for token in tokens), "seconds": seconds})


_GIVE_UP = (
    delete(dispatches)
    .where(dispatches.c.id.in_(ids()), dispatches.c.lease == bindparam("token"))
    .returning(dispatches.c.id)
)


def finish(tx: Tx, dispatch_ids: Sequence[int], token: str) -> bool:
    """Delete the dispatches we hold; False if another has taken any of them over."""
    gone = tx.execute(_GIVE_UP, {"ids": pack(dispatch_ids), "token": token}).all()
    return len(gone) == len(dispatch_ids)


_DELETE = delete(dispatches).where(dispatches.c.id.in_(ids()))


def remove(tx: Tx, dispatch_ids: Sequence[int]) -> None:
    """Delete dispatches that this transaction has locked."""
    tx.execute(_DELETE, {"ids": pack(dispatch_ids)})


_new = rows(
    dispatches.c.step,
    dispatches.c.lane,
    Column("delay", Float),
    dispatches.c.order_ids,
    dispatches.c.size,
    dispatches.c.attempts,
    dispatches.c.deaths,
    dispatches.c.lease,
    Column("leased_for", Float),
    dispatches.c.cause,
    dispatches.c.looks,
)
_INSERT = (
    insert(dispatches)
    .from_select(
        [
            "step", "lane", "due_at", "order_ids", "size", "attempts", "deaths", "lease",
            "leased_until", "created_at", "cause", "looks",
        ],
        select(
            _new.c.step, _new.c.lane, now(_new.c.delay), _new.c.order_ids, _new.c.size,
            _new.c.attempts, _new.c.deaths, _new.c.lease,
            case((_new.c.lease.is_not(None), now(_new.c.leased_for))), now(), _new.c.cause,
            _new.c.looks,
        ),
    )
    .returning(dispatches.c.id, dispatches.c.order_ids)
)  # fmt: skip


def add(tx: Tx, new: Sequence[NewDispatch]) -> list[int]:
    """Write dispatches; returns their ids in the order given."""
    if not new:
        return []
    packed = [
        (
            d.step, d.lane, d.delay, _json(d.order_ids), len(d.order_ids), d.attempts, d.deaths,
            d.lease, d.leased_for, d.cause, _json(d.looks) if d.looks else None,
        )
        for d in new
    ]  # fmt: skip
    made = tx.execute(_INSERT, {"rows": pack(packed)}).all()
    by_orders = {r.order_ids: r.id for r in made}  # an order is in one dispatch: no two are alike
    found = [by_orders[row[3]] for row in packed]
    _place(tx, new, found)
    return found


def _json(numbers: Sequence[int]) -> str:
    return json.dumps(numbers, separators=(",", ":"))


_placed = rows(backorders.c.order_id, backorders.c.dispatch_id)
_PLACE = (
    update(backorders)
    .where(backorders.c.order_id == _placed.c.order_id)
    .values(dispatch_id=_placed.c.dispatch_id)
)


def _place(tx: Tx, new: Sequence[NewDispatch], made: Sequence[int]) -> None:
    """Those who wait for stock are to be found by it."""
    placed = [
        (order_id, dispatch_id)
        for d, dispatch_id in zip(new, made, strict=True)
        if d.step == "reserve" and d.delay > 0
        for order_id in d.order_ids
    ]
    if placed:
        tx.execute(_PLACE, {"rows": pack(placed)})


_member = members(dispatches.c.order_ids)
_DISPATCH = select(
    dispatches.c.id, dispatches.c.step, dispatches.c.lane, dispatches.c.order_ids,
    dispatches.c.attempts, dispatches.c.deaths, dispatches.c.cause, dispatches.c.looks,
)  # fmt: skip
_WAITING_WITH = (
    _DISPATCH.where(
        or_(dispatches.c.leased_until.is_(None), dispatches.c.leased_until <= now()),
        exists(
            select(1)
            .select_from(_member)
            .where(cast(cast(_member.c.value, String), BigInteger).in_(ids("wanted")))
        ),
    )
    .with_for_update(of=dispatches, skip_locked=True)
)  # fmt: skip


def lock_waiting(tx: Tx, order_ids: Iterable[int]) -> list[Dispatch]:
    """Lock the dispatches that any of these orders wait in; those that somebody works on are not
    among them. Reads all dispatches: not for a stage."""
    return [_waiting(r) for r in tx.execute(_WAITING_WITH, {"wanted": pack(order_ids)})]


def _waiting(row: Any) -> Dispatch:
    return Dispatch(
        row.id, row.step, row.lane, tuple(json.loads(row.order_ids)), row.attempts, row.deaths,
        cause=row.cause, looks=_looks(row),
    )  # fmt: skip


_STATS = select(
    dispatches.c.step,
    func.sum(dispatches.c.size).label("orders"),
    func.sum(case((due(), dispatches.c.size), else_=0)).label("due"),
    func.sum(case((dispatches.c.leased_until > now(), dispatches.c.size), else_=0)).label(
        "running"
    ),
    func.min(dispatches.c.created_at).label("oldest"),
).group_by(dispatches.c.step)


def stats(tx: Tx) -> dict[str, Any]:
    """By step: orders in dispatches, those due, those being worked on, when the oldest was made."""
    return {r.step: r for r in tx.execute(_STATS)}


_BY_LANE = select(
    dispatches.c.step,
    dispatches.c.lane,
    func.sum(dispatches.c.size).label("orders"),
    func.sum(case((due(), dispatches.c.size), else_=0)).label("due"),
    func.sum(case((dispatches.c.leased_until > now(), dispatches.c.size), else_=0)).label(
        "running"
    ),
    func.min(case((due(), dispatches.c.due_at))).label("due_since"),
).group_by(dispatches.c.step, dispatches.c.lane)


def by_lane(tx: Tx) -> list[Any]:
    """By step and lane: orders in dispatches, those due, those being worked on, and since when the
    oldest is due that nobody works on."""
    return list(tx.execute(_BY_LANE))


_WAITING = (
    select(
        dispatches.c.step,
        func.count().label("dispatches"),
        func.min(dispatches.c.id).label("first"),
    )
    .where(due(), dispatches.c.due_at <= now(bindparam("grace", type_=Float)), ~paused())
    .group_by(dispatches.c.step)
)


def waiting(tx: Tx, grace: float) -> dict[str, tuple[int, int]]:
    """By step: how many dispatches have been due for `grace` seconds unclaimed, and the first's id."""
    found = tx.execute(_WAITING, {"grace": -grace})
    return {r.step: (r.dispatches, r.first) for r in found}


_WAITING_AS = (
    _DISPATCH.where(
        dispatches.c.id.in_(ids()),
        dispatches.c.leased_until.is_(None),
        dispatches.c.due_at > now(),
    )
    .order_by(dispatches.c.id)
    .with_for_update()
)  # fmt: skip


def lock_by_id(tx: Tx, dispatch_ids: Iterable[int]) -> list[Dispatch]:
    """Lock those of these dispatches that wait: not due yet, and nobody works on them."""
    return [_waiting(r) for r in tx.execute(_WAITING_AS, {"ids": pack(dispatch_ids)})]


_rest = rows(dispatches.c.id, dispatches.c.order_ids, dispatches.c.size, dispatches.c.looks)
_SHRINK = (
    update(dispatches)
    .where(dispatches.c.id == _rest.c.id)
    .values(order_ids=_rest.c.order_ids, size=_rest.c.size, looks=_rest.c.looks)
)


def hasten(tx: Tx, locked: Sequence[Dispatch], order_ids: Collection[int]) -> list[tuple[str, int]]:
    """Make these orders due now, and leave the others of their (locked) dispatches where they wait.
    Returns the new dispatches, as (step, id)."""
    wanted = frozenset(order_ids)
    woken: list[NewDispatch] = []
    emptied: list[int] = []
    rest: list[tuple[int, str, int, str | None]] = []
    for d in locked:
        looks = dict(zip(d.order_ids, d.looks, strict=True)) if d.looks else {}
        mine = tuple(i for i in d.order_ids if i in wanted)
        others = tuple(i for i in d.order_ids if i not in wanted)
        if mine:
            its = tuple(looks[i] for i in mine) if looks else ()
            woken.append(
                NewDispatch(d.step, d.lane, mine, attempts=d.attempts, cause=d.cause, looks=its)
            )
        if mine and others:
            left = _json([looks[i] for i in others]) if looks else None
            rest.append((d.id, _json(others), len(others), left))
        elif mine:
            emptied.append(d.id)
    if not woken:
        return []
    remove(tx, emptied)
    if rest:
        tx.execute(_SHRINK, {"rows": pack(rest)})
    return [(new.step, i) for new, i in zip(woken, add(tx, woken), strict=True)]


_HOLDING = (
    select(
        dispatches.c.id, dispatches.c.step, dispatches.c.lane, dispatches.c.size,
        dispatches.c.attempts, dispatches.c.deaths, dispatches.c.due_at, dispatches.c.created_at,
        due().label("is_due"), (dispatches.c.leased_until > now()).label("is_running"),
        paused().label("is_paused"), dispatches.c.cause, dispatches.c.looks, dispatches.c.order_ids,
    )
    .where(
        exists(
            select(1)
            .select_from(_member)
            .where(cast(cast(_member.c.value, String), BigInteger) == bindparam("order_id"))
        )
    )
    .limit(1)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wait:
    """How often an order was looked at for a cause, and when it was last."""

    cause: str
    looks: int
    last_at: datetime


def wait_of(dispatch: Any, order_id: int) -> Wait | None:
    """Why an order waits in a dispatch that was found by `holding`; None: it was not looked at yet."""
    if dispatch is None or not dispatch.looks:
        return None
    looks = dict(zip(json.loads(dispatch.order_ids), json.loads(dispatch.looks), strict=True))
    return Wait(dispatch.cause, looks[order_id], dispatch.created_at)


def holding(tx: Tx, order_id: int) -> Any:
    """The dispatch that an order is in, to be looked at; None for one that is settled. Reads all
    dispatches: not for a stage."""
    return tx.execute(_HOLDING, {"order_id": order_id}).one_or_none()
